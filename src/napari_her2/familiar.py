"""Is a core unlike anything the model has learned from? How far its looks are from those of training tissue.

What the encoder sees would not do: it has learned to see brown, so strongly stained real cores lay farther from
generated ones than H&E did. Plain colour and texture tell other stains, casts, and pictures that are no brightfield.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_her2.stain import QUPATH_STAINS, optical_density

__all__ = ["LOOKS", "core_look", "familiar_distance", "familiar_flag", "fit_familiar"]

FloatArray = npt.NDArray[np.float64]

#: What a look consists of, in order; see `core_look`.
LOOKS = ("red", "green", "blue", "red_spread", "blue_spread", "foreign", "dark", "together", "blobs", "grain")
#: Full-resolution patches of a core that are looked at, and the side of the middle that is, in pixels.
_PATCHES, _MIDDLE = 8, 256
#: OD from which a pixel has a colour, and how many such pixels a patch must have.
_COLOURED, _LEAST = 0.05, 2000
#: Share of the training cores that may lie beyond the threshold, and what is added for laboratories nobody thought of.
_BEYOND, _SLACK = 0.01, 1.25
#: How far the covariance is drawn to its diagonal.
_SHRINK = 0.1


def core_look(pixels: npt.NDArray[np.uint8]) -> FloatArray:
    """What a core looks like, in a few numbers.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (n, y, x, 3)
        Its full-resolution patches (0.5 µm/px), glass at 255; a few spread over them are looked at.

    Returns
    -------
    ndarray of float64, shape (len(LOOKS),)
        Mean over patches; NaN where no patch shows enough tissue. The direction of colour (OD, its darker half) and
        how it varies; OD beside the plane of H and DAB, as a share of all; log of the mean OD; how brown and blue go
        together; how much of the brown lies in blobs wider than a membrane; grain.
    """
    chosen = np.unique(np.linspace(0, len(pixels) - 1, min(_PATCHES, len(pixels))).astype(int))
    looks = [look for k in chosen.tolist() if (look := _patch_look(pixels[k])) is not None]
    return np.asarray(np.mean(looks, axis=0), np.float64) if looks else np.full(len(LOOKS), np.nan)


def _patch_look(patch: npt.NDArray[np.uint8]) -> FloatArray | None:
    top, left = ((n - min(n, _MIDDLE)) // 2 for n in patch.shape[:2])
    density = optical_density(np.ascontiguousarray(patch[top : top + _MIDDLE, left : left + _MIDDLE]))
    smooth = ndimage.uniform_filter(density, (3, 3, 1))
    size = np.sqrt((smooth**2).sum(axis=-1))
    tissue = size > _COLOURED
    if np.count_nonzero(tissue) < min(_LEAST, tissue.size // 4):
        return None
    darker = tissue & (size >= np.median(size[tissue]))
    colour = smooth[darker] / size[darker][:, None]
    amounts = smooth @ np.linalg.inv(QUPATH_STAINS.mixing).T.astype(np.float32)
    h, d, foreign = (amounts[..., k] for k in range(3))
    together = 2 * np.cov(h[tissue], d[tissue])
    brown = np.maximum(d[::2, ::2], 0)
    blobs = ndimage.grey_opening(brown, (3, 3))  # what survives is 3 µm across
    there = tissue[::2, ::2]
    return np.array(
        [
            *colour.mean(axis=0),
            colour[:, 0].std(),
            colour[:, 2].std(),
            np.abs(foreign[tissue]).mean() / size[tissue].mean(),
            np.log(size[tissue].mean()),
            together[0, 1] / (together[0, 0] + together[1, 1] + 1e-4),
            (blobs[there].mean() + 0.01) / (brown[there].mean() + 0.02),
            np.log((density - smooth)[tissue].std() + 1e-3),
        ]
    )


def fit_familiar(looks: Sequence[FloatArray], also: Sequence[FloatArray] = ()) -> dict[str, Any]:
    """What training tissue looks like, to keep in `ScoringModel.familiar`.

    The distance is Mahalanobis', with the covariance drawn to its diagonal, divided by the square root of the number of
    `LOOKS`; the threshold is the 99th percentile of the cores it is fitted to, and a quarter more.

    Parameters
    ----------
    looks : sequence of ndarray, shape (len(LOOKS),)
        `core_look` of cores of the training settings, of all scores; those that are NaN are passed over.
    also : sequence of ndarray
        Of tissue that was learned from as well, such as real cores: within the threshold, but outside the covariance.

    Raises
    ------
    ValueError
        If there are fewer than twice as many cores as numbers in a look.
    """
    known = np.array([look for look in looks if np.isfinite(look).all()])
    if len(known) < 2 * len(LOOKS):
        raise ValueError(f"{len(known)} cores are too few to tell what is familiar: at least {2 * len(LOOKS)}")
    covariance = np.cov(known.T)
    covariance = (1 - _SHRINK) * covariance + _SHRINK * np.diag(np.diag(covariance))
    fitted: dict[str, Any] = {
        "mean": [float(f"{v:.5g}") for v in known.mean(axis=0)],
        "precision": [[float(f"{v:.5g}") for v in row] for row in np.linalg.inv(covariance)],
        "n": len(known),
    }
    distances = [familiar_distance(look, fitted) for look in known]
    others = [familiar_distance(look, fitted) for look in also if np.isfinite(look).all()]
    limit = _SLACK * float(np.quantile(distances, 1 - _BEYOND))
    return fitted | {"threshold": round(max([limit, *others]), 3)}


def familiar_distance(look: npt.ArrayLike, familiar: Mapping[str, Any]) -> float:
    """How far a core's look is from what was learned from; 1 is usual, NaN where there was nothing to look at."""
    off = np.asarray(look, np.float64) - np.asarray(familiar["mean"])
    return float(np.sqrt(max(0.0, off @ np.asarray(familiar["precision"]) @ off) / len(off)))


def familiar_flag(pixels: npt.NDArray[np.uint8], familiar: Mapping[str, Any]) -> str:
    """A sentence for a core that is unlike anything the model has learned from, else "".

    Parameters
    ----------
    pixels : ndarray of uint8, shape (n, y, x, 3)
        See `core_look`.
    familiar : mapping
        `ScoringModel.familiar`; a model without it flags nothing.
    """
    if not familiar or not len(pixels):
        return ""
    distance, limit = familiar_distance(core_look(pixels), familiar), float(familiar["threshold"])
    if not distance > limit:
        return ""
    return f"Unfamiliar: unlike anything the model has learned from (distance {distance:.1f}, at most {limit:.1f})."
