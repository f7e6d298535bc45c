"""Discs in a tissue map: how large they are, and where."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage
from scipy.spatial import cKDTree

__all__ = ["common_radius", "pick", "ring_response"]

Map = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

#: The ring around a disc that should be glass, in radii.
_RING = 1.3
#: Radii tried at each size of the picture; below the first a disc is too small to see.
_RADII = 4.0 * 2 ** (np.arange(8) / 8)


def _kernel(radius: float, shape: tuple[int, int], ring: float = _RING) -> npt.NDArray[np.complex64]:
    """Transform of (mean over a disc) - (mean over the ring around it), centred on pixel (0, 0)."""
    reach = int(np.ceil(radius * ring)) + 1
    grid = np.arange(-reach, reach + 1)
    distance = np.hypot(grid[:, None], grid[None])
    disc = np.clip(radius + 0.5 - distance, 0, 1)
    outer = np.clip(radius * ring + 0.5 - distance, 0, 1) - disc
    patch = disc / disc.sum() - outer / outer.sum()
    whole = np.zeros(shape, np.float32)
    whole[: 2 * reach + 1, : 2 * reach + 1] = patch
    return fft.rfft2(np.roll(whole, (-reach, -reach), (0, 1)))  # type: ignore[no-any-return]


def ring_response(mask: Map, radii: npt.ArrayLike) -> list[Map]:
    """For each radius: mean of the mask within the disc around each pixel, less the mean in the ring around that.

    Parameters
    ----------
    mask : ndarray of float32, shape (y, x)
    radii : sequence of float
        In pixels.

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
    return [fft.irfft2(spectrum * _kernel(r, shape), shape)[:h, :w] for r in radii]


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


def common_radius(mask: Map) -> float:
    """Radius that explains most of the tissue as separate discs, in pixels of the map.

    At each radius discs are laid greedily where the ring response is highest; a radius is worth the sum of
    ``response**2 * area``. For discs of radius r this is r**4 / R**2 above r and falls at once below it.

    Returns
    -------
    float
        0.0 when nothing looks like a disc.
    """
    sizes: list[float] = []
    worths: list[float] = []
    scale = 1
    picture = mask
    while min(picture.shape) > 3 * _RADII[0]:
        for r, response in zip(_RADII, ring_response(picture, _RADII), strict=True):
            _, values = pick(response, r, 0.25, apart=1.7)
            sizes.append(r * scale)
            worths.append(float(np.sum(values**2)) * (r * scale) ** 2)
        picture = _halve(picture)
        scale *= 2
    if not worths or max(worths) == 0:
        return 0.0
    top = int(np.argmax(worths))
    if not 0 < top < len(worths) - 1:
        return sizes[top]
    # a parabola through the three best, in steps of the radius
    before, here, after = worths[top - 1 : top + 2]
    return float(sizes[top] * (sizes[1] / sizes[0]) ** (0.5 * (before - after) / (before - 2 * here + after)))


def _halve(picture: Map) -> Map:
    h, w = (n // 2 * 2 for n in picture.shape)
    p = picture[:h, :w]
    return (p[::2, ::2] + p[1::2, ::2] + p[::2, 1::2] + p[1::2, 1::2]) / np.float32(4)
