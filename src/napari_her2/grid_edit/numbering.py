"""Name the cores of a grid anew: another scheme, another corner to count from, another order."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from napari_her2.cores import Core, CoreGrid
from napari_her2.errors import CoresError
from napari_her2.grid_edit._names import named, namings_of, on_grid, unnamed
from napari_her2.grid_edit._places import lattice_of
from napari_her2.grid_edit._straight import straight_through
from napari_her2.naming import Naming, extend_labels, is_counted_down

__all__ = ["Corner", "rename", "renumber", "swap_order", "transpose"]

Corner = Literal["top-left", "top-right", "bottom-left", "bottom-right"]


def rename(grid: CoreGrid, naming: Naming) -> CoreGrid:
    """Name every core on the grid after a scheme; where it has too few labels it goes on as it began.

    Cores off the grid keep their names unless the scheme needs them: then they are called X-1, X-2, ...

    Raises
    ------
    CoresError
        If two cores stand in the same cell.
    """
    sizes = {block: (len(known.rows), len(known.columns)) for block, known in namings_of(grid).items()}
    rows, columns = (max((size[k] for size in sizes.values()), default=0) for k in range(2))
    cores = [replace(c, name="") if c.row >= 0 and c.column >= 0 else c for c in grid]
    return named(cores, dict.fromkeys(sizes, naming.sized(rows, columns)))


def renumber(grid: CoreGrid, corner: Corner) -> CoreGrid:
    """Count rows and columns from another corner of the slide, where the first labels then are.

    Parameters
    ----------
    grid : CoreGrid
        The grid; its tilt is considered.
    corner : "top-left", "top-right", "bottom-left" or "bottom-right"
        Where A-1 shall lie, as one sees the slide.

    Returns
    -------
    CoreGrid
        Rows stay rows. Labels that counted down count up from the corner. In several blocks each is counted from that
        corner of its own; blocks called 1, 2, ... are counted from there, too.
    """
    if corner not in ("top-left", "top-right", "bottom-left", "bottom-right"):
        raise CoresError(f'"{corner}" is no corner: take top-left, top-right, bottom-left or bottom-right.')
    if not on_grid(grid):
        return grid
    towards = np.array([1.0 if corner.startswith("top") else -1.0, 1.0 if corner.endswith("left") else -1.0])
    namings = namings_of(grid)
    flips = {block: _flips([c for c in on_grid(grid) if c.block == block], towards) for block in namings}
    names = _blocks_from(grid, flips)
    cores = []
    for c in unnamed(grid, namings):
        if c.row >= 0 and c.column >= 0:
            row = len(namings[c.block].rows) - 1 - c.row if flips[c.block][0] else c.row
            column = len(namings[c.block].columns) - 1 - c.column if flips[c.block][1] else c.column
            c = replace(c, row=row, column=column, block=names[c.block])
        cores.append(c)
    counted = {
        name: replace(namings[block], rows=_upwards(namings[block].rows), columns=_upwards(namings[block].columns))
        for block, name in names.items()
    }
    return named(cores, counted)


def _flips(own: list[Core], towards: np.ndarray) -> tuple[bool, bool]:
    """Whether rows, and columns, must count the other way to go from the corner into the slide."""
    lattice = lattice_of(own)
    return bool(lattice.down @ towards < 0), bool(lattice.along @ towards < 0)


def _blocks_from(grid: CoreGrid, flips: dict[str, tuple[bool, bool]]) -> dict[str, str]:
    """New names of blocks, in their new order; only numbers are counted anew."""
    if set(flips) != {str(n + 1) for n in range(len(flips))}:
        return {block: block for block in flips}
    lines, firsts = straight_through(grid), {}
    for block, (rows, columns) in flips.items():
        row, column = lines[block]
        firsts[block] = (
            -int(row.max()) if rows else int(row.min()),
            -int(column.max()) if columns else int(column.min()),
        )
    return {block: str(n) for n, block in enumerate(sorted(firsts, key=lambda b: firsts[b]), 1)}


def _upwards(labels: tuple[str, ...]) -> tuple[str, ...]:
    return labels[::-1] if is_counted_down(labels) else labels


def swap_order(grid: CoreGrid) -> CoreGrid:
    """Names with the column first where the row came first, and the other way round: A-1 becomes 1-A."""
    namings = namings_of(grid)
    return named(unnamed(grid, namings), {b: replace(n, row_first=not n.row_first) for b, n in namings.items()})


def transpose(grid: CoreGrid) -> CoreGrid:
    """Rows become columns and columns rows, as on a slide that was scanned lying on its side."""
    namings = namings_of(grid)
    turned = {
        block: replace(
            n,
            rows=extend_labels(n.rows, len(n.columns), numbers=False),
            columns=extend_labels(n.columns, len(n.rows), numbers=True),
        )
        for block, n in namings.items()
    }
    return named([replace(c, row=c.column, column=c.row) for c in unnamed(grid, namings)], turned)
