"""A core drawn by hand gets its row, column and name from where it lies."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.errors import CoresError
from napari_her2.grid_edit._names import in_order, namings_of, newcomer, off_name, on_grid
from napari_her2.grid_edit._places import BlockLattice, lattice_of
from napari_her2.naming import Naming, label_beyond

__all__ = ["add_core", "place_core"]

#: A core belongs to a cell when it lies within this part of a row and of a column of its place.
_NEAR = 0.5
_OFF = "stands off the grid"


def place_core(grid: CoreGrid, y: float, x: float, diameter: float, name_taken: Collection[str] = ()) -> Core:
    """The core that `add_core` would add: its row, column and name are those in the grid with it.

    Where it opens a new first row or column (labels that count down, or that begin behind A or 1), the others' indices
    move up by one though their names stay: use `add_core` to have them so.
    """
    added, name = add_core(grid, y, x, diameter, name_taken)
    return added[name]


def add_core(
    grid: CoreGrid, y: float, x: float, diameter: float, name_taken: Collection[str] = ()
) -> tuple[CoreGrid, str]:
    """Add a core with tissue where it was drawn; no core that is there changes its name.

    Parameters
    ----------
    grid : CoreGrid
        The cores that are there.
    y, x, diameter : float
        Centre and diameter in level-0 pixels.
    name_taken : collection of str
        Names that it must not get, beside those in the grid.

    Returns
    -------
    grid : CoreGrid
        In a cell whose core is missing it takes that core's name, patient and notes; in an empty cell, also one in the
        line after the last, the name of the cell. Elsewhere it stands off the grid as X-1, X-2, ... and its `reason`
        says why: too far away, in a cell that holds tissue, or in a line that cannot be labelled without renaming
        others (before row A; `insert_line` does that).
    name : str
        Its name.

    Raises
    ------
    CoresError
        If the diameter is not more than 0.
    """
    if not (diameter > 0 and np.isfinite([y, x, diameter]).all()):
        raise CoresError(f"A core of {diameter:g} pixels at x {x:g}, y {y:g} cannot be drawn: give it a size.")
    core = Core("", -1, -1, float(y), float(x), float(diameter))
    taken = {*name_taken, *(c.name for c in grid)}
    cell = _find_cell(grid, y, x)
    if cell is None:
        core = replace(core, name=off_name(taken), reason=_OFF)
    elif isinstance(cell, str):
        core = replace(core, name=off_name(taken), reason=cell)
    elif cell.holds is not None:
        return _fill(grid, cell.holds, core), cell.holds.name
    else:
        grid = _moved_up(grid, cell)
        row, column = max(0, cell.row), max(0, cell.column)
        core = newcomer(replace(core, row=row, column=column, block=cell.block), cell.naming, taken)
    return CoreGrid(in_order((*grid, core))), core.name


@dataclass(frozen=True)
class _Cell:
    """A cell that can take a core; row or column are -1 before the first. `naming` names it once others moved up."""

    block: str
    row: int
    column: int
    naming: Naming
    holds: Core | None = None


def _fill(grid: CoreGrid, missing: Core, drawn: Core) -> CoreGrid:
    """The missing core was there after all: what is known of the position stays."""
    found = replace(
        missing,
        y=drawn.y,
        x=drawn.x,
        diameter=drawn.diameter,
        state=CoreState.TISSUE,
        found_confidence=None,
        reason="",
        tissue_fraction=None,
        outline=(),
    )
    return grid.with_core(found)


def _moved_up(grid: CoreGrid, cell: _Cell) -> CoreGrid:
    """Rows and columns of the block one higher where the cell lies before the first; names stay."""
    rows, columns = int(cell.row < 0), int(cell.column < 0)
    return CoreGrid(
        tuple(
            replace(c, row=c.row + rows, column=c.column + columns)
            if c.block == cell.block and c.row >= 0 and c.column >= 0
            else c
            for c in grid
        )
    )


def _find_cell(grid: CoreGrid, y: float, x: float) -> _Cell | str | None:
    """The cell at a place, the reason why it cannot be taken, or None where there is none."""
    namings = namings_of(grid)
    if not namings:
        return _Cell("", 0, 0, Naming())
    inside: list[tuple[float, str, int, int]] = []
    beyond: list[tuple[float, str, int, int]] = []
    for block, naming in namings.items():
        own = [c for c in on_grid(grid) if c.block == block]
        rows, columns = len(naming.rows), len(naming.columns)
        for off, row, column in _near_cells(lattice_of(own), own, y, x):
            known = 0 <= row < rows and 0 <= column < columns
            (inside if known else beyond).append((off, block, row, column))
    # a line that is there goes before one that would be new
    near = sorted(inside) or sorted(beyond)
    if not near:
        return None
    _, block, row, column = near[0]
    here = [c for c in on_grid(grid) if (c.block, c.row, c.column) == (block, row, column)]
    missing = next((c for c in here if c.state is CoreState.MISSING), None)
    if missing:
        return _Cell(block, row, column, namings[block], missing)
    return f"{here[0].name} is already there" if here else _new_cell(block, row, column, namings[block])


def _new_cell(block: str, row: int, column: int, naming: Naming) -> _Cell | str:
    """A cell that no core has yet, with the labels of its lines."""
    labels = []
    for what, at, known, numbers in (("row", row, naming.rows, False), ("column", column, naming.columns, True)):
        if 0 <= at < len(known):
            labels.append(known)
            continue
        label = label_beyond(known, at_start=at < 0, numbers=numbers)
        if label is None:
            where = f"before the first {what}" if at < 0 else f"after the last {what}"
            return f"lies {where}: insert a {what} there to give it a place"
        labels.append((label, *known) if at < 0 else (*known, label))
    return _Cell(block, row, column, replace(naming, rows=labels[0], columns=labels[1]))


def _near_cells(lattice: BlockLattice, own: list[Core], y: float, x: float) -> list[tuple[float, int, int]]:
    """How far off (in rows or columns, whichever is more) and which: cells to which a place may belong.

    Up to one line beyond the border; a cell that holds tissue lies where its core lies.
    """
    rows, columns = len(lattice.rows), len(lattice.columns)
    cells = np.array(list(np.ndindex(rows + 2, columns + 2))) - 1
    point = np.array([[y, x]])
    rough = np.abs(lattice.offsets(point - lattice.crossings(cells.astype(float)))).max(axis=1)
    cells = cells[np.argsort(rough, kind="stable")[:16]]
    places = lattice.places(cells)
    tissue = {(c.row, c.column): (c.y, c.x) for c in own if c.state is not CoreState.MISSING}
    for n, (row, column) in enumerate(cells):
        places[n] = tissue.get((int(row), int(column)), places[n])
    off = np.abs(lattice.offsets(point - places)).max(axis=1)
    return [(float(o), int(r), int(c)) for o, (r, c) in zip(off, cells, strict=True) if o < _NEAR]
