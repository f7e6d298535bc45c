"""Outline of each core's own tissue: crescents, bites and torn cores as they are, not the disc that was punched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.measure import find_contours

from napari_her2.cores import CoreGrid, CoreState
from napari_her2.dearray._discs import Map, Points
from napari_her2.dearray._fit import Spot
from napari_her2.dearray._tissue import Tissue

__all__ = ["Outline", "outlines", "with_outlines"]

Outline = tuple[tuple[float, float], ...]
Mask = npt.NDArray[np.bool_]

#: Tissue further than this from the centre, in radii, is not the core's.
_REACH = 1.25
#: Beyond the nominal disc, tissue has at least this share of the core's middle density, ...
_OWN = 0.35
#: ... and is no whisker: it covers so much of the square around it, whose half side is this many radii.
_WIDE, _WHISKER = 0.4, 0.2
#: Gaps up to twice this wide, in radii, are closed; pieces smaller than this share of the largest are specks.
_CLOSE, _SPECK = 0.18, 0.1
#: Half the width of the bridge between pieces of a torn core, and the smoothing of the outline, in radii.
_BRIDGE, _SMOOTH = 0.08, 0.06
#: Fewest and most corners.
_CORNERS = 24, 64


def outlines(tissue: Tissue, spots: Sequence[Spot], downsample: float) -> list[Outline]:
    """Outline the tissue of each core.

    Where cores touch, the border between them is the line on which both circles have the same power. The pieces of a
    torn core are joined: narrow gaps are closed, wider ones get a narrow bridge, so that one outline follows them all.
    Holes are not cut out.

    Parameters
    ----------
    tissue : Tissue
        Map of the overview.
    spots : sequence of Spot
        Cores with tissue, in pixels of the map; all of them, as they limit each other.
    downsample : float
        Level-0 pixels per pixel of the map.

    Returns
    -------
    list of tuple of (y, x)
        24 to 64 corners each in level-0 pixels, not closed; empty where there is no tissue within the reach.
    """
    if not spots:
        return []
    places, radii = np.array([[s.y, s.x] for s in spots]), np.array([s.radius for s in spots])
    near = cKDTree(places).query_ball_point(places, _REACH * (radii + radii.max()))
    found: list[Outline] = []
    for i, spot in enumerate(spots):
        others = [j for j in near[i] if j != i]
        own, origin = _own_tissue(tissue, spot, places[others], radii[others])
        line = _follow(_whole(own, spot.radius), spot.radius)
        found.append(tuple(map(tuple, ((line + origin + 0.5) * downsample).tolist())))
    return found


def with_outlines(tissue: Tissue, grid: CoreGrid, downsample: float) -> CoreGrid:
    """The grid with the outline of each core that is not missing; `tissue` and `downsample` as in `outlines`."""
    there = [c for c in grid if c.state is not CoreState.MISSING]
    # of a disc only its place and size are asked for
    spots = [Spot(c.y / downsample - 0.5, c.x / downsample - 0.5, c.diameter / 2 / downsample, 1, 1, 1) for c in there]
    found = {c.name: line for c, line in zip(there, outlines(tissue, spots, downsample), strict=True)}
    return CoreGrid(tuple(replace(c, outline=found.get(c.name, ())) for c in grid))


def _own_tissue(tissue: Tissue, spot: Spot, others: Points, radii: Points) -> tuple[Mask, Points]:
    """Tissue that is the core's own, glass around it, and the (y, x) of the window's first pixel on the map."""
    r = _REACH * spot.radius
    pad = int(_CLOSE * spot.radius) + 3  # closing and smoothing must not meet the border
    h, w = tissue.mask.shape
    y0, x0 = max(0, int(spot.y - r)), max(0, int(spot.x - r))
    y1, x1 = max(y0, min(h, int(spot.y + r) + 2)), max(x0, min(w, int(spot.x + r) + 2))
    window = np.zeros((y1 - y0 + 2 * pad, x1 - x0 + 2 * pad), bool)
    origin = np.array([y0 - pad, x0 - pad], float)
    density = tissue.density[y0:y1, x0:x1]
    if density.size == 0:
        return window, origin
    own = tissue.sharp[y0:y1, x0:x1] > 0.5
    yy, xx = np.ogrid[y0:y1, x0:x1]
    power = (yy - spot.y) ** 2 + (xx - spot.x) ** 2 - spot.radius**2
    own &= power <= r * r - spot.radius**2
    for (y, x), radius in zip(others.tolist(), radii.tolist(), strict=True):
        # equal power is a straight line: the squares of yy and xx cancel
        bound = y * y + x * x - radius**2 - spot.y**2 - spot.x**2 + spot.radius**2
        own &= 2 * (y - spot.y) * yy + 2 * (x - spot.x) * xx <= bound
    inside = own & (power <= 0)
    if inside.any():
        beyond = own & (density > _OWN * float(np.median(density[inside])))
        size = 2 * max(1, round(_WHISKER * spot.radius)) + 1
        own = inside | (beyond & (ndimage.uniform_filter(own.astype(np.float32), size, mode="constant") > _WIDE))
    window[pad:-pad, pad:-pad] = own
    return window, origin


def _whole(own: Mask, radius: float) -> Mask:
    """One piece: gaps closed, specks left out, what lies apart joined by bridges."""
    steps = max(1, round(_CLOSE * radius))
    closed = ~_grown(~_grown(own, steps), steps)
    labels, count = ndimage.label(closed, np.ones((3, 3)))
    if count < 2:
        return closed
    size = np.bincount(labels.ravel())
    size[0] = 0
    whole: Mask = labels == int(np.argmax(size))
    for n in np.argsort(-size)[1:]:
        if size[n] < _SPECK * size.max():
            break
        piece = labels == n
        away, (iy, ix) = ndimage.distance_transform_edt(~whole, return_indices=True)
        y, x = (int(n) for n in np.unravel_index(int(np.argmin(np.where(piece, away, np.inf))), own.shape))
        ends = (y, x), (int(iy[y, x]), int(ix[y, x]))
        whole = whole | piece | _bridge(own.shape, *ends, max(1.0, _BRIDGE * radius))
    return whole


def _grown(area: Mask, steps: int) -> Mask:
    """Each step adds the neighbours of an area, those across corners at every other step: an octagon, near a disc."""
    for step in range(steps):
        across = area.copy()
        across[1:] |= area[:-1]
        across[:-1] |= area[1:]
        wide = across if step % 2 else area
        grown = across.copy()
        grown[:, 1:] |= wide[:, :-1]
        grown[:, :-1] |= wide[:, 1:]
        area = grown
    return area


def _bridge(shape: tuple[int, ...], a: tuple[int, int], b: tuple[int, int], half: float) -> Mask:
    """Pixels within `half` of the line from a to b."""
    yy, xx = np.ogrid[: shape[0], : shape[1]]
    dy, dx = float(b[0] - a[0]), float(b[1] - a[1])
    along = np.clip(((yy - a[0]) * dy + (xx - a[1]) * dx) / max(dy * dy + dx * dx, 1e-9), 0, 1)
    near: Mask = (yy - a[0] - along * dy) ** 2 + (xx - a[1] - along * dx) ** 2 <= half * half
    return near


def _follow(whole: Mask, radius: float) -> Points:
    """Smooth line around a piece, of evenly spaced corners; shape (n, 2), or (0, 2) for no piece."""
    if not whole.any():
        return np.empty((0, 2))
    soft: Map = ndimage.gaussian_filter(whole.astype(np.float32), max(0.7, _SMOOTH * radius))
    # what is thinner than the smoothing has its line lower down
    lines: list[Points] = find_contours(soft, min(0.5, 0.5 * float(soft.max())))  # type: ignore[no-untyped-call]
    line = max(lines, key=lambda a: abs(_area(a))) if len(lines) > 1 else lines[0]
    at = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    corners = int(np.clip(at[-1] / 2, *_CORNERS))
    even = np.arange(corners) * at[-1] / corners
    return np.stack([np.interp(even, at, line[:, 0]), np.interp(even, at, line[:, 1])], axis=1)


def _area(line: Points) -> float:
    """Area within a closed line; its sign tells the direction."""
    y, x = line.T
    return 0.5 * float(np.dot(y, np.roll(x, -1)) - np.dot(x, np.roll(y, -1)))
