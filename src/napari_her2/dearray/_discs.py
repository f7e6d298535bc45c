"""Discs in a tissue map: how large they are, and where."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage
from scipy.spatial import cKDTree

__all__ = ["common_radius", "disc_kernel", "disc_mean", "disc_worth", "halve", "pick", "ring_response", "vertex"]

Map = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

#: The ring around a disc that should be glass, in radii.
_RING = 1.3
#: Radii tried at each size of the picture; below the first a disc is too small to see.
_RADII = 4.0 * 2 ** (np.arange(8) / 8)
#: Longest side of the picture that is searched for discs of any size.
_SEARCH = 800


def disc_kernel(radius: float, shape: tuple[int, int], ring: float = _RING) -> npt.NDArray[np.complex64]:
    """Transform of (mean over a disc) - (mean over the ring around it), centred on pixel (0, 0); no ring if it is 1."""
    reach = int(np.ceil(radius * ring)) + 1
    grid = np.arange(-reach, reach + 1)
    distance = np.hypot(grid[:, None], grid[None])
    disc = np.clip(radius + 0.5 - distance, 0, 1)
    outer = np.clip(radius * ring + 0.5 - distance, 0, 1) - disc
    patch = disc / disc.sum()
    if ring > 1:
        patch -= outer / outer.sum()
    whole = np.zeros(shape, np.float32)
    whole[: 2 * reach + 1, : 2 * reach + 1] = patch
    return fft.rfft2(np.roll(whole, (-reach, -reach), (0, 1)))  # type: ignore[no-any-return]


def disc_mean(mask: Map, radius: float) -> Map:
    """Mean of the mask within the disc around each pixel; shape of the mask."""
    return ring_response(mask, [radius], ring=1.0)[0]


def ring_response(mask: Map, radii: npt.ArrayLike, ring: float = _RING) -> list[Map]:
    """For each radius: mean of the mask within the disc around each pixel, less the mean in the ring around that.

    Parameters
    ----------
    mask : ndarray of float32, shape (y, x)
    radii : sequence of float
        In pixels.
    ring : float
        Outer radius of the ring, in radii.

    Returns
    -------
    list of ndarray of float32, shape (y, x)
        1 for a full disc on clean glass, 0 for even ground.
    """
    radii = np.atleast_1d(np.asarray(radii, float))
    reach = int(np.ceil(radii.max() * _RING)) + 2
    h, w = mask.shape
    shape = (fft.next_fast_len(h + reach, real=True), fft.next_fast_len(w + reach, real=True))
    spectrum = fft.rfft2(mask, shape)
    return [fft.irfft2(spectrum * disc_kernel(r, shape, ring), shape)[:h, :w] for r in radii]


def pick(response: Map, radius: float, least: float, apart: float = 1.5) -> tuple[Points, npt.NDArray[np.float64]]:
    """Highest places of a response, best first, at least `apart` radii from each other.

    Returns
    -------
    points : ndarray of float64, shape (n, 2)
        (y, x) in pixels of the map.
    values : ndarray of float64, shape (n,)
    """
    size = 2 * max(1, int(radius * 0.5)) + 1
    top = (response >= ndimage.maximum_filter(response, size)) & (response > least)
    points = np.argwhere(top).astype(float)
    values = response[top].astype(float)
    order = np.argsort(-values, kind="stable")
    points, values = points[order], values[order]
    if len(points) == 0:
        return points, values
    alive = np.ones(len(points), bool)
    for i, near in enumerate(cKDTree(points).query_ball_point(points, apart * radius)):
        if alive[i]:
            alive[[j for j in near if j > i]] = False
    return points[alive], values[alive]


def disc_worth(mask: Map, radii: npt.ArrayLike) -> tuple[Points, Points]:
    """How much of the tissue separate discs of each radius explain, in pixels.

    Discs are laid greedily where the ring response is highest.

    Returns
    -------
    worth : ndarray of float64, shape (n,)
        Sum of ``response**2 * area``. Where the tissue is discs of radius r, it is ``r**4 / R**2`` for R above r, and
        falls at once for R below.
    solid : ndarray of float64, shape (n,)
        The same times the fourth power of each disc's fill: a whole array of touching cores on a clean slide looks
        like a disc, too, but has glass between its cores.
    """
    radii = np.atleast_1d(np.asarray(radii, float))
    sums = np.pad(np.cumsum(np.cumsum(mask, axis=0, dtype=np.float64), axis=1), ((1, 0), (1, 0)))
    worth, solid = [], []
    for r, response in zip(radii, ring_response(mask, radii), strict=True):
        points, values = pick(response, r, 0.25, apart=1.7)
        half = max(1, round(0.8 * r))  # a square of about the area of the disc
        low = np.clip(points.astype(int) - half, 0, np.array(mask.shape)).reshape(-1, 2)
        high = np.clip(points.astype(int) + half + 1, 0, np.array(mask.shape)).reshape(-1, 2)
        (y0, x0), (y1, x1) = low.T, high.T
        fill = (sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]) / (2 * half + 1) ** 2
        worth.append(float(np.sum(values**2)) * np.pi * r**2)
        solid.append(float(np.sum(values**2 * fill**4)) * np.pi * r**2)
    return np.array(worth), np.array(solid)


def common_radius(mask: Map) -> float:
    """Radius that explains most of the tissue as separate discs, in pixels of the map.

    Returns
    -------
    float
        0.0 when nothing looks like a disc.
    """
    found: list[tuple[Points, Points]] = []
    scale, picture = 1, mask
    while max(picture.shape) > _SEARCH:
        scale, picture = 2 * scale, halve(picture)
    first = scale * _RADII[0]
    while min(picture.shape) > 3 * _RADII[0]:
        worth, solid = disc_worth(picture, _RADII)
        found.append((worth * scale**2, solid * scale**2))
        scale, picture = 2 * scale, halve(picture)
    if not found:
        return 0.0
    worth, solid = (np.concatenate(parts) for parts in zip(*found, strict=True))
    top = int(np.argmax(solid))
    if solid[top] == 0:
        return 0.0
    # the fill pulls a little to smaller discs: the top is that of the worth nearby
    while 0 < top < len(worth) - 1 and worth[top] < max(worth[top - 1], worth[top + 1]):
        top += 1 if worth[top + 1] > worth[top - 1] else -1
    return float(first * 2 ** (vertex(worth, top) / len(_RADII)))


def vertex(values: npt.NDArray[np.floating], i: int) -> float:
    """Place of the top of a parabola through a maximum and its two neighbours."""
    if not 0 < i < len(values) - 1:
        return float(i)
    before, here, after = (float(v) for v in values[i - 1 : i + 2])
    bend = before - 2 * here + after
    return i + (0.5 * (before - after) / bend if bend < 0 else 0.0)


def halve(picture: Map) -> Map:
    """Mean over squares of two pixels."""
    h, w = (n // 2 * 2 for n in picture.shape)
    p = picture[:h, :w]
    return (p[::2, ::2] + p[1::2, ::2] + p[::2, 1::2] + p[1::2, 1::2]) / np.float32(4)
