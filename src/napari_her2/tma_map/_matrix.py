"""A matrix of patients laid on a grid: with or without labels, the right way round or not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

from napari_her2.cores import CoreGrid
from napari_her2.errors import CoresError
from napari_her2.name_parts import label
from napari_her2.rectangle import one_rectangle
from napari_her2.tma_map._index import axis_labels
from napari_her2.tma_map._parse import MapRow, TmaMap

__all__ = ["Laid", "lay_matrix"]

Cells = tuple[tuple[str, ...], ...]
_LABEL = re.compile(r"(.*?)(\d+|[A-Za-z]{1,2})")
_HEADS = ("", "r", "row", "c", "col", "column")


@dataclass
class Laid:
    """A map laid on a grid: pairs of core name and row, and all that is to be said of it."""

    pairs: list[tuple[str, MapRow]] = field(default_factory=list)
    unmatched: list[MapRow] = field(default_factory=list)
    wanted: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    alternatives: dict[str, TmaMap] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class _Reading:
    """One way to read a matrix: its patients, and the labels of its rows and columns, () where it has none."""

    cells: Cells
    lines: tuple[int, ...]
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.cells), len(self.cells[0]) if self.cells else 0

    def transposed(self) -> _Reading:
        lines = (self.lines[0],) * self.shape[1]
        return _Reading(tuple(zip(*self.cells, strict=True)), lines, self.columns, self.rows)


def lay_matrix(grid: CoreGrid, tma_map: TmaMap) -> Laid:
    """Lay a matrix on a grid, or on one block of it; sets `problem` when the sizes do not fit."""
    laid = Laid()
    try:
        whole, called = one_rectangle(_block(grid, tma_map.block))
    except CoresError as error:
        laid.problem, laid.alternatives = str(error), _on_blocks(grid, tma_map)
        return laid
    if not len(whole):
        laid.problem = "There is no grid of rows and columns to lay the map on: find the cores first."
        return laid
    places = {(core.row, core.column): called[core.name] for core in whole}
    laid.wanted = list(places.values())
    shape, axes = _shape(whole), axis_labels(whole)
    readings = list(_readings(tma_map.cells, tma_map.lines))
    turned = next((r.transposed() for r in readings if _is_turned(r, axes)), None)
    reading = turned or next((r for r in readings if r.shape == shape), None)
    if reading is None:
        laid.alternatives = _alternatives(grid, tma_map, shape, axes)
        laid.problem = _size_problem(readings[-1].shape, shape, laid.alternatives)
        return laid
    if turned is not None:
        laid.remarks.append("The rows of the map are the columns of the grid, by their labels: it was transposed.")
    row_of = _order(reading.rows, axes[0], "rows", laid)
    column_of = _order(reading.columns, axes[1], "columns", laid)
    for i, cells in enumerate(reading.cells):
        for j, text in enumerate(cells):
            names = (
                reading.rows[i] if reading.rows else str(i + 1),
                reading.columns[j] if reading.columns else str(j + 1),
            )
            row = MapRow(reading.lines[i], row=names[0], column=names[1], values={"patient_id": text})
            core = places.get((row_of(i), column_of(j)))
            if core is not None:
                laid.pairs.append((core, row))
            elif text:
                laid.unmatched.append(row)
    return laid


def _block(grid: CoreGrid, block: str) -> CoreGrid:
    return CoreGrid(tuple(core for core in grid if not block or core.block == block))


def _shape(grid: CoreGrid) -> tuple[int, int]:
    return 1 + max(core.row for core in grid), 1 + max(core.column for core in grid)


def _readings(cells: Cells, lines: tuple[int, ...]) -> Iterator[_Reading]:
    """All ways to read a matrix without guessing, the most natural one last."""
    whole = (0, len(cells), 0, len(cells[0]))
    trimmed = _trimmed(cells, whole)
    for top, bottom, left, right in dict.fromkeys((whole, trimmed, _untitled(cells, trimmed))):
        part = tuple(row[left:right] for row in cells[top:bottom])
        columns, rows = part[0], tuple(row[0] for row in part)
        own = lines[top:bottom]
        yield _Reading(part, own)
        if _are_labels(columns) and not _mostly_numbers(part):
            yield _Reading(part[1:], own[1:], columns=columns)
        if _are_labels(rows) and not _mostly_numbers(part):
            yield _Reading(tuple(row[1:] for row in part), own, rows=rows)
        labelled = _are_labels(columns[1:]), _are_labels(rows[1:])
        if all(labelled) or (any(labelled) and not part[0][0]):
            yield _Reading(tuple(row[1:] for row in part[1:]), own[1:], rows=rows[1:], columns=columns[1:])


def _trimmed(cells: Cells, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """The box without the empty rows and columns at its edges."""
    top, bottom, left, right = box
    rows = [i for i in range(top, bottom) if any(cells[i][left:right])]
    columns = [j for j in range(left, right) if any(cells[i][j] for i in range(top, bottom))]
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def _untitled(cells: Cells, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """The box without the lines above it that hold a title only: text in their first cell."""
    top, bottom, left, right = box
    titles = 0
    while titles < bottom - top - 1 and right - left > 2 and not any(cells[top + titles][left + 1 : right]):
        titles += 1
    return _trimmed(cells, (top + titles, bottom, left, right)) if titles else box


def _are_labels(cells: tuple[str, ...]) -> bool:
    """Whether cells count up or down by one, as in A B C, 12 11 10, or Row 1, Row 2; one alone must be A or 1."""
    found = [_LABEL.fullmatch(cell) for cell in cells]
    if not found or not all(found):
        return False
    heads, labels = ([match.group(k) for match in found if match] for k in (1, 2))
    if len(cells) == 1:
        return cells[0] in ("A", "1")
    # P01, P02, ... are patients
    if len(set(heads)) > 1 or heads[0].strip(" .:-_").casefold() not in _HEADS:
        return False
    if len({text.isdigit() for text in labels}) > 1:
        return False
    numbers = [int(text[:9]) if text.isdigit() else _letters(text) for text in labels]
    return {b - a for a, b in pairwise(numbers)} in ({1}, {-1})


def _letters(text: str) -> int:
    number = 0
    for letter in text.upper():
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def _mostly_numbers(cells: Cells) -> bool:
    """Whether patients are numbers, so that a line of them may look like labels."""
    filled = [text for row in cells for text in row if text]
    return sum(text.isdigit() for text in filled) * 2 > len(filled)


def _is_turned(reading: _Reading, axes: tuple[dict[str, int], dict[str, int]]) -> bool:
    """Whether the labels of a matrix say that its rows are the columns of the grid."""
    rows, columns = ({label(text) for text in labels} for labels in (reading.rows, reading.columns))
    return rows == set(axes[1]) != columns == set(axes[0]) and len(reading.rows) == len(rows)


def _order(labels: tuple[str, ...], known: dict[str, int], what: str, laid: Laid) -> Callable[[int], int]:
    """Where each line of the matrix lies in the grid: by its label where the grid has the same, else in order."""
    own = [label(text) for text in labels]
    if labels and set(own) == set(known) and len(own) == len(known):
        return lambda i: known[own[i]]
    if labels:
        first, last = next(iter(known), ""), next(reversed(known), "")
        laid.remarks.append(
            f"The {what} are called {labels[0]} to {labels[-1]} in the map, {first} to {last} in the grid: "
            "they were matched in order."
        )
    return lambda i: i


def _alternatives(
    grid: CoreGrid, tma_map: TmaMap, shape: tuple[int, int], axes: tuple[dict[str, int], dict[str, int]]
) -> dict[str, TmaMap]:
    """Other ways to read a matrix that does not fit; none is taken unasked."""
    found: dict[str, TmaMap] = {}
    cells, turned = tma_map.cells, tma_map.transposed()
    if any(r.shape == shape for r in _readings(turned.cells, turned.lines)):
        found["transposed"] = turned
    for name, top, left in _CUTS:
        if (len(cells) - top, len(cells[0]) - left) == shape:
            found[name] = replace(tma_map, cells=tuple(r[left:] for r in cells[top:]), lines=tma_map.lines[top:])
    labelled = next((r for r in _readings(cells, tma_map.lines) if r.rows and r.columns), None)
    if labelled is not None and {label(text) for text in labelled.rows} & set(axes[0]):
        rows = tuple(
            MapRow(labelled.lines[i], row=labelled.rows[i], column=labelled.columns[j], values={"patient_id": text})
            for i, row in enumerate(labelled.cells)
            for j, text in enumerate(row)
            if text
        )
        found["by its labels"] = replace(tma_map, cells=(), lines=(), rows=rows)
    return found | _on_blocks(grid, tma_map)


def _on_blocks(grid: CoreGrid, tma_map: TmaMap) -> dict[str, TmaMap]:
    """The blocks that a matrix fits, when the grid has several and none was named."""
    found: dict[str, TmaMap] = {}
    for block in dict.fromkeys(core.block for core in grid if core.row >= 0 and core.block and not tma_map.block):
        size = _shape(_block(grid, block))
        if any(r.shape == size for r in _readings(tma_map.cells, tma_map.lines)):
            found[f"on block {block}"] = replace(tma_map, block=block)
    return found


_CUTS = (
    ("without its first row and column", 1, 1),
    ("without its first row", 1, 0),
    ("without its first column", 0, 1),
)


def _size_problem(theirs: tuple[int, int], ours: tuple[int, int], alternatives: dict[str, TmaMap]) -> str:
    said = f"The map has {theirs[0]} x {theirs[1]} cells, the grid {ours[0]} x {ours[1]}"
    others = list(alternatives)
    return f"{said}; it would fit {' or '.join(others)}." if others else f"{said}."
