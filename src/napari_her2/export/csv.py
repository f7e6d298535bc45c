"""``cores.csv``: the table of cores as text, and back."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from napari_her2.errors import CoresError
from napari_her2.table import TEXT_COLUMNS

__all__ = ["read_csv", "write_csv"]

#: A spreadsheet runs a cell that begins with one of the first four; the apostrophe is here so that it survives too.
_ESCAPED = tuple("=+-@'")
_DECIMALS = {"x_um": 3, "y_um": 3, "diameter_um": 3, "confidence": 6, "p_0": 6, "p_1": 6, "p_2": 6, "p_3": 6}


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write the table of `napari_her2.table.cores_table` as UTF-8 CSV.

    Text cells beginning with ``= + - @`` get a leading apostrophe, so that no spreadsheet runs them. Pixels are
    written in full; micrometres and probabilities are rounded to what they are worth.
    """
    out = table.round(_DECIMALS)
    for column in TEXT_COLUMNS & set(out.columns):
        out[column] = [f"'{text}" if text.startswith(_ESCAPED) else text for text in out[column]]
    out.to_csv(path, index=False, encoding="utf-8", lineterminator="\n")


def read_csv(path: Path) -> pd.DataFrame:
    """Read a table of cores separated by comma, semicolon or tab; every cell comes back as text.

    Raises
    ------
    CoresError
        If the file is not a UTF-8 table.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=header.count)
            rows = list(csv.DictReader(file, delimiter=delimiter, restkey="", restval=""))
    except (UnicodeDecodeError, csv.Error) as error:
        raise CoresError(f"{path.name} is not a table of cores: name a cores.csv or cores.geojson.") from error
    except OSError as error:
        raise CoresError(f"{path} cannot be read ({error.strerror}): check the path.") from error
    columns = next(csv.reader([header], delimiter=delimiter), [])
    return pd.DataFrame(
        [{k: _unescaped(row[k]) for k in columns} for row in rows], columns=[c.strip() for c in columns], dtype=object
    )


def _unescaped(text: str) -> str:
    return text[1:] if text.startswith("'") and text[1:].startswith(_ESCAPED) else text
