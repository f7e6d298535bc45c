"""``cores.csv``: the table of cores as text, and back."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pandas as pd

from napari_her2.errors import CoresError
from napari_her2.spreadsheet import escaped, is_text, read_text, unescaped
from napari_her2.table import COLUMNS, TEXT_COLUMNS

__all__ = ["read_csv", "write_csv"]

_DECIMALS = {"x_um": 3, "y_um": 3, "diameter_um": 3, "confidence": 6, "p_0": 6, "p_1": 6, "p_2": 6, "p_3": 6}
_DECIMALS |= {"h_score": 1, "percent_0": 2, "percent_1": 2, "percent_2": 2, "percent_3": 2, "membrane_completeness": 3}
_COMMA = re.compile(r"(-?\d+),(\d+)")


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write the table of `napari_her2.table.cores_table` as UTF-8 CSV.

    Text cells, and the names of the user's own columns, get a leading apostrophe where a spreadsheet would run them
    (``= + - @``). Pixels are written in full; micrometres and probabilities are rounded to what they are worth.
    """
    out = table.round(_DECIMALS)
    for column in out.columns:
        if column in TEXT_COLUMNS or column not in COLUMNS:
            out[column] = [escaped(text) for text in out[column]]
    out.columns = pd.Index([c if c in COLUMNS else escaped(c) for c in out.columns])
    out.to_csv(path, index=False, encoding="utf-8", lineterminator="\n")


def read_csv(path: Path) -> pd.DataFrame:
    """Read a table of cores separated by comma, semicolon or tab; every cell comes back as text.

    Raises
    ------
    CoresError
        If the file is not a table.
    """
    text = read_text(path)
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    try:
        if not is_text(text):
            raise csv.Error("control characters")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restkey="", restval=""))
        columns = next(csv.reader([header], delimiter=delimiter), [])
    except csv.Error as error:
        raise CoresError(f"{path.name} is not a table of cores: name a cores.csv or cores.geojson.") from error
    table = pd.DataFrame(
        [[unescaped(row[k]) for k in columns] for row in rows],
        columns=[unescaped(c.strip()) for c in columns],
        dtype=object,
    )
    for column in (set(COLUMNS) - TEXT_COLUMNS) & set(table.columns):
        # as a spreadsheet saves it where the decimal point is a comma
        table[column] = [_COMMA.sub(r"\1.\2", cell) if _COMMA.fullmatch(cell) else cell for cell in table[column]]
    return table
