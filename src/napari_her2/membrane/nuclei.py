"""find_nuclei: star-shaped outlines of nuclei on the haematoxylin of a picture.

Blobs of three sizes give candidates; from each the closed outline with the sharpest fall of blue is drawn; of two that
lie in each other the sharper one stays. All of it works at about 1 µm per pixel: a nucleus is 5 to 15 µm across.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_her2.membrane.polar import ANGLES, DOWN, RIGHT, FloatArray, along_rays, best_outline, sample_at

__all__ = ["Nuclei", "blueness", "find_nuclei", "halved", "nuclear_scale", "nuclei_of_outlines"]

#: Standard deviations (µm) of the blobs looked for: nuclei of about 4, 6 and 10 µm radius answer most to them.
_BLOBS = (1.3, 2.2, 3.4)
#: A blob is compared with a surround that is wider by this factor.
_SURROUND = 1.7
#: Least answer of a blob, and least mean edge of an outline, in units of blueness (0..1).
_LEAST_BLOB, _LEAST_EDGE = 0.03, 0.06
#: Distances from the centre (µm) that an outline may take.
_RADII = (np.arange(1, 12) * 0.75).astype(np.float32)
#: Nuclei worked on at a time: their samples stay in the cache.
_CHUNK = 1024


@dataclass(frozen=True)
class Nuclei:
    """Nuclei of a picture; lengths in µm from its top left corner.

    Attributes
    ----------
    y, x : ndarray of float32, shape (n,)
        Centre.
    radius : ndarray of float32, shape (ANGLES, n)
        Distance of the outline from the centre along each ray.
    edge : ndarray of float32, shape (n,)
        Mean fall of blueness over the outline: how sharply the nucleus stands out.
    area : ndarray of float32, shape (n,)
        In µm².
    aspect : ndarray of float32, shape (n,)
        Long axis over short axis of the ellipse with the outline's moments.
    blue, haze, brown : ndarray of float32, shape (n,)
        Mean haematoxylin OD inside, haematoxylin OD 1.5 to 3 µm outside, DAB OD inside.
    """

    y: FloatArray
    x: FloatArray
    radius: FloatArray
    edge: FloatArray
    area: FloatArray
    aspect: FloatArray
    blue: FloatArray
    haze: FloatArray
    brown: FloatArray

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Nuclei:
        return Nuclei(*(getattr(self, f.name)[..., chosen] for f in fields(self)))


def halved(image: FloatArray) -> FloatArray:
    """Means of squares of 2 x 2 pixels; an odd last row or column is dropped."""
    h, w = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    out = image[:h:2, :w:2] + image[1:h:2, :w:2]
    out += image[:h:2, 1:w:2]
    out += image[1:h:2, 1:w:2]
    out *= np.float32(0.25)
    return out


def nuclear_scale(h: FloatArray, tissue: npt.NDArray[np.bool_] | None = None) -> float:
    """Haematoxylin OD of a typical nucleus: the 93rd percentile over tissue, 0.04 to 0.6."""
    values = h if tissue is None else h[tissue]
    return float(np.clip(np.percentile(values[::7], 93), 0.04, 0.6)) if values.size else 0.1


def blueness(h: FloatArray, d: FloatArray, scale: float) -> FloatArray:
    """How nuclear a pixel looks, below 1: blue, levelled off above a typical nucleus, less brown.

    Levelling keeps dark nuclei from hiding pale ones beside them; brown counts against, since a dark membrane holds
    blue for the unmixing and none for the eye.
    """
    blue, brown = np.maximum(h, 0), np.maximum(d, 0)
    blue /= blue + np.float32(scale)
    brown /= brown + np.float32(2 * scale)
    blue -= np.float32(0.5) * brown
    return blue


def find_nuclei(h: FloatArray, d: FloatArray, mpp: float, scale: float, pool: Executor | None = None) -> Nuclei:
    """Find the nuclei of a picture.

    Parameters
    ----------
    h, d : ndarray of float32, shape (rows, columns)
        Haematoxylin and DAB (OD) at about 1 µm per pixel.
    mpp : float
        µm per pixel of these.
    scale : float
        Haematoxylin OD of a typical nucleus, from `nuclear_scale`.
    pool : Executor, optional
        Shares the work among its threads.
    """
    run: Callable[..., Iterable[FloatArray]] = map if pool is None else pool.map
    smooth = ndimage.gaussian_filter(blueness(h, d, scale), 0.6 / mpp, truncate=3)
    found = np.concatenate(list(run(lambda s: _blobs(smooth, s / mpp), _BLOBS)), axis=1)
    found = (found[:, _apart(found)] + np.float32(0.5)) * np.float32(mpp)
    chunks = [found[:, k : k + _CHUNK] for k in range(0, found.shape[1], _CHUNK)]
    drawn = list(run(lambda c: _outlines(smooth, c[0], c[1], mpp), chunks))
    if not drawn:
        none = np.empty(0, np.float32)
        return Nuclei(none, none, np.empty((ANGLES, 0), np.float32), *([none] * 6))
    table = np.concatenate(drawn, axis=1)
    table = table[:, _sharpest(table)]
    y, x, edge, radius = table[0], table[1], table[2], np.ascontiguousarray(table[3:])
    return _described(y, x, radius, edge, h, d, mpp)


def nuclei_of_outlines(
    y: FloatArray, x: FloatArray, radius: FloatArray, h: FloatArray, d: FloatArray, mpp: float, scale: float
) -> Nuclei:
    """Nuclei whose outlines are known, with all else that the measurement asks of them.

    Parameters
    ----------
    y, x : ndarray of float32, shape (n,)
        Centres in µm.
    radius : ndarray of float32, shape (ANGLES, n)
        Distance of each outline from its centre in µm, above 0.
    h, d, mpp, scale
        As for `find_nuclei`.
    """
    smooth = ndimage.gaussian_filter(blueness(h, d, scale), 0.6 / mpp, truncate=3)
    beside = [np.maximum(radius + np.float32(off), 0) for off in (-0.75, 0.75)]
    inner, outer = (sample_at(smooth, y + DOWN[:, None] * r, x + RIGHT[:, None] * r, mpp) for r in beside)
    # an outline that somebody else drew may have no edge at all; what weighs edges takes logarithms
    edge = np.maximum((inner - outer).mean(axis=0), np.float32(0.01))
    return _described(y, x, radius, edge, h, d, mpp)


def _described(
    y: FloatArray, x: FloatArray, radius: FloatArray, edge: FloatArray, h: FloatArray, d: FloatArray, mpp: float
) -> Nuclei:
    area, aspect = _shape(radius)
    inside = [_inside(image, y, x, radius, mpp) for image in (h, d)]
    return Nuclei(y, x, radius, edge, area, aspect, inside[0], _around(h, y, x, radius, mpp), inside[1])


def _blobs(image: FloatArray, sigma: float) -> FloatArray:
    """Peaks of a difference of Gaussians: rows y, x (pixels) and answer; shape (3, n)."""
    answer = ndimage.gaussian_filter(image, sigma, truncate=2.5)
    answer -= ndimage.gaussian_filter(image, sigma * _SURROUND, truncate=2.5)
    across = np.maximum(np.maximum(answer[:, :-2], answer[:, 2:]), answer[:, 1:-1])
    highest = np.maximum(np.maximum(across[:-2], across[2:]), across[1:-1])
    centre = answer[1:-1, 1:-1]
    y, x = np.nonzero((centre == highest) & (centre > _LEAST_BLOB))
    return np.stack([y + 1, x + 1, centre[y, x]]).astype(np.float32)


def _apart(found: FloatArray) -> npt.NDArray[np.intp]:
    """Candidates without those that a stronger one lies within 1.5 pixels of, any blob size."""
    order = np.argsort(-found[2], kind="stable")
    pairs = cKDTree(found[:2, order].T).query_pairs(1.5, output_type="ndarray") if len(order) else np.empty((0, 2), int)
    keep = np.ones(len(order), bool)
    keep[pairs.max(axis=1)] = False
    return order[keep]


def _outlines(image: FloatArray, y: FloatArray, x: FloatArray, mpp: float) -> FloatArray:
    """Rows y, x, mean edge and the radii of each outline; shape (3 + ANGLES, n)."""
    steps = np.concatenate([[0.0], _RADII, [_RADII[-1] + 0.75]]).astype(np.float32)
    for last in (False, True):
        profile = along_rays(image, y, x, steps, mpp)
        edge = profile[:, :-2] - profile[:, 2:]
        outline = best_outline(edge)
        radius = _RADII[outline]
        if not last:  # the outline knows the centre better than the blob did
            square = radius**2
            reach = (2 / 3) * radius * square / square.sum(axis=0)
            y = y + np.clip((reach * DOWN[:, None]).sum(axis=0), -2, 2).astype(np.float32)
            x = x + np.clip((reach * RIGHT[:, None]).sum(axis=0), -2, 2).astype(np.float32)
    mean = np.take_along_axis(edge, outline[:, None], axis=1)[:, 0].mean(axis=0)
    return np.concatenate([y[None], x[None], mean[None], radius]).astype(np.float32)


def _sharpest(table: FloatArray) -> npt.NDArray[np.intp]:
    """Which outlines stay: of two whose centres lie in each other, the one with the sharper and longer edge."""
    y, x, edge, radius = table[0], table[1], table[2], table[3:]
    n = len(y)
    mean = radius.mean(axis=0)
    order = np.argsort(-edge * np.sqrt(mean), kind="stable")
    rank = np.empty(n, np.intp)
    rank[order] = np.arange(n)
    pairs = cKDTree(np.stack([y, x], axis=1)).query_pairs(8.0, output_type="ndarray")
    i, j = pairs[:, 0], pairs[:, 1]
    i, j = np.where(rank[i] < rank[j], i, j), np.where(rank[i] < rank[j], j, i)
    dy, dx = y[j] - y[i], x[j] - x[i]
    distance = np.hypot(dy, dx)
    toward = np.rint(np.arctan2(dy, dx) * (ANGLES / (2 * np.pi))).astype(int) % ANGLES
    own, other = radius[toward, i], radius[(toward + ANGLES // 2) % ANGLES, j]
    clash = (distance < own) | (distance < 0.65 * (own + other))
    i, j = i[clash], j[clash]
    by_rank = np.argsort(rank[i], kind="stable")
    starts = np.searchsorted(rank[i][by_rank], np.arange(n + 1))
    losers = j[by_rank]
    alive = edge > _LEAST_EDGE
    for place, one in enumerate(order.tolist()):
        if alive[one] and starts[place] < starts[place + 1]:
            alive[losers[starts[place] : starts[place + 1]]] = False
    return np.flatnonzero(alive)


def _shape(radius: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Area (µm²) and aspect of star-shaped outlines, from the moments of their wedges."""
    down, right = DOWN[:, None], RIGHT[:, None]
    weight = radius**2 / 2
    total = weight.sum(axis=0)
    cy, cx = ((radius**3 / 3 * u).sum(axis=0) / total for u in (down, right))
    syy = (radius**4 / 4 * down**2).sum(axis=0) / total - cy**2
    sxx = (radius**4 / 4 * right**2).sum(axis=0) / total - cx**2
    sxy = (radius**4 / 4 * down * right).sum(axis=0) / total - cy * cx
    spread = np.sqrt((syy - sxx) ** 2 + 4 * sxy**2)
    aspect = np.sqrt((syy + sxx + spread) / np.maximum(syy + sxx - spread, 1e-3))
    return (total * (2 * np.pi / ANGLES)).astype(np.float32), aspect.astype(np.float32)


def _inside(image: FloatArray, y: FloatArray, x: FloatArray, radius: FloatArray, mpp: float) -> FloatArray:
    """Mean over each outline, from three rings within it."""
    total, weight = np.zeros(len(y), np.float32), np.zeros(len(y), np.float32)
    for share in (0.3, 0.6, 0.85):
        reach = radius * np.float32(share)
        value = sample_at(image, y + DOWN[:, None] * reach, x + RIGHT[:, None] * reach, mpp)
        area = reach * radius
        total += (value * area).sum(axis=0)
        weight += area.sum(axis=0)
    return total / weight


def _around(image: FloatArray, y: FloatArray, x: FloatArray, radius: FloatArray, mpp: float) -> FloatArray:
    """Mean 1.5 to 3 µm outside each outline."""
    total = np.zeros(len(y), np.float32)
    for beyond in (1.5, 2.25, 3.0):
        reach = radius + np.float32(beyond)
        total += sample_at(image, y + DOWN[:, None] * reach, x + RIGHT[:, None] * reach, mpp).mean(axis=0)
    return total / np.float32(3)
