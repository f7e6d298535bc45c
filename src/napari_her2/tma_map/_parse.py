"""From cells to a TMA map: a table with one row a core, or a matrix of patients laid out as the cores are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_her2.cores import CoreState
from napari_her2.errors import CoresError
from napari_her2.name_parts import name_parts
from napari_her2.scores import SCORES
from napari_her2.spreadsheet import Sheet, read_sheet, sheet_of_text
from napari_her2.table import COLUMNS

__all__ = ["TAKEN", "MapRow", "TmaMap", "parse_map", "read_map"]

#: Columns of `napari_her2.table.COLUMNS` that a map may fill; the others are measured, or are the grid's own.
TAKEN = ("patient_id", "note", "reader_score", "state")
_CORE = frozenset(
    f"{tma}{core}"
    for tma in ("", "tma ")
    for core in ("core", "core name", "core id", "core label", "core position", "core location", "core coordinate")
) | {"tma position", "tma location", "tma coordinate", "tma coordinates", "core coordinates"}
#: Words that name a core only if what stands below looks like cores.
_PERHAPS_CORE = frozenset(
    ("name", "id", "label", "position", "location", "coordinate", "coordinates", "spot", "spot id", "well", "sample")
) | {"core number", "core no", "core nr", "array position"}
_ROW, _COLUMN = (
    frozenset(
        f"{whose}{word}{what}"
        for whose in ("", "tma ", "core ", "array ")
        for word in words
        for what in ("", " name", " label", " letter", " number", " no")
    )
    for words in (("row", "rows"), ("column", "columns", "col"))
)
_BLOCK = frozenset(("block", "tma block", "sector", "subarray", "sub array", "quadrant"))
#: The first of these that there is stands for the patient; the others are columns like any other.
_PATIENT = (
    *("patient id", "patient", "patientid", "patient no", "patient number", "patient nr", "patient code"),
    *("case id", "case", "caseid", "case no", "case number", "case nr", "unique id", "subject id", "subject"),
    *("donor id", "donor", "study id", "pid"),
)
_NOTE = ("note", "notes", "comment", "comments", "remark", "remarks")
_YES, _NO = frozenset(("yes", "y", "true", "t", "1", "x", "missing")), frozenset(("no", "n", "false", "f", "0", ""))
_RESERVED = frozenset(c.casefold() for c in (*COLUMNS, "label"))
#: How far down the line of column names is looked for: titles and explanations stand above it.
_HEAD = 20
_AUTOMATIC = re.compile(r"\s*\[automatic: .*\]$", re.DOTALL)
_WHOLE = re.compile(r"(\d{1,15})\.0+")


@dataclass(frozen=True)
class MapRow:
    """What a map says of one core.

    Attributes
    ----------
    line : int
        Where it stands in the file, from 1.
    core : str
        The core as the map names it; empty when it gives row and column instead.
    row, column : str
        Labels of row and column as the map has them.
    block : str
        Name of the block or sector, if the map has one.
    values : mapping of str to str
        Column to text, "" where the cell is empty: `patient_id`, `note`, `reader_score`, `state`, and the user's own.
    """

    line: int
    core: str = ""
    row: str = ""
    column: str = ""
    block: str = ""
    values: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def text(self) -> str:
        """The core in the map's own words."""
        if self.core:
            return self.core
        place = f"row {self.row}, column {self.column}" if self.row or self.column else "no core"
        return f"block {self.block}, {place}" if self.block else place


