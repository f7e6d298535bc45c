"""What the user read on a core stays on its tissue when the grid is found, drawn or opened anew."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from napari.layers import Shapes

from napari_her2.cores import Core, CoreGrid
from napari_her2.errors import HER2Error
from napari_her2.viewer.cores_layer import grid_of_layer

__all__ = ["carry_readings", "readings_onto"]


def readings_onto(grid: CoreGrid, layer: Shapes | None) -> tuple[CoreGrid, list[str]]:
    """A grid that is to be shown on a layer, with the readings of that layer, and what has to be told of it."""
    try:
        grid, lost = carry_readings(grid, CoreGrid() if layer is None else grid_of_layer(layer))
    except HER2Error:  # a table that was edited into something that is no grid has none to give
        lost = 0
    return grid, [f"{lost} reader scores lay where no core is now: Undo brings them back."] if lost else []


def carry_readings(grid: CoreGrid, old: CoreGrid) -> tuple[CoreGrid, int]:
    """Give cores of a new grid the readings of the old one on the same tissue; what they bring along stands above.

    Returns
    -------
    grid : CoreGrid
    lost : int
        How many readings lay where no core is now.
    """
    read = CoreGrid(tuple(core for core in old if core.reader_score))
    if not len(read):
        return grid, 0
    on_place = grid.with_data_of(read)
    cores = tuple(
        core if core.reader_score else replace(core, reader_score=there.reader_score)
        for core, there in zip(grid, on_place, strict=True)
    )
    return CoreGrid(cores), sum(not _has_a_core(core, cores) for core in read)


def _has_a_core(core: Core, cores: Iterable[Core]) -> bool:
    return any((c.y - core.y) ** 2 + (c.x - core.x) ** 2 < (c.diameter / 4) ** 2 for c in cores)
