"""The membrane of each cell: brown along its outline, ray by ray.

A cell reaches half way to its neighbours (a power diagram: larger nuclei have larger cells), at most `reach` beyond its
nucleus. Along each ray the strongest brown near that border is the membrane; what the cytoplasm shows is told apart. A
membrane is a line, too: how far it stands above both its sides is looked for along the rays beside each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from napari_her2.membrane.nuclei import Nuclei
from napari_her2.membrane.polar import ANGLES, DOWN, RIGHT, FloatArray, along_rays

__all__ = ["RingParams", "Rings", "measure_rings", "true_brown"]

_CHUNK = 512
#: Neighbours that can bound a cell.
_NEIGHBOURS = 10
_STEP = 0.5
#: DAB is dirt, not brown, where it is less than the first times the haematoxylin, and wholly brown from the second on:
#: grey dust unmixes into about equal parts of both.
_GREY, _BROWN = 0.5, 0.9
#: Steps on either side of a line at which it is compared with what it stands in: 1 µm.
_FLANK = 2
#: Weight of the rays beside a ray, two on each side, in a line that runs over them.
_ALONG = np.exp(-0.5 * (np.arange(-2, 3) / 1.2) ** 2)
_ALONG = (_ALONG / _ALONG.sum()).astype(np.float32)


@dataclass(frozen=True)
class RingParams:
    """How a membrane is looked for.

    Attributes
    ----------
    reach : float
        µm beyond the nucleus that a cell without neighbour ends at.
    window : float
        µm before and behind the border in which the membrane may lie.
    """

    reach: float = 5.0
    window: float = 1.5


@dataclass(frozen=True)
class Rings:
    """Membranes of n cells.

    Attributes
    ----------
    border : ndarray of float32, shape (ANGLES, n)
        Distance of the cell's border from the centre of its nucleus in µm.
    peak : ndarray of float32, shape (ANGLES, n)
        DAB (OD) of the membrane on each ray, smoothed with the rays beside it.
    line : ndarray of float32, shape (ANGLES, n)
        DAB (OD) by which a line there stands above both its sides, as the mean of five rays.
    free : ndarray of bool, shape (ANGLES, n)
        Rays on which no neighbour bounds the cell.
    cytoplasm : ndarray of float32, shape (n,)
        DAB (OD) of the cell inside its membrane.
    nuclear : ndarray of float32, shape (n,)
        Haematoxylin (OD) of the typical nucleus of all nuclei, the same for each cell.
    """

    border: FloatArray
    peak: FloatArray
    line: FloatArray
    free: npt.NDArray[np.bool_]
    cytoplasm: FloatArray
    nuclear: FloatArray

    def __getitem__(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Rings:
        return Rings(*(getattr(self, f.name)[..., chosen] for f in fields(self)))


def true_brown(h: FloatArray, d: FloatArray) -> FloatArray:
    """DAB with grey dust and debris taken out, and smoothed over 0.35 µm (0.7 pixels)."""
    ratio: FloatArray = np.asarray(d / np.maximum(h, np.float32(1e-3)), np.float32)
    ratio -= np.float32(_GREY)
    ratio *= np.float32(1 / (_BROWN - _GREY))
    np.clip(ratio, 0, 1, out=ratio)
    ratio *= d
    # a binomial of three pixels, rows then columns
    for _ in range(2):
        padded = np.pad(ratio, ((1, 1), (0, 0)), mode="edge")
        ratio *= np.float32(0.5)
        ratio += np.float32(0.25) * padded[:-2]
        ratio += np.float32(0.25) * padded[2:]
        ratio = np.ascontiguousarray(ratio.T)
    return ratio


def measure_rings(
    nuclei: Nuclei,
    chosen: npt.NDArray[np.intp],
    brown: FloatArray,
    mpp: float,
    params: RingParams,
    pool: Executor | None = None,
) -> Rings:
    """Measure the membranes of some cells.

    Parameters
    ----------
    nuclei : Nuclei
        All nuclei: those that are not measured bound the cells of those that are.
    chosen : ndarray of int, shape (n,)
        Which are measured.
    brown : ndarray of float32, shape (rows, columns)
        DAB (OD) from `true_brown`, at about 0.5 µm per pixel.
    mpp : float
        µm per pixel of `brown`.
    params : RingParams
    pool : Executor, optional
        Shares the work among its threads.
    """
    run: Callable[..., Iterable[Rings]] = map if pool is None else pool.map
    if not len(chosen):
        none = np.empty((ANGLES, 0), np.float32)
        return Rings(none, none, none, none.astype(bool), none[0], none[0])
    places = np.stack([nuclei.y, nuclei.x], axis=1)
    tree = cKDTree(places)
    # cells that lie beside each other are sampled together: their pixels are in the cache
    order = chosen[np.lexsort((nuclei.x[chosen], nuclei.y[chosen] // 40))]
    chunks = [order[k : k + _CHUNK] for k in range(0, len(order), _CHUNK)]
    parts = list(run(lambda c: _chunk(nuclei, c, places, tree, brown, mpp, params), chunks))
    back = np.empty(len(order), np.intp)
    back[np.argsort(chosen, kind="stable")] = np.argsort(order, kind="stable")
    joined = Rings(*(np.concatenate([getattr(p, f.name) for p in parts], axis=-1) for f in fields(Rings)))
    return joined[back]


def _chunk(
    nuclei: Nuclei,
    chosen: npt.NDArray[np.intp],
    places: FloatArray,
    tree: cKDTree,
    brown: FloatArray,
    mpp: float,
    params: RingParams,
) -> Rings:
    radius = nuclei.radius[:, chosen]
    half_way = _half_way(nuclei, chosen, places, tree)
    border = np.clip(half_way, radius + np.float32(0.25), radius + np.float32(params.reach))
    free = half_way > border
    farthest = border.max() + params.window + _FLANK * _STEP
    steps = np.arange(_STEP, farthest + _STEP, _STEP, dtype=np.float32)
    profile = along_rays(brown, nuclei.y[chosen], nuclei.x[chosen], steps, mpp)
    out = steps[:, None]
    # a side without neighbour says nothing of where the membrane is: anywhere between nucleus and reach
    near = np.where(free, radius, np.maximum(border - np.float32(params.window), radius - np.float32(0.75)))
    far = np.where(free, border, border + np.float32(params.window))
    window = (out >= near[:, None]) & (out <= far[:, None])
    peak = np.where(window, profile, -1).max(axis=1)
    peak = np.maximum(peak, 0)
    # along the membrane too: noise does not run on from ray to ray, brown does
    peak = np.float32(0.5) * peak + np.float32(0.25) * (np.roll(peak, 1, axis=0) + np.roll(peak, -1, axis=0))
    between = (out > radius[:, None] + np.float32(0.25)) & (out < near[:, None] - np.float32(0.25))
    within = out <= np.maximum(radius - 1, 0.6)[:, None]
    cytoplasm = _mean(profile, between, _mean(profile, within, np.zeros(len(chosen), np.float32), 1), 24)
    nuclear = np.full(len(chosen), np.median(nuclei.blue), np.float32)
    return Rings(border, peak, _line(profile, border, radius), free, cytoplasm, nuclear)


def _line(profile: FloatArray, border: FloatArray, radius: FloatArray) -> FloatArray:
    """How far the strongest line within 1 µm of the border stands above its sides; shape (ANGLES, n), at least 0.

    A line may run askew to the border, by up to a step from ray to ray.
    """
    offsets = np.arange(-2 * _FLANK, 2 * _FLANK + 1)
    at = np.rint(border / _STEP).astype(np.intp)[:, None] - 1 + offsets[:, None]
    near = np.take_along_axis(profile, at.clip(0, profile.shape[1] - 1), axis=1)
    steps = np.arange(len(offsets))
    best = np.zeros(border.shape, np.float32)
    # brown inside the nucleus is no membrane
    outside = (at[:, _FLANK:-_FLANK] + 1) * np.float32(_STEP) > radius[:, None] - np.float32(0.75)
    for askew in (-1, 0, 1):
        along = np.zeros_like(near)
        for weight, beside in zip(_ALONG, range(-2, 3), strict=True):
            moved = near if not askew * beside else near[:, (steps + askew * beside).clip(0, len(steps) - 1)]
            along += weight * np.roll(moved, -beside, axis=0)
        above = along[:, _FLANK:-_FLANK] - np.float32(0.5) * (along[:, : -2 * _FLANK] + along[:, 2 * _FLANK :])
        np.maximum(best, np.where(outside, above, 0).max(axis=1), out=best)
    return best


def _mean(profile: FloatArray, mask: npt.NDArray[np.bool_], default: FloatArray, least: int) -> FloatArray:
    """Mean per cell where the mask holds; the default weighs as much as `least` samples."""
    count = mask.sum(axis=(0, 1))
    total = np.where(mask, profile, 0).sum(axis=(0, 1))
    return np.asarray((total + least * default) / (count + least), np.float32)


def _half_way(nuclei: Nuclei, chosen: npt.NDArray[np.intp], places: FloatArray, tree: cKDTree) -> FloatArray:
    """Where each ray meets the power diagram of the nuclei, in µm; shape (ANGLES, n), large where nothing is near."""
    k = min(_NEIGHBOURS + 1, len(places))
    distance, near = tree.query(places[chosen], k=k, distance_upper_bound=30)
    distance, near = distance.reshape(len(chosen), k).T, near.reshape(len(chosen), k).T
    there = (near < len(places)) & (near != chosen)
    near = np.where(there, near, 0)
    square = np.where(there, distance, 0) ** 2
    size = nuclei.area / np.float32(np.pi)
    nearest = np.full((ANGLES, len(chosen)), 1e3, np.float32)
    for j in range(k):
        dy, dx = nuclei.y[near[j]] - nuclei.y[chosen], nuclei.x[near[j]] - nuclei.x[chosen]
        toward = DOWN[:, None] * dy + RIGHT[:, None] * dx
        length = ((square[j] + size[chosen] - size[near[j]]) / 2).astype(np.float32)
        met = np.where((toward > 1e-3) & there[j], np.maximum(length, 0.1) / np.maximum(toward, 1e-3), 1e3)
        np.minimum(nearest, met, out=nearest)
    return nearest