@dataclass(frozen=True)
class TmaMap:
    """A TMA map as it was read, before it is laid on a grid.

    Attributes
    ----------
    rows : tuple of MapRow
        Of a table.
    columns : tuple of str
        What the rows tell of each core, in the order of the file.
    cells : tuple of tuple of str
        Of a matrix: patients row by row, perhaps with the labels of rows and columns; empty for a table.
    lines : tuple of int
        Lines of the matrix' rows in the file, from 1.
    remarks : tuple of str
        What was not taken, and why, each in one sentence.
    block : str
        The block that a matrix is laid on, when the grid has several.
    """

    rows: tuple[MapRow, ...] = ()
    columns: tuple[str, ...] = ()
    cells: tuple[tuple[str, ...], ...] = ()
    lines: tuple[int, ...] = ()
    remarks: tuple[str, ...] = ()
    block: str = ""

    @property
    def is_matrix(self) -> bool:
        """Whether it is a matrix of patients rather than a table with a row a core."""
        return bool(self.cells)

    def transposed(self) -> TmaMap:
        """A matrix with rows and columns exchanged."""
        return replace(
            self, cells=tuple(zip(*self.cells, strict=True)), lines=(self.lines[:1] or (1,)) * len(self.cells[0])
        )


def read_map(path: str | Path, sheet: str | None = None) -> TmaMap:
    """Read a TMA map from a file: CSV, TSV, XLSX, or QuPath's ``.qpmap``.

    Parameters
    ----------
    path : str or Path
    sheet : str, optional
        Sheet of an XLSX file; the first that is not empty when not given.

    Raises
    ------
    CoresError
        If the file is missing, too large, damaged or protected, no table, or names neither cores nor patients.
    """
    path = Path(path)
    return _map_of(read_sheet(path, sheet), path.name)


def parse_map(text: str) -> TmaMap:
    """Read a TMA map from text, as a spreadsheet puts it on the clipboard.

    Raises
    ------
    CoresError
        If it is no table.
    """
    return _map_of(sheet_of_text(text), "The clipboard")


def _map_of(sheet: Sheet, name: str) -> TmaMap:
    remarks = (sheet.remark,) if sheet.remark else ()
    for i, row in enumerate(sheet.rows[:_HEAD]):
        found = _Head.of(row, sheet.rows[i + 1 :])
        if found is not None:
            below = list(zip(sheet.lines[i + 1 :], sheet.rows[i + 1 :], strict=True))
            return _table(found, below, name, remarks)
    words = {_word(cell) for row in sheet.rows[:_HEAD] for cell in row}
    if words & set(_PATIENT):
        raise CoresError(
            f"{name} names patients but no cores: it needs a column core (such as A-1), or the columns row and column."
        )
    cells = tuple(tuple(_whole(cell) for cell in row) for row in sheet.rows)
    return TmaMap(cells=cells, lines=sheet.lines, columns=("patient_id",), remarks=remarks)


@dataclass(frozen=True)
class _Head:
    """Which column of a table holds what; -1 for none."""

    names: tuple[str, ...]
    core: int = -1
    row: int = -1
    column: int = -1
    block: int = -1

    @classmethod
    def of(cls, names: tuple[str, ...], below: tuple[tuple[str, ...], ...]) -> _Head | None:
        """The line of column names, if this is one."""
        words = [_word(name) for name in names]
        core, row, column, block = (
            next((i for i, word in enumerate(words) if word in wanted), -1) for wanted in (_CORE, _ROW, _COLUMN, _BLOCK)
        )
        placed = row >= 0 and column >= 0
        if core < 0:
            likely = (i for i, word in enumerate(words) if word in _PERHAPS_CORE and _share_of_names(below, i) > 0.5)
            core = -1 if placed else next(likely, -1)
        elif placed and _share_of_names(below, core) < 0.5:
            core = -1  # cores numbered on end: the place says more
        if core < 0 and not placed:
            return None
        return cls(names, core, *((row, column) if core < 0 else (-1, -1)), block)


def _share_of_names(rows: tuple[tuple[str, ...], ...], column: int) -> float:
    cells = [row[column] for row in rows if row[column]]
    return sum(name_parts(cell) is not None for cell in cells) / max(1, len(cells))


