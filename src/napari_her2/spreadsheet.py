"""Cells of a spreadsheet as text, whoever wrote it: CSV and TSV in their encodings, XLSX, the clipboard."""

from __future__ import annotations

import csv
import io
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from napari_her2.errors import CoresError

__all__ = [
    "MAX_BYTES",
    "MAX_ROWS",
    "Sheet",
    "escaped",
    "is_text",
    "read_sheet",
    "read_text",
    "sheet_of_text",
    "unescaped",
]

MAX_BYTES = 20 * 2**20
MAX_ROWS = 100_000
#: Room for the parts of an XLSX file, unpacked: a small file may claim to hold anything.
_MAX_UNPACKED = 100 * 2**20
_MAX_CELLS = 2_000_000
#: Excel's own last row; a damaged file may name one far beyond.
_LAST_ROW = 1_048_576
#: A spreadsheet runs a cell that begins with one of the first six; the apostrophe is here so that it survives too.
_ESCAPED = tuple("=+-@\t\r'")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"


@dataclass(frozen=True)
class Sheet:
    """A rectangle of text.

    Attributes
    ----------
    rows : tuple of tuple of str
        Stripped, all of one length; "" where a cell is empty.
    lines : tuple of int
        Where each row begins in the file, counted from 1 as an editor or a spreadsheet counts.
    remark : str
        What was left unread, in one sentence; empty when nothing was.
    """

    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    remark: str = ""


def escaped(text: str) -> str:
    """A text cell that no spreadsheet runs: an apostrophe stands before ``= + - @``, tab, return and apostrophe."""
    return f"'{text}" if text.startswith(_ESCAPED) else text


