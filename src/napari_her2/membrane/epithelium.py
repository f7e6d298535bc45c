"""Which nuclei are tumour-like: round outlines in dense tissue, beside others that are not elongated.

A logistic regression on four features, fitted to nuclei of real cores labelled by eye. It leaves out most spindle
cells, lymphocytes, debris and outlines of no nucleus, and keeps plump stromal cells and muscle cut across. Where a
tumour region is painted, that decides alone; one that a network saw decides together with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_her2.membrane.nuclei import Nuclei
from napari_her2.membrane.polar import DOWN, RIGHT, FloatArray, sample_at

__all__ = ["WEIGHTS", "EpitheliumParams", "is_nucleus", "tumour_features", "tumour_likeness"]

#: Weights of the columns of `tumour_features` and, last, what is added. Fitted by `benchmarks/tumour_cells.py` to 136
#: tumour nuclei and 308 other outlines of seven oesophageal cores, labelled by eye.
WEIGHTS = (8.81, -4.98, 2.94, -5.43, 15.01)

#: OD of tissue, in units of the typical nucleus, above which it is as dense as can be: more brown does not make a
#: nucleus more tumour-like, or stained tumour cells would be counted before unstained ones.
_FULL = 0.7
#: OD in the same units below which there is a gap.
_GAP = 0.25


@dataclass(frozen=True)
class EpitheliumParams:
    """What a tumour nucleus looks like.

    Attributes
    ----------
    min_area : float
        µm² below which an outline is a fragment, not a nucleus (a lymphocyte has about 28).
    min_blue : float
        Haematoxylin of a nucleus relative to the median nucleus of the core, below which it is a shadow.
    least : float
        Likeness from which a nucleus counts as tumour where nothing else tells tumour. As high as it may be for the
        seven real cores to keep their scores; at 0 a third fewer of the counted cells are none of the tumour.
    least_seen : float
        The same where a network saw tumour, chosen in the same way.
    """

    min_area: float = 14.0
    min_blue: float = 0.35
    least: float = -0.75
    least_seen: float = -2.5


def is_nucleus(nuclei: Nuclei, params: EpitheliumParams) -> npt.NDArray[np.bool_]:
    """Which outlines are nuclei at all: large and blue enough, by the core's own median."""
    large = nuclei.area >= params.min_area
    typical = np.median(nuclei.blue[large]) if large.any() else 0.0
    return np.asarray(large & (nuclei.blue >= params.min_blue * typical))


def tumour_likeness(nuclei: Nuclei, h: FloatArray, d: FloatArray, mpp: float) -> npt.NDArray[np.float32]:
    """How much each nucleus looks like one of a tumour cell: log odds, see `WEIGHTS`.

    Parameters
    ----------
    nuclei : Nuclei
        True nuclei only (`is_nucleus`).
    h, d : ndarray of float32, shape (rows, columns)
        As for `find_nuclei`.
    mpp : float

    Returns
    -------
    ndarray of float32, shape (n,)
    """
    *weights, constant = WEIGHTS
    return np.asarray(tumour_features(nuclei, h, d, mpp) @ np.array(weights) + constant, np.float32)


def tumour_features(nuclei: Nuclei, h: FloatArray, d: FloatArray, mpp: float) -> npt.NDArray[np.float64]:
    """What `tumour_likeness` looks at, a column each; parameters as there.

    Log of the density of the tissue about the nucleus (4 µm), relative to the core's typical nucleus; log of how ragged
    the outline is (0 for a disc); share of gaps within about 25 µm, such as lumina; mean aspect of the nuclei within
    about 20 µm.

    Returns
    -------
    ndarray of float64, shape (n, 4)
    """
    if not len(nuclei):
        return np.empty((0, 4))
    tissue = (np.maximum(h, 0) + np.maximum(d, 0)) / np.float32(np.median(nuclei.blue))
    gaps = (ndimage.gaussian_filter(tissue, 0.7 / mpp, truncate=3) < _GAP).astype(np.float32)
    dense = _mean_about(np.minimum(tissue, _FULL), nuclei, 4.0, mpp)
    columns = [
        np.log(np.maximum(dense, 0.03)),
        _raggedness(nuclei.radius, nuclei.area),
        _mean_about(gaps, nuclei, 25.0, mpp),
        _of_neighbours(nuclei, np.minimum(nuclei.aspect, 4), 20.0),
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def _mean_about(image: FloatArray, nuclei: Nuclei, sigma: float, mpp: float) -> FloatArray:
    """Gaussian mean about each nucleus; the mean is smooth, so every second pixel of the image is enough."""
    mean = ndimage.gaussian_filter(np.ascontiguousarray(image[::2, ::2]), sigma / (2 * mpp), truncate=2.5)
    return sample_at(mean, nuclei.y, nuclei.x, 2 * mpp)


def _raggedness(radius: FloatArray, area: FloatArray) -> FloatArray:
    """Log of the squared perimeter over that of a disc of the same area."""
    y, x = radius * DOWN[:, None], radius * RIGHT[:, None]
    perimeter = np.hypot(y - np.roll(y, 1, axis=0), x - np.roll(x, 1, axis=0)).sum(axis=0)
    return np.asarray(np.log(perimeter**2 / (4 * np.pi * area)))


def _of_neighbours(nuclei: Nuclei, own: FloatArray, sigma: float) -> FloatArray:
    """Mean over the nucleus and its forty nearest within two sigma, weighted by distance."""
    places = np.stack([nuclei.y, nuclei.x], axis=1)
    distance, near = cKDTree(places).query(places, k=min(41, len(places)), distance_upper_bound=2 * sigma)
    distance, near = distance.reshape(len(places), -1), near.reshape(len(places), -1)
    there = near < len(places)
    weight = np.where(there, np.exp(-0.5 * (np.where(there, distance, 0) / sigma) ** 2), 0)
    return np.asarray((own[np.where(there, near, 0)] * weight).sum(axis=1) / weight.sum(axis=1), np.float32)
