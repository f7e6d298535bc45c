"""Insert, delete, rename and shift rows and columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.errors import CoresError
from napari_her2.grid_edit._names import Axis, named, namings_of, on_grid, unnamed
from napari_her2.grid_edit._places import BlockLattice, lattice_of, missing_cores
from napari_her2.naming import Naming, delete_label, extend_labels, insert_label

__all__ = ["delete_line", "insert_line", "rename_line", "shift_line"]


def insert_line(grid: CoreGrid, axis: Axis, at: int, block: str = "") -> CoreGrid:
    """A new row or column of missing cores, which the lines from `at` on make room for.

    Parameters
    ----------
    grid : CoreGrid
        The grid.
    axis : "row" or "column"
        What comes in.
    at : int
        Index that the new line gets, from 0; the number of lines puts it after the last.
    block : str
        Name of the block; the others stay as they are.

    Returns
    -------
    CoreGrid
        The new cores lie in a gap where there is one, else midway between the neighbours, beyond the border one pitch
        on. Names follow the scheme: after A, B, C comes D, and what stood behind is renamed; labels that count down
        go on at the start.

    Raises
    ------
    CoresError
        If there is no such block, or no such place in it.
    """
    namings, own, count = _block(grid, axis, block)
    if not 0 <= at <= count:
        raise CoresError(f"There are {count} {axis}s: another can come in at 1 to {count + 1}, not at {at + 1}.")
    lattice, across = lattice_of(own), _other(axis)
    crossing = 1 + max(getattr(c, across) for c in own)
    cells = [(at, n) if axis == "row" else (n, at) for n in range(crossing)]
    where = np.array(cells, float)
    where[:, 0 if axis == "row" else 1] = _room(lattice, axis, at, count)
    new = missing_cores(own, cells, lattice.places(where))
    labels = insert_label(_labels(namings[block], axis), at, numbers=axis == "column")
    moved = (_moved(c, axis, 1) if _is_in(c, block) and getattr(c, axis) >= at else c for c in unnamed(grid, namings))
    return named([*moved, *new], namings | {block: _with_labels(namings[block], axis, labels)})


def _room(lattice: BlockLattice, axis: Axis, at: int, count: int) -> float:
    """Where a line that comes in at `at` lies, in lines counted before it comes in."""
    if at in (0, count):
        return at - 1.0 if at == 0 else at
    lines, step = (lattice.rows, lattice.down) if axis == "row" else (lattice.columns, lattice.along)
    gap = float((lines[at] - lines[at - 1]) @ step / (step @ step))
    return at - 1 + 1 / max(2, round(gap))


def delete_line(grid: CoreGrid, axis: Axis, index: int, block: str = "") -> CoreGrid:
    """Without the cores of a row or column; those behind it move up, and names follow the scheme.

    Raises
    ------
    CoresError
        If there is no such block or line, or if nothing would be left of the grid.
    """
    namings, own, count = _block(grid, axis, block, index)
    if count == 1 and len(own) == len(on_grid(grid)):
        raise CoresError(f"This is the only {axis}: without it there is no grid.")
    kept = [c for c in unnamed(grid, namings) if not (_is_in(c, block) and getattr(c, axis) == index)]
    moved = (_moved(c, axis, -1) if _is_in(c, block) and getattr(c, axis) > index else c for c in kept)
    labels = delete_label(_labels(namings[block], axis), index)
    return named(moved, namings | {block: _with_labels(namings[block], axis, labels)})


def rename_line(grid: CoreGrid, axis: Axis, index: int, label: str, block: str = "") -> CoreGrid:
    """Another label for a row or column of a block; cores with names of their own keep them.

    Raises
    ------
    CoresError
        If there is no such block or line, if another line has that label, or if it cannot be one.
    """
    namings, _, _ = _block(grid, axis, block, index)
    labels = list(_labels(namings[block], axis))
    labels[index] = label.strip()
    changed = _with_labels(namings[block], axis, labels)
    return named(unnamed(grid, namings), namings | {block: changed})


def shift_line(grid: CoreGrid, axis: Axis, index: int, by: int, block: str = "") -> CoreGrid:
    """Move the names of one row (or column) along, as when its first core was not seen.

    Parameters
    ----------
    grid : CoreGrid
        The grid.
    axis : "row" or "column"
        Which kind of line is shifted.
    index : int
        Which one, from 0 within the block.
    by : int
        How many columns (or rows) up; down where negative.
    block : str
        Name of the block; the others stay as they are.

    Returns
    -------
    CoreGrid
        Every core stays where it lies. A core without tissue that would leave the grid goes, else the grid becomes
        one column wider; in the cell that is left free a missing core appears.

    Raises
    ------
    CoresError
        If there is no such block or line, or if the only row would begin before the first column.
    """
    for _ in range(abs(by)):
        grid = _shifted_once(grid, axis, index, 1 if by > 0 else -1, block)
    return grid


def _shifted_once(grid: CoreGrid, axis: Axis, index: int, step: int, block: str) -> CoreGrid:
    namings, own, _ = _block(grid, axis, block, index)
    across, cores = _other(axis), unnamed(grid, namings)
    width = 1 + max(getattr(c, across) for c in own)
    line = [_moved(c, across, step) for c in cores if _is_in(c, block) and getattr(c, axis) == index]
    rest = [c for c in cores if _is_in(c, block) and getattr(c, axis) != index]
    other = [c for c in cores if not _is_in(c, block)]
    leaving = [c for c in line if getattr(c, across) in (-1, width)]
    free = 0 if step > 0 else width - 1
    if leaving and all(c.state is CoreState.MISSING for c in leaving):
        line = [c for c in line if c not in leaving]
    elif leaving and step < 0:
        if not rest:
            raise CoresError(f"This is the only {axis}: it cannot begin before the first {across}.")
        line, rest, free = _all_moved(line, across), _all_moved(rest, across), width
    # the outermost column that only this row reached goes when the row leaves it
    lonely = not any(getattr(c, across) == free for c in rest)
    if not lonely or (step > 0 and not rest):
        cell = (index, free) if axis == "row" else (free, index)
        seen = [*line, *rest] or own
        line += missing_cores(seen, [cell], lattice_of(seen).places([cell]))
    elif step > 0 and any(getattr(c, across) == 0 for c in own):
        line, rest = _all_moved(line, across, -1), _all_moved(rest, across, -1)
    width = 1 + max((getattr(c, across) for c in [*line, *rest]), default=-1)
    labels = extend_labels(_labels(namings[block], across), width, numbers=across == "column")
    return named([*line, *rest, *other], namings | {block: _with_labels(namings[block], across, labels)})


def _all_moved(cores: Iterable[Core], axis: Axis, by: int = 1) -> list[Core]:
    return [_moved(core, axis, by) for core in cores]


# --- blocks and axes ----------------------------------------------------------------------------------------------


def _block(grid: CoreGrid, axis: Axis, block: str, index: int = 0) -> tuple[dict[str, Naming], list[Core], int]:
    """The schemes of all blocks, the cores of this one, and how many rows or columns it has."""
    namings = namings_of(grid)
    if block not in namings:
        known = ", ".join(b for b in namings if b)
        raise CoresError(
            f"Say which block is meant: {known}." if known else "There are no rows and columns: no core is on the grid."
        )
    own = [c for c in on_grid(grid) if c.block == block]
    count = 1 + max(getattr(c, axis) for c in own)
    if not 0 <= index < count:
        raise CoresError(f"There is no {axis} {index + 1}: there are {count}.")
    return namings, own, count


def _is_in(core: Core, block: str) -> bool:
    return core.block == block and core.row >= 0 and core.column >= 0


def _other(axis: Axis) -> Axis:
    return "column" if axis == "row" else "row"


def _moved(core: Core, axis: Axis, by: int) -> Core:
    if axis == "row":
        return replace(core, row=core.row + by)
    return replace(core, column=core.column + by)


def _labels(naming: Naming, axis: Axis) -> tuple[str, ...]:
    return naming.rows if axis == "row" else naming.columns


def _with_labels(naming: Naming, axis: Axis, labels: Iterable[str]) -> Naming:
    return replace(naming, rows=tuple(labels)) if axis == "row" else replace(naming, columns=tuple(labels))