def _table(head: _Head, below: list[tuple[int, tuple[str, ...]]], name: str, remarks: tuple[str, ...]) -> TmaMap:
    below = [(line, row) for line, row in below if any(row)]
    if not below:
        raise CoresError(f"{name} holds no core: there is nothing below its column names.")
    used = {i for i in (head.core, head.row, head.column, head.block) if i >= 0}
    cells = {i: [row[i] for _, row in below] for i in range(len(head.names)) if i not in used}
    columns, said = _columns(head.names, {i: texts for i, texts in cells.items() if any(texts) or head.names[i]})
    rows = []
    for k, (line, row) in enumerate(below):
        core, place, column, block = (
            _whole(row[i]) if i >= 0 else "" for i in (head.core, head.row, head.column, head.block)
        )
        rows.append(MapRow(line, core, place, column, block, {name: texts[k] for name, texts in columns.items()}))
    return TmaMap(rows=tuple(rows), columns=tuple(columns), remarks=(*remarks, *said))


def _columns(names: tuple[str, ...], cells: dict[int, list[str]]) -> tuple[dict[str, list[str]], list[str]]:
    """Text of each column that is taken, by the name that it gets, and what is to be said of the others."""
    words = {i: _word(names[i]) for i in cells}
    patient = next((i for wanted in _PATIENT for i, word in words.items() if word == wanted), -1)
    note = next((i for wanted in _NOTE for i, word in words.items() if word == wanted), -1)
    taken: dict[str, list[str]] = {}
    refused: list[str] = []
    said: list[str] = []
    for i, texts in cells.items():
        name = " ".join(names[i].split()) or f"column {i + 1}"
        if i == patient:
            taken["patient_id"] = [_whole(text) for text in texts]
        elif i == note:
            taken["note"] = [_AUTOMATIC.sub("", text) for text in texts]
        elif words[i] == "reader score" and "reader_score" not in taken:
            scores = [_score(text) for text in texts]
            wrong = next((t for t, s in zip(texts, scores, strict=True) if s is None), None)
            if wrong is None:
                taken["reader_score"] = [s or "" for s in scores]
            else:
                said.append(f'{name} was not taken: "{wrong}" is no score ({", ".join(SCORES)}).')
        elif (states := _states(words[i], texts)) is not None and "state" not in taken:
            taken["state"] = states
        elif name.casefold() in _RESERVED:
            refused += [] if words[i] in _ROW | _COLUMN else [name]
        else:
            taken[_unused(name, taken)] = texts
    if refused:
        more = f" and {len(refused) - 3} more" if len(refused) > 3 else ""
        said.append(
            f"Not taken: {', '.join(refused[:3])}{more}. Columns of that name are the program's own: rename yours."
        )
    return taken, said


def _unused(name: str, taken: Mapping[str, object]) -> str:
    names = {key.casefold() for key in taken}
    if name.casefold() not in names:
        return name
    return next(f"{name} ({k})" for k in range(2, len(names) + 3) if f"{name} ({k})".casefold() not in names)


def _score(text: str) -> str | None:
    """A score as we write it, "" for an empty cell, None for anything else: a spreadsheet makes 2 of 2+."""
    text = _whole(text)
    return text if text in ("", *SCORES) else f"{text}+" if f"{text}+" in SCORES else None


def _states(word: str, texts: list[str]) -> list[str] | None:
    """States that a column named `state`, `missing` or `present` gives, "" for none; None when it is no such column."""
    low = [_whole(text).casefold() for text in texts]
    if word == "state" and all(text in ("", *CoreState) for text in low):
        return low
    if word in ("missing", "is missing", "core missing") and set(low) <= _YES | _NO:
        return [str(CoreState.MISSING) if text in _YES else "" for text in low]
    if word in ("present", "is present", "core present") and set(low) <= _YES | _NO:
        return [str(CoreState.MISSING) if text in _NO - {""} else "" for text in low]
    return None


def _word(text: str) -> str:
    """A column name as it is compared: small letters, anything else between words a space."""
    return " ".join(re.sub(r"[\W_]+", " ", text.casefold()).split())


def _whole(text: str) -> str:
    """12.0, as statistics programs write a whole number beside empty cells, is 12."""
    match = _WHOLE.fullmatch(text)
    return match.group(1) if match else text
