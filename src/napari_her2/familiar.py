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

__all__ = ["LOOKS", "UNFAMILIAR", "core_look", "familiar_distance", "familiar_flag", "fit_familiar"]

FloatArray = npt.NDArray[np.float64]

#: How the flags of unfamiliar cores and slides begin.
UNFAMILIAR = "Unfamiliar"
#: What a look consists of, in order; see `core_look`.
LOOKS = ("red", "green", "blue", "red_spread", "blue_spread", "foreign", "dark", "nuclear", "blobs", "coarse", "grain")
#: Full-resolution patches of a core that are looked at, and the side of the middle that is, in pixels.
_PATCHES, _MIDDLE = 4, 256
#: OD from which a pixel has a colour, and how many such pixels a patch must have.
_COLOURED, _LEAST = 0.05, 2000
#: Share of the training cores that may lie beyond the threshold, and what is added for laboratories nobody thought of.
_BEYOND, _SLACK = 0.01, 1.25
_NUCLEAR, _NUCLEAR_SLACK = LOOKS.index("nuclear"), 0.05
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
        how it varies; OD beside the plane of H and DAB, as a share of all; the mean OD; how brown and blue go
        together at the width of nuclei; whether brown of that width comes in spots, and outweighs what is as thin as a
        membrane; grain.
    """
    chosen = np.unique(np.linspace(0, len(pixels) - 1, min(_PATCHES, len(pixels))).astype(int))
    looks = [look for k in chosen.tolist() if (look := _patch_look(pixels[k])) is not None]
    return np.asarray(np.mean(looks, axis=0), np.float64) if looks else np.full(len(LOOKS), np.nan)


def _patch_look(patch: npt.NDArray[np.uint8]) -> FloatArray | None:
    top, left = ((n - min(n, _MIDDLE)) // 2 for n in patch.shape[:2])
    density = optical_density(patch[top : top + _MIDDLE, left : left + _MIDDLE])
    # a plane for each channel: what follows then runs over neighbours in memory
    density = np.ascontiguousarray(np.moveaxis(density, -1, 0))
    smooth = ndimage.uniform_filter(density, (1, 3, 3))
    size = np.sqrt((smooth**2).sum(axis=0))
    tissue = size > _COLOURED
    if np.count_nonzero(tissue) < min(_LEAST, tissue.size // 4):
        return None
    darker = np.flatnonzero(tissue & (size >= np.median(size[tissue])))
    colour = smooth.reshape(3, -1).take(darker, axis=1) / size.take(darker)
    unmixing = np.linalg.inv(QUPATH_STAINS.mixing).astype(np.float32)
    h, d, foreign = (unmixing @ smooth.reshape(3, -1)).reshape(smooth.shape)
    # what is as wide as a nucleus, for which every second pixel will do, and what is as thin as a membrane
    brown = np.maximum(d, 0)
    there = tissue[::2, ::2]
    wide_d, wide_h = (_between(stain[::2, ::2], 1, 4)[there] for stain in (brown, h))
    thin = _between(brown, 1, 2)[tissue]
    spots = wide_d - wide_d.mean()
    together = float(np.mean(spots * (wide_h - wide_h.mean())))
    grain = (density - smooth).reshape(3, -1).take(np.flatnonzero(tissue), axis=1)
    return np.array(
        [
            *colour.mean(axis=1),
            # on logarithms, because it is their absence that is strange: a grey picture has one colour
            np.log(colour[0].std() + 0.005),
            np.log(colour[2].std() + 0.005),
            np.log(np.abs(foreign[tissue]).mean() / size[tissue].mean() + 0.005),
            np.log(size[tissue].mean()),
            together / np.sqrt((wide_d.var() + 0.02**2) * (wide_h.var() + 0.01**2)),
            np.cbrt(np.mean(spots * spots * spots)) / np.sqrt(wide_d.var() + 0.02**2),
            np.log((wide_d.std() + 0.005) / (thin.std() + 0.005)),
            np.log(grain.std() + 1e-3),
        ]
    )


def _between(stain: npt.NDArray[np.float32], fine: float, coarse: float) -> npt.NDArray[np.float32]:
    """What of a stain is wider than `fine` and narrower than `coarse`, as Gaussian sigmas in pixels."""
    return np.asarray(_blur(stain, fine) - _blur(stain, coarse))


def _blur(stain: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    return np.asarray(ndimage.gaussian_filter(stain, sigma, truncate=2.5))


def fit_familiar(looks: Sequence[FloatArray]) -> dict[str, Any]:
    """What training tissue looks like, to keep in `ScoringModel.familiar`.

    The distance is Mahalanobis', with the covariance drawn to its diagonal, divided by the square root of the number of
    `LOOKS`; the threshold is the 99th percentile of the cores it is fitted to, and a quarter more. Brown that goes with
    the nuclei has a limit of its own: it is one number of many, and the stain of another marker.

    Parameters
    ----------
    looks : sequence of ndarray, shape (len(LOOKS),)
        `core_look` of cores of the training settings, of all scores, and of real tissue where it is at hand; those
        that are NaN are passed over.

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
        "looks": list(LOOKS),
        "mean": [float(f"{v:.5g}") for v in known.mean(axis=0)],
        "precision": [[float(f"{v:.5g}") for v in row] for row in np.linalg.inv(covariance)],
        "n": len(known),
    }
    distances = [familiar_distance(look, fitted) for look in known]
    nuclear = float(np.quantile(known[:, _NUCLEAR], 1 - _BEYOND)) + _NUCLEAR_SLACK
    threshold = _SLACK * float(np.quantile(distances, 1 - _BEYOND))
    return fitted | {"threshold": round(threshold, 3), "nuclear_threshold": round(nuclear, 3)}


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
    look = core_look(pixels)
    distance, limit = familiar_distance(look, familiar), float(familiar["threshold"])
    if distance > limit:
        return (
            f"{UNFAMILIAR}: unlike anything the model has learned from (distance {distance:.1f}, at most {limit:.1f})."
        )
    nuclear, most = look[_NUCLEAR], float(familiar["nuclear_threshold"])
    if nuclear > most:
        told = f"correlation {nuclear:.2f}, at most {most:.2f}"
        return f"{UNFAMILIAR}: the brown lies on nuclei, as of another marker ({told})."
    return ""
