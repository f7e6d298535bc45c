"""Cores, or a section: discs fit into any tissue, but only those of cores have glass around them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_her2.dearray._discs import Map
from napari_her2.dearray._fit import Spot
from napari_her2.dearray._lattice import Lattice
from napari_her2.dearray._tissue import Tissue

__all__ = ["in_lines", "look_like_cores"]

#: The ring around a disc, in radii: blur and fit are within it.
_RING = 1.05, 1.3
#: Most tissue in the rings around cores, as a share, discs next to them left out: at most 0.08 on 8 real overviews, a
#: real slide and 59 drawn layouts; 0.17 to 0.27 on strips, biopsies and fatty tissue.
_MOST_AROUND = 0.13
#: The better quarter of cores is filled to this share: 0.9 and more there, at most 0.7 on ovals and fragments.
_LEAST_FULL = 0.75
#: So many discs and more must stand in lines: pairs of neighbours a step apart, for each disc, are 1.09 and more on
#: those slides, 0.52 where half of the cores are lost, and at most 0.4 where fragments lie at random.
_MANY, _LEAST_LINKS = 6, 0.45
#: Fewer have no lines to speak for them: the better quarter of them has at least this ring response.
_FEW_CLEAR = 0.65


def look_like_cores(tissue: Tissue, spots: Sequence[Spot]) -> bool:
    """Whether discs are round pieces of tissue by themselves, rather than what fits into a section.

    Parameters
    ----------
    tissue : Tissue
    spots : sequence of Spot
        Clear discs, in pixels of the tissue map.
    """
    h, w = tissue.sharp.shape
    # what goes on beyond the picture may be a piece of anything
    spots = [s for s in spots if min(s.y, h - s.y, s.x, w - s.x) > 0.9 * s.radius]
    if not spots:
        return False
    near, far = np.zeros(tissue.sharp.shape, bool), np.zeros(tissue.sharp.shape, bool)
    full = []
    for spot in spots:
        window, away = _around(spot, tissue.sharp.shape)
        near[window] |= away <= _RING[0]
        far[window] |= away <= _RING[1]
        disc = away <= 1
        full.append(float(tissue.sharp[window][disc].mean()) if disc.any() else 0.0)
    ring = far & ~near
    around = float(tissue.sharp[ring].mean()) if ring.any() else 0.0
    if len(spots) < _MANY and float(np.quantile([s.response for s in spots], 0.75)) < _FEW_CLEAR:
        return False
    return around <= _MOST_AROUND and float(np.quantile(full, 0.75)) >= _LEAST_FULL


def in_lines(lattice: Lattice | None, discs: int) -> bool:
    """Whether discs form rows and columns; a few need not."""
    return discs < _MANY or (lattice is not None and lattice.links >= _LEAST_LINKS * discs)


def _around(spot: Spot, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], Map]:
    """Window on a disc and its ring, and how far its pixels are from the centre, in radii."""
    r = _RING[1] * spot.radius
    y0, y1 = max(0, int(spot.y - r)), max(0, min(shape[0], int(spot.y + r) + 2))
    x0, x1 = max(0, int(spot.x - r)), max(0, min(shape[1], int(spot.x + r) + 2))
    yy, xx = np.ogrid[y0:y1, x0:x1]
    away = np.hypot(yy - spot.y, xx - spot.x) / spot.radius
    return (slice(y0, y1), slice(x0, x1)), away.astype(np.float32)
