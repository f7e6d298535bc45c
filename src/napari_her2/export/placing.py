"""Rows and columns read off the names of cores, for files that tell names and places only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from napari_her2.cores import Core, CoreGrid
from napari_her2.name_parts import label, name_parts
from napari_her2.naming import naming_of

__all__ = ["place_by_names"]


def place_by_names(grid: CoreGrid, names: Collection[str]) -> CoreGrid:
    """Give row and column to cores that have none, by the labels in their names.

    Which label is the row's, and whether labels count from the top or from the bottom, shows in where the cores lie;
    beside cores that have rows and columns, the labels of these count. A core whose name tells nothing, or whose cell
    is taken, stays off the grid.

    Parameters
    ----------
    grid : CoreGrid
    names : collection of str
        The cores to place; the others keep what they have.
    """
    by_block: dict[str, list[Core]] = defaultdict(list)
    for core in grid:
        if core.name in names:
            block = core.block or (core.name.rpartition(":")[0] if ":" in core.name else "")
            by_block[block].append(replace(core, block=block))
    placed = {}
    for block, cores in by_block.items():
        there = [core for core in grid if core.block == block and core.row >= 0 and core.name not in names]
        cells = _beside(CoreGrid(tuple(there)), cores) if there else _from_scratch(cores)
        taken = {(core.row, core.column) for core in there}
        for core in cores:
            cell = cells.get(core.name)
            if cell is not None and cell not in taken:
                taken.add(cell)
                placed[core.name] = replace(core, row=cell[0], column=cell[1])
    return CoreGrid(tuple(placed.get(core.name, core) for core in grid))


def _beside(grid: CoreGrid, cores: list[Core]) -> dict[str, tuple[int, int]]:
    naming = naming_of(grid)
    rows, columns = ({label(text): i for i, text in enumerate(labels)} for labels in (naming.rows, naming.columns))
    cells = {}
    for core in cores:
        parts = name_parts(core.name)
        if parts is not None:
            row, column = parts.labels if naming.row_first else parts.labels[::-1]
            if row in rows and column in columns:
                cells[core.name] = rows[row], columns[column]
    return cells


def _from_scratch(cores: list[Core]) -> dict[str, tuple[int, int]]:
    found = [(core, parts) for core in cores if (parts := name_parts(core.name)) is not None]
    mixed = 2 * sum(parts.mixed for _, parts in found) > len(found)
    kept = [(core, parts) for core, parts in found if parts.mixed == mixed]
    if not kept:
        return {}
    # of mixed labels the letters come first, in whichever order they are written
    labels = [sorted(p.labels, key=str.isdigit) if mixed else list(p.labels) for _, p in kept]
    numbers = np.array([[_number(text) for text in pair] for pair in labels], np.float64)
    places = np.array([(core.y, core.x) for core, _ in kept])
    follows = np.array([[_correlation(numbers[:, i], places[:, j]) for j in (0, 1)] for i in (0, 1)])
    straight = abs(follows[0, 0]) + abs(follows[1, 1]) >= abs(follows[0, 1]) + abs(follows[1, 0])
    axes = (0, 1) if straight else (1, 0)
    rows, columns = (_counted(numbers[:, axis], follows[axis, j] < 0) for j, axis in enumerate(axes))
    return {core.name: (int(r), int(c)) for (core, _), r, c in zip(kept, rows, columns, strict=True)}


def _correlation(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 0 else 0.0


def _counted(numbers: npt.NDArray[np.float64], backwards: bool) -> npt.NDArray[np.int_]:
    """Lines from 0, with room for those that no core is on, unless the labels are no count of lines at all."""
    numbers = -numbers if backwards else numbers
    steps, ranks = np.unique(numbers, return_inverse=True)
    lines = numbers - numbers.min()
    return (ranks if lines.max() > 3 * len(steps) + 5 else lines).astype(int)


def _number(text: str) -> int:
    if text.isdigit():
        return int(text[:9])
    number = 0
    for letter in text:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number
