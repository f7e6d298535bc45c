"""Slides of discs, drawn for the tests of finding cores."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from napari_her2.cores import CoreGrid, CoreState
from napari_her2.dearray import DearrayParams, find_cores
from napari_her2.naming import core_name
from napari_her2.slide import Slide

Picture = npt.NDArray[np.uint8]
GLASS = (236, 234, 241)


def drawn(
    places: npt.NDArray[np.float64],
    radius: float = 14,
    *,
    shape: tuple[int, int] | None = None,
    tissue: tuple[int, int, int] = (180, 165, 190),
    grain: float = 12,
    seed: int = 0,
) -> Picture:
    """Discs at places (y, x) on clean glass, with a little noise everywhere and grain in the tissue."""
    rng = np.random.default_rng(seed)
    h, w = shape or tuple(int(n) for n in places.max(axis=0) + 3 * radius)
    picture = np.tile(np.array(GLASS, float), (h, w, 1))
    yy, xx = np.ogrid[:h, :w]
    for y, x in places:
        inside = (yy - y) ** 2 + (xx - x) ** 2 <= radius**2
        picture[inside] = np.array(tissue) + rng.normal(0, grain, (int(inside.sum()), 1))
    return np.clip(picture + rng.normal(0, 0.7, (h, w, 1)), 0, 255).astype(np.uint8)


def lattice(
    rows: int, columns: int, pitch: float = 34, degrees: float = 0, start: float = 60
) -> npt.NDArray[np.float64]:
    """Places (y, x) of a full grid, shape (rows, columns, 2), moved so that all lie inside."""
    y, x = np.mgrid[0:rows, 0:columns] * pitch
    a = np.radians(degrees)
    places = np.stack([y * np.cos(a) + x * np.sin(a), x * np.cos(a) - y * np.sin(a)], axis=-1)
    return places - places.min(axis=(0, 1)) + start


def found(picture: Picture, mpp: float | None = None, **told: float) -> CoreGrid:
    """What `find_cores` makes of a picture, with `DearrayParams` by name."""
    return find_cores(Slide.from_arrays(picture, name="drawn", mpp=mpp), DearrayParams(**told))


def check(grid: CoreGrid, places: npt.NDArray[np.float64], radius: float, gone: Collection[str] = ()) -> None:
    """Every place has its name, state and centre; nothing else is on the grid."""
    names = {core_name(r, c): places[r, c] for r, c in np.ndindex(*places.shape[:2])}
    assert {c.name for c in grid} == set(names)
    for core in grid:
        y, x = names[core.name]
        assert np.hypot(core.y - y, core.x - x) < 0.2 * radius + (0.3 * radius if core.name in gone else 0), core
        assert (core.state is CoreState.MISSING) == (core.name in gone), core
        assert core.name in gone or abs(core.diameter / 2 / radius - 1) < 0.12