def unescaped(text: str) -> str:
    """What `escaped` was given."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_ESCAPED) else text


def read_sheet(path: Path, sheet: str | None = None) -> Sheet:
    """Read a file of cells; what it is shows in its first bytes, not in its name.

    Parameters
    ----------
    path : Path
        Text (UTF-8, UTF-16 or Windows, separated by tab, semicolon or comma) or XLSX.
    sheet : str, optional
        Name of the sheet in an XLSX file; the first that is not empty when not given.

    Raises
    ------
    CoresError
        If the file is missing, too large, damaged, protected, or holds no table.
    """
    data = _read(path)
    if data.startswith(_OLE):
        raise CoresError(
            f"{path.name} is protected by a password or is an old Excel file: save it as .xlsx without a password."
        )
    if data.startswith(_ZIP):
        return _read_xlsx(data, path.name, sheet)
    return sheet_of_text(_decoded(data, path.name), path.name)


def read_text(path: Path) -> str:
    """Read a text file in whatever encoding it has; the mark of the encoding is not part of it.

    Raises
    ------
    CoresError
        If the file is missing, too large, or cannot be read.
    """
    return _decoded(_read(path), path.name)


def is_text(text: str) -> bool:
    """Whether there is none of the control characters in it that other files are full of."""
    return not _CONTROL.search(text)


def sheet_of_text(text: str, name: str = "The clipboard") -> Sheet:
    """Cells of text separated by tab, semicolon or comma, whichever divides its lines evenly.

    Raises
    ------
    CoresError
        If there is no text, or it is no table.
    """
    if not is_text(text):
        raise _no_table(name)
    text = text.removeprefix("\ufeff")
    named = re.match(r"sep=(.)\r?\n", text)  # Excel's own way of saying it
    skipped = 0
    if named is not None:
        text, skipped = text[named.end() :], 1
    delimiter = named.group(1) if named is not None else _delimiter(text)
    rows, lines = [], []
    for line, row in _csv_rows(text, delimiter, name):
        rows.append([unescaped(cell.strip()) for cell in row])
        lines.append(line + skipped)
        if len(rows) > MAX_ROWS:
            raise _too_long(name)
    return _sheet(rows, lines, name)


def _csv_rows(text: str, delimiter: str, name: str) -> Iterable[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, line = [], 1
    try:
        for row in reader:
            rows.append((line, row))
            line = reader.line_num + 1
    except csv.Error as error:
        if "end of data" in str(error):
            raise CoresError(
                f"{name}: the quotation mark in line {line} is never closed: close it, or save the table as .xlsx."
            ) from error
        if "field larger" in str(error):
            raise _no_table(name) from error
        # a stray quotation mark within a cell: read it as it stands
        return [(k, row) for k, row in enumerate(csv.reader(text.splitlines(), delimiter=delimiter), start=1)]
    return rows


def _delimiter(text: str) -> str:
    """The separator that most lines hold equally often; of equals, the one least used within cells."""
    sample = [line for line in text.splitlines()[:200] if line.strip()]

    def evenness(delimiter: str) -> tuple[float, int]:
        try:
            widths = Counter(len(row) for row in csv.reader(sample, delimiter=delimiter))
        except csv.Error:
            return 0.0, 0
        width, times = max(widths.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
        return (times / widths.total(), width) if width > 1 else (0.0, 0)

    return max("\t;,", key=evenness)


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise CoresError(f"{path.name} has {size / 2**20:.0f} MB: a table of at most {MAX_BYTES >> 20} MB is read.")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise CoresError(f"There is no file {path}: check the path.") from error
    except OSError as error:
        raise CoresError(f"{path} cannot be read ({error.strerror}): check the path.") from error


def _decoded(data: bytes, name: str) -> str:
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError as error:
                raise _no_table(name) from error
    if len(data) > 3 and not data[1] and data[0]:
        data = b"\xff\xfe" + data  # UTF-16 that does not say so
        return _decoded(data, name)
    for encoding in ("utf-8", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def _read_xlsx(data: bytes, name: str, wanted: str | None) -> Sheet:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except Exception as error:  # besides BadZipFile, whatever comes of a damaged directory
        raise _damaged(name) from error
    if unpacked > _MAX_UNPACKED:
        raise CoresError(f"{name} unpacks to {unpacked >> 20} MB: save the sheet of the TMA map in a file of its own.")
    import openpyxl

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and validation rules, which are not cells
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
            # charts are sheets too
            sheets = {s.title: s for s in book.worksheets}
            if wanted is not None:
                if wanted not in sheets:
                    raise CoresError(f'{name} has no sheet "{wanted}": its sheets are {", ".join(sheets)}.')
                return _sheet(*_xlsx_rows(sheets[wanted], name), name)
            filled: dict[str, tuple[list[list[str]], list[int]]] = {}
            for title, cells in sheets.items():
                rows, lines = _xlsx_rows(cells, name, limit=None if not filled else 1)
                if rows:
                    filled[title] = rows, lines
            if not filled:
                raise CoresError(f"{name} is empty: it holds no cell with text.")
            first, *others = filled
            remark = f'Only the sheet "{first}" was read, not {_listed(others)}.' if others else ""
            return _sheet(*filled[first], name, remark)
    except CoresError:
        raise
    except Exception as error:  # openpyxl passes on whatever its XML parser and its own lookups raise
        raise _damaged(name) from error


def _xlsx_rows(cells: Any, name: str, limit: int | None = None) -> tuple[list[list[str]], list[int]]:
    """The rows down to the last that is not empty; formatted rows far below cost nothing."""
    rows: list[list[str]] = []
    lines: list[int] = []
    # what the file says of its size is often wrong
    cells.reset_dimensions()
    for line, values in enumerate(cells.iter_rows(values_only=True), start=1):
        texts = [_text(value) for value in values]
        while texts and not texts[-1]:
            texts.pop()
        if line > _LAST_ROW:
            raise _damaged(name)
        if not texts:
            continue
        while rows and lines[-1] < line - 1 and len(rows) <= MAX_ROWS:
            rows.append([])
            lines.append(lines[-1] + 1)
        rows.append(texts)
        lines.append(line)
        if limit is not None and len(rows) >= limit:
            break
        if len(rows) > MAX_ROWS:
            raise _too_long(name)
    return rows, lines


def _text(value: object) -> str:
    """A cell as its reader sees it: 12.0 is 12, a day has no time."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime) and (value.hour, value.minute, value.second) == (0, 0, 0):
        return value.date().isoformat()
    if isinstance(value, (date, datetime)):
        return value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
    return unescaped(str(value).replace("_x000D_", "").strip())


def _sheet(rows: Sequence[Sequence[str]], lines: Sequence[int], name: str, remark: str = "") -> Sheet:
    if not any(map(any, rows)):
        raise CoresError(f"{name} is empty: it holds no cell with text.")
    # a line of nothing but separators is a row of empty cells; a blank line at an end is nothing
    filled = [i for i, row in enumerate(rows) if len(row) > 1 or any(row)]
    kept = slice(filled[0], filled[-1] + 1)
    width = max(len(row) for row in rows[kept])
    if width < 2:
        raise _no_table(name)
    if width * len(rows) > _MAX_CELLS:
        raise CoresError(f"{name} has {len(rows):,} rows and {width:,} columns: that is no TMA map.")
    even = tuple((*row, *[""] * (width - len(row))) for row in rows[kept])
    return Sheet(even, tuple(lines[kept]), remark)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{n}"' for n in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _no_table(name: str) -> CoresError:
    return CoresError(
        f"{name} is no table: save it as CSV with columns between commas, semicolons or tabs, or as .xlsx."
    )


def _damaged(name: str) -> CoresError:
    return CoresError(
        f"{name} is damaged or no Excel file: open it in a spreadsheet and save it again as .xlsx or CSV."
    )


def _too_long(name: str) -> CoresError:
    return CoresError(f"{name} has more than {MAX_ROWS:,} rows: a TMA map has one for each core.")
