"""Which nuclei are tumour-like: large, round, not dark, with cytoplasm on all sides, among others of their kind.

A rule of physical features with weights set by hand, not a trained classifier: it takes out most spindle cells,
lymphocytes and debris, and keeps plump stromal cells and macrophages. Where a tumour region is known (painted, or from
the network), that decides together with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_her2.membrane.nuclei import Nuclei
from napari_her2.membrane.polar import DOWN, RIGHT, FloatArray, sample_at

__all__ = ["EpitheliumParams", "is_nucleus", "tumour_likeness"]


@dataclass(frozen=True)
class EpitheliumParams:
    """What a tumour nucleus looks like.

    Attributes
    ----------
    min_area : float
        µm² below which an outline is a fragment, not a nucleus (a lymphocyte has about 28).
    typical_area : float
        µm² at which size speaks neither for nor against tumour: between lymphocytes and tumour nuclei.
    min_blue : float
        Haematoxylin of a nucleus relative to the median nucleus of the core, below which it is a shadow.
    neighbours_um : float
        How far neighbours count, as the standard deviation of a Gaussian in µm: about one and a half cells.
    least : float
        Likeness from which a nucleus counts as tumour; 0 is neutral.
    """

    min_area: float = 14.0
    typical_area: float = 32.0
    min_blue: float = 0.35
    neighbours_um: float = 10.0
    least: float = 0.0


def is_nucleus(nuclei: Nuclei, params: EpitheliumParams) -> npt.NDArray[np.bool_]:
    """Which outlines are nuclei at all: large and blue enough, by the core's own median."""
    large = nuclei.area >= params.min_area
    typical = np.median(nuclei.blue[large]) if large.any() else 0.0
    return np.asarray(large & (nuclei.blue >= params.min_blue * typical))


def tumour_likeness(
    nuclei: Nuclei, h: FloatArray, d: FloatArray, mpp: float, params: EpitheliumParams
) -> npt.NDArray[np.float32]:
    """How much each nucleus looks like one of a tumour cell; above `params.least` it counts.

    Half of it is the nucleus's own: size, roundness, sharpness, darkness, whether tissue lies on all sides of it (loose
    stroma leaves gaps), whether the texture around runs one way (fibres). Half is the mean of its neighbours.

    Parameters
    ----------
    nuclei : Nuclei
        True nuclei only (`is_nucleus`).
    h, d : ndarray of float32, shape (rows, columns)
        As for `find_nuclei`.
    mpp : float
    params : EpitheliumParams

    Returns
    -------
    ndarray of float32, shape (n,)
    """
    if not len(nuclei):
        return np.empty(0, np.float32)
    typical = float(np.median(nuclei.blue))
    tissue = np.maximum(h, 0) + np.maximum(d, 0)
    own = 1.6 * np.log(nuclei.area / params.typical_area)
    own -= 0.9 * (np.minimum(nuclei.aspect, 4) - 1.6)
    own += 0.6 * np.clip(np.log(np.maximum(_least_around(nuclei, tissue, mpp) / typical, 0.02) / 0.3), -2.5, 1)
    own -= 1.5 * np.maximum(0, np.log(np.maximum(nuclei.blue / typical, 0.1) / 1.35))
    own -= 2.0 * (_one_way(nuclei, tissue, mpp) - 0.35)
    own += 1.2 * np.clip(np.log(nuclei.edge / 0.12), -1, 1)
    return np.asarray(0.5 * (own + _of_neighbours(nuclei, own, params.neighbours_um)), np.float32)


def _least_around(nuclei: Nuclei, tissue: FloatArray, mpp: float) -> FloatArray:
    """20th percentile of the OD 1.5 to 5 µm outside: low where there is a gap on one side."""
    smooth = ndimage.gaussian_filter(tissue, 0.7 / mpp, truncate=3)
    rings = []
    for beyond in (1.5, 2.5, 3.5, 5.0):
        reach = nuclei.radius[::2] + np.float32(beyond)
        rings.append(sample_at(smooth, nuclei.y + DOWN[::2, None] * reach, nuclei.x + RIGHT[::2, None] * reach, mpp))
    rank = len(rings) * len(rings[0]) // 5
    return np.asarray(np.partition(np.concatenate(rings), rank, axis=0)[rank])


def _one_way(nuclei: Nuclei, tissue: FloatArray, mpp: float) -> FloatArray:
    """Coherence of the structure tensor over 8 µm, 0..1: high along fibres."""
    gy, gx = np.gradient(ndimage.gaussian_filter(tissue, 1.0 / mpp, truncate=3))
    # the tensor is smooth: every second pixel of it is enough
    yy, xx, yx = (
        ndimage.gaussian_filter(product[::2, ::2], 4.0 / mpp, truncate=2.5) for product in (gy * gy, gx * gx, gy * gx)
    )
    coherence = np.sqrt((yy - xx) ** 2 + 4 * yx**2) / (yy + xx + np.float32(1e-8))
    return sample_at(coherence, nuclei.y, nuclei.x, 2 * mpp)


def _of_neighbours(nuclei: Nuclei, own: FloatArray, sigma: float) -> FloatArray:
    """Mean over the nucleus and its eight nearest, weighted by distance."""
    places = np.stack([nuclei.y, nuclei.x], axis=1)
    distance, near = cKDTree(places).query(places, k=min(9, len(places)), distance_upper_bound=3 * sigma)
    distance, near = distance.reshape(len(places), -1), near.reshape(len(places), -1)
    there = near < len(places)
    weight = np.where(there, np.exp(-0.5 * (np.where(there, distance, 0) / sigma) ** 2), 0)
    return np.asarray((own[np.where(there, near, 0)] * weight).sum(axis=1) / weight.sum(axis=1), np.float32)
