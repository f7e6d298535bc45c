"""Finding a core of a grid by whatever a TMA map calls it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from napari_her2.cores import Core, CoreGrid
from napari_her2.name_parts import label, name_parts
from napari_her2.naming import naming_of
from napari_her2.tma_map._parse import MapRow

__all__ = ["CoreIndex", "axis_labels"]


class CoreIndex:
    """The cores of a grid by their names, by the labels in their names, and by row and column.

    Parameters
    ----------
    grid : CoreGrid
    rows : iterable of MapRow
        The rows that will be looked for: whether they count rows and columns from 1 or from 0, and whether their
        blocks are those of the grid, shows only in all of them.
    """

    def __init__(self, grid: CoreGrid, rows: Iterable[MapRow]) -> None:
        rows = list(rows)
        self.blocks = {core.block.casefold() for core in grid if core.block}
        #: Blocks that the map names.
        self.named_blocks = {block for row in rows if (block := _block(row))}
        self.with_block = bool(self.named_blocks & self.blocks)
        #: Whether rows or columns were found that the map calls otherwise than the grid.
        self.counted = False
        self._names = {core.name.strip().casefold(): core.name for core in grid}
        self._by_labels = _unambiguous((key, core.name) for core in grid for key in _label_keys(core))
        self._by_place = _unambiguous(
            ((block, core.row, core.column), core.name)
            for core in grid
            if core.row >= 0
            for block in {core.block.casefold(), ""}
        )
        self._axes = {"": axis_labels(grid)} | {
            block.casefold(): axis_labels(grid, block) for block in {core.block for core in grid if core.block}
        }
        self._from_zero = [
            any(label(cell) == "0" for cell in cells) and not any("0" in axes[k] for axes in self._axes.values())
            for k, cells in enumerate(([row.row for row in rows], [row.column for row in rows]))
        ]

    def find(self, row: MapRow) -> str | None:
        """Name of the one core that a row of a map speaks of; None when there is none, or when it could be two."""
        block = _block(row) if self.with_block else ""
        if not row.core:
            return self._at(block, label(row.row), label(row.column))
        parts = name_parts(row.core)
        exact = self._names.get(row.core.strip().casefold())
        if parts is None or (exact is not None and not block):
            return exact
        return self._by_labels.get((block, *parts.labels))

    def _at(self, block: str, row: str, column: str) -> str | None:
        place, called = [], True
        for text, axis, from_zero in zip((row, column), self._axes.get(block, ({}, {})), self._from_zero, strict=True):
            called &= text in axis and not from_zero
            place.append(_counted(text, 0) if from_zero else axis.get(text, _counted(text, 1)))
        found = self._by_place.get((block, *place))
        self.counted |= found is not None and not called
        return found


def axis_labels(grid: CoreGrid, block: str | None = None) -> tuple[dict[str, int], dict[str, int]]:
    """Rows and columns of a grid, or of one block, by their labels in its names, as `label` writes them."""
    naming = naming_of(grid, block)
    rows, columns = ({label(text): i for i, text in enumerate(labels)} for labels in (naming.rows, naming.columns))
    return rows, columns


def _label_keys(core: Core) -> Iterable[tuple[str, str, str]]:
    """Block and labels of a core, as a map may give them."""
    parts = name_parts(core.name)
    if parts is None:
        return
    orders = [parts.labels, parts.labels[::-1]] if parts.mixed else [parts.labels]
    # the map may leave the block out
    for block in {core.block.casefold() or parts.block, ""}:
        for first, second in orders:
            yield block, first, second


def _unambiguous(pairs: Iterable[tuple[Hashable, str]]) -> dict[Hashable, str | None]:
    """Names by key; None where two cores have the same."""
    found: dict[Hashable, str | None] = {}
    for key, name in pairs:
        found[key] = name if found.get(key, name) == name else None
    return found


def _block(row: MapRow) -> str:
    parts = name_parts(row.core)
    return row.block.casefold() or (parts.block if parts is not None else "")


def _counted(text: str, first: int) -> int | None:
    """Row or column from 0 of a label that the grid does not use: numbers are counted from `first`, letters from A."""
    if text.isdigit():
        return int(text[:9]) - first
    if not (text.isascii() and text.isalpha() and len(text) <= 2):
        return None
    number = 0
    for letter in text:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1
