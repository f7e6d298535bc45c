"""Sectors: the fields of a TMA between wider gaps, named one by one or straight through."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.grid_edit._names import named, namings_of, on_grid, unnamed
from napari_her2.grid_edit._places import BlockLattice, lattice_of
from napari_her2.grid_edit._straight import straight_through
from napari_her2.naming import Naming, extend_labels, naming_of

__all__ = ["count_sectors", "join_sectors", "split_sectors"]

#: A step between neighbouring lines is a gap from so many pitches on, when most cores along the line take part.
_GAP, _MOST, _PART = 1.35, 0.7, 1.2
#: Lines without tissue lie in a gap when the lines around them are this far, in pitches, from where the count has them.
_OUT_OF_STEP = 0.4
#: Inside a field that is cut out already, so many pairs of cores must agree on a gap.
_LEAST_INSIDE = 3

#: First row, last row, first column, last column.
Field = tuple[int, int, int, int]


def count_sectors(grid: CoreGrid) -> int:
    """How many sectors there are: the blocks of the grid, or where there is one, those that `split_sectors` makes."""
    blocks = {core.block for core in on_grid(grid)}
    return len(blocks) if len(blocks) > 1 else len(_fields(on_grid(grid)))


def split_sectors(grid: CoreGrid) -> CoreGrid:
    """Make each field between wider gaps a block of its own, with rows and columns from 0.

    Parameters
    ----------
    grid : CoreGrid
        Rows and columns counted straight through; blocks are joined first.

    Returns
    -------
    CoreGrid
        Blocks "1", "2", ... in reading order, in front of the names: ``2:A-4``. Missing cores of a field that holds no
        tissue, and of lines in a gap, are left out, unless something is known of them: nothing was ever printed there.
        A grid without gaps stays as it is.
    """
    grid = join_sectors(grid)
    cores = on_grid(grid)
    fields = _fields(cores)
    if len(fields) < 2:
        return grid
    straight = naming_of(grid)
    cells, namings = {}, {"": straight}
    for number, (r0, r1, c0, c1) in enumerate(fields, 1):
        block = str(number)
        for core in cores:
            if r0 <= core.row <= r1 and c0 <= core.column <= c1:
                cells[core.name] = (block, core.row - r0, core.column - c0)
        labels = (extend_labels(straight.rows, r1 - r0 + 1), extend_labels(straight.columns, c1 - c0 + 1))
        namings[block] = replace(straight, rows=labels[0], columns=labels[1])
    moved = []
    for core, free in zip(grid, unnamed(grid, namings), strict=True):
        if core.name in cells:
            block, row, column = cells[core.name]
            moved.append(replace(free, block=block, row=row, column=column))
        elif core.row < 0 or core.column < 0:
            moved.append(free)
    return named(moved, namings)


def join_sectors(grid: CoreGrid) -> CoreGrid:
    """Count rows and columns straight through all blocks, and leave the block out of the names.

    Blocks side by side share rows where their lines line up, else one comes after the other; gaps do not count.

    Raises
    ------
    CoresError
        If two cores of different blocks stand in the same place.
    """
    namings = namings_of(grid)
    if set(namings) <= {""}:
        return grid
    lines = straight_through(grid)
    whole, size = naming_of(grid), [1 + max(int(n[k].max()) for n in lines.values()) for k in range(2)]
    joined = Naming(
        extend_labels(whole.rows, size[0], numbers=False),
        extend_labels(whole.columns, size[1], numbers=True),
        whole.row_first,
    )
    moved = []
    for core in unnamed(grid, namings):
        if core.row >= 0 and core.column >= 0:
            rows, columns = lines[core.block]
            core = replace(core, block="", row=int(rows[core.row]), column=int(columns[core.column]))
        moved.append(core)
    return named(moved, {"": joined})


# --- where the gaps are -------------------------------------------------------------------------------------------


def _is_bare(core: Core) -> bool:
    """Whether nothing is known of a core but that it is missing."""
    known = (core.patient_id, core.reader_score, core.note, core.extra)
    return core.state is CoreState.MISSING and not any(known)


def _fields(cores: list[Core]) -> list[Field]:
    """The fields that hold anything, in reading order."""
    if not any(core.state is not CoreState.MISSING for core in cores):
        return []
    rows, columns = (1 + max(n) for n in ([c.row for c in cores], [c.column for c in cores]))
    found = _cut(cores, (0, rows - 1, 0, columns - 1), lattice_of(cores), 1)
    return sorted(f for f in found if not all(_is_bare(c) for c in _inside(cores, f)))


def _inside(cores: list[Core], field: Field) -> list[Core]:
    r0, r1, c0, c1 = field
    return [c for c in cores if r0 <= c.row <= r1 and c0 <= c.column <= c1]


def _cut(cores: list[Core], field: Field, whole: BlockLattice, least: int) -> list[Field]:
    """Cut a field along every gap that goes all the way through it, and the pieces again."""
    inside = _inside(cores, field)
    rows, columns = (_runs(inside, field, axis, whole, least) for axis in range(2))
    if len(rows) * len(columns) == 1:
        return [field]
    pieces = [(*r, *c) for r in rows for c in columns]
    return [part for piece in pieces for part in _cut(cores, piece, whole, _LEAST_INSIDE)]


def _runs(inside: list[Core], field: Field, axis: int, whole: BlockLattice, least: int) -> list[tuple[int, int]]:
    """First and last line of each run of lines without a gap; lines that lie in a gap are in none."""
    first, last = field[2 * axis], field[2 * axis + 1]
    cells = np.array([[c.row, c.column] for c in inside]).reshape(-1, 2)
    tissue = np.array([not _is_bare(c) for c in inside], bool)
    full = np.unique(cells[tissue, axis])
    if len(full) < 2:
        return [(first, last)]
    at = lattice_of(inside).rows if axis == 0 else lattice_of(inside).columns
    step = whole.down if axis == 0 else whole.along
    where = at @ step / (step @ step)
    steps = whole.offsets(np.array([[c.y, c.x] for c in inside]))[:, axis]
    runs = []
    for a, b in itertools.pairwise(full):
        span = float(where[b] - where[a])
        lines = np.unique(cells[(cells[:, axis] >= a) & (cells[:, axis] <= b), axis])
        jumps = np.diff(where[lines]) - (np.diff(lines) - 1)
        widest = int(np.argmax(jumps))
        if jumps[widest] > _GAP and _agree(cells, steps, axis, (int(a), int(b)), least):
            runs.append((first, int(lines[widest])))
            first = int(lines[widest + 1])
        elif least == 1 and b - a > 1 and abs(span - (b - a)) > _OUT_OF_STEP:
            runs.append((first, int(a)))
            first = int(b)
    return [*runs, (first, last)]


def _agree(
    cells: npt.NDArray[np.int_], steps: npt.NDArray[np.float64], axis: int, pair: tuple[int, int], least: int
) -> bool:
    """Whether most cores that face each other over two lines are a gap apart."""
    a, b = ({int(c[1 - axis]): s for c, s in zip(cells, steps, strict=True) if c[axis] == line} for line in pair)
    apart = [b[n] - a[n] - (pair[1] - pair[0] - 1) > _PART for n in a.keys() & b.keys()]
    return len(apart) >= least and sum(apart) >= _MOST * len(apart)
