"""The table of cores: one row per core, the columns of ``cores.csv`` and of the features of the viewer's layer."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.errors import CoresError
from napari_her2.scores import SCORES, CoreScore

if TYPE_CHECKING:
    from napari_her2.membrane.measurement import Measurement

__all__ = ["COLUMNS", "TEXT_COLUMNS", "cores_table", "grid_of_table", "opinions_differ"]

#: The columns, in the order in which users and scripts rely on them.
COLUMNS: tuple[str, ...] = (
    *("image", "core", "block", "row", "column", "state", "x", "y", "diameter", "x_um", "y_um", "diameter_um"),
    *("patient_id", "her2_score", "indeterminate", "confidence", "p_0", "p_1", "p_2", "p_3"),
    *("h_score", "percent_0", "percent_1", "percent_2", "percent_3", "membrane_completeness", "measured_score"),
    *("reader_score", "note"),
    *("found_confidence", "doubt", "tissue_fraction"),
    *("flags", "batch", "measured_reason", "opinions_differ", "normalised"),
)
#: Columns that hold text; "" where there is nothing to say. `row` and `column` are integers, the rest are floats.
TEXT_COLUMNS: frozenset[str] = frozenset(
    (
        *("image", "core", "block", "state", "patient_id", "her2_score", "indeterminate"),
        *("measured_score", "reader_score", "note", "doubt", "flags", "batch", "measured_reason", "normalised"),
    )
)
_AUTOMATIC = re.compile(r"\s*\[automatic: .*\]$", re.DOTALL)
_NEEDED = ("core", "x", "y", "diameter")
#: Columns that are not the user's own; `label` is what the viewer writes beside a core.
_KNOWN = frozenset((*COLUMNS, "label"))


def cores_table(
    image: str,
    grid: CoreGrid,
    scores: Mapping[str, CoreScore],
    mpp: float | None,
    measured: Mapping[str, Measurement] | None = None,
) -> pd.DataFrame:
    """One row per core, in grid order, with every column of `COLUMNS`.

    Parameters
    ----------
    image : str
        Name of the image.
    grid : CoreGrid
        All cores, with tissue or without.
    scores : mapping of str to CoreScore
        By core name; cores that it does not name stand unscored.
    mpp : float or None
        Micrometres per level-0 pixel; the micrometre columns are NaN when it is None.
    measured : mapping of str to Measurement, optional
        By core name; the columns of measured staining are empty for cores that it does not name.

    Returns
    -------
    DataFrame
        Text columns (`TEXT_COLUMNS`) hold str, "" when empty; `indeterminate` and `normalised` are "yes", "no", or ""
        where nothing was scored; `note` is the user's, followed by the reason of the score as ``[automatic: ...]``.
        `row` and `column` hold int64, the other columns float64, NaN when empty. `x`, `y` and `diameter` are in level-0
        pixels. `flags` are those of the score and of the measurement, `measured_reason` is the sentence of the
        measurement, and `opinions_differ` is 0 to 3, see `opinions_differ`. Behind `COLUMNS` stand the user's own
        (`Core.extra`), all text.
    """
    um, of_core = math.nan if mpp is None else mpp, measured or {}
    rows = [_row(image, core, scores.get(core.name), um) | _measured(core, scores, of_core) for core in grid]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    kinds = {c: "object" if c in TEXT_COLUMNS else "float64" for c in COLUMNS} | {"row": "int64", "column": "int64"}
    table = table.astype(kinds)
    for column in dict.fromkeys(name for core in grid for name in core.extra):
        table[column] = pd.Series([core.extra.get(column, "") for core in grid], dtype="object")
    return table


def _row(image: str, core: Core, score: CoreScore | None, um: float) -> dict[str, Any]:
    row: dict[str, Any] = {c: "" if c in TEXT_COLUMNS else math.nan for c in COLUMNS}
    row |= {"image": image, "core": core.name, "block": core.block, "row": core.row, "column": core.column}
    row |= {"state": str(core.state), "x": core.x, "y": core.y, "diameter": core.diameter}
    row |= {"x_um": core.x * um, "y_um": core.y * um, "diameter_um": core.diameter * um}
    row |= {"patient_id": core.patient_id, "reader_score": core.reader_score, "note": core.note}
    row |= {"found_confidence": core.found_confidence, "doubt": core.reason, "tissue_fraction": core.tissue_fraction}
    if score is not None and core.state is CoreState.TISSUE:
        row["her2_score"] = score.score
        row["indeterminate"] = ("yes" if score.indeterminate else "no") if score.score else ""
        row["normalised"] = ("yes" if score.normalised else "no") if score.score else ""
        row["confidence"] = score.confidence
        row |= {f"p_{k}": p for k, p in enumerate(score.probabilities)}
        row["note"] = f"{core.note} [automatic: {score.reason}]".strip() if score.reason else core.note
    return row


def _measured(core: Core, scores: Mapping[str, CoreScore], measured: Mapping[str, Measurement]) -> dict[str, Any]:
    """What the measurement says of a core, and what both opinions say together."""
    if core.state is not CoreState.TISSUE:
        return {}
    score, found = scores.get(core.name), measured.get(core.name)
    flags = (*(score.flags if score is not None else ()), *(found.flags if found is not None else ()))
    row: dict[str, Any] = {"flags": " ".join(dict.fromkeys(flags)), "batch": score.batch if score is not None else ""}
    if found is not None:
        differ = opinions_differ(score.score if score is not None else "", found.score)
        row |= {**found.columns, "opinions_differ": differ}
    return row


def opinions_differ(score: str, measured: str) -> float:
    """Steps between two scores, 0 to 3; NaN where one of them is empty.

    Examples
    --------
    >>> opinions_differ("3+", "1+"), opinions_differ("", "1+")
    (2.0, nan)
    """
    if score not in SCORES or measured not in SCORES:
        return math.nan
    return float(abs(SCORES.index(score) - SCORES.index(measured)))


def grid_of_table(table: pd.DataFrame) -> CoreGrid:
    """The grid that a table describes; `core`, `x`, `y` and `diameter` are enough, the rest is optional.

    Parameters
    ----------
    table : DataFrame
        As `cores_table` makes it, or one written by hand: `x`, `y`, `diameter` in level-0 pixels, `row` and `column`
        from 0 (-1, as when they are absent, for a core off the grid), `state` tissue, missing or excluded.

    Raises
    ------
    CoresError
        If a column is missing, a cell is not what its column holds, a name comes twice, or there is no core.
    """
    lacking = [c for c in _NEEDED if c not in table.columns]
    if lacking:
        raise CoresError(
            f"The table of cores has no column {', '.join(lacking)}: it needs {', '.join(_NEEDED)} "
            "(x, y and diameter in full-resolution pixels)."
        )
    if not len(table):
        raise CoresError("The table of cores holds no core.")
    return CoreGrid(tuple(_core(row, line) for line, row in enumerate(table.to_dict("records"), start=2)))


def _core(row: dict[Any, Any], line: int) -> Core:
    name = _text(row, "core")
    if not name:
        raise CoresError(f"Line {line} of the table of cores has no core name.")
    state, reader = _text(row, "state") or "tissue", _text(row, "reader_score")
    if state not in tuple(CoreState):
        raise CoresError(f'The state of core {name} is "{state}": it can be {", ".join(CoreState)}.')
    if reader not in ("", *SCORES):
        raise CoresError(f'The reader score of core {name} is "{reader}": it can be {", ".join(SCORES)}.')
    x, y, diameter = (_number(row, c, name) for c in ("x", "y", "diameter"))
    if diameter <= 0:
        raise CoresError(f"The diameter of core {name} is {diameter:g}: it must be more than 0 pixels.")
    return Core(
        name,
        row=int(_number(row, "row", name, -1.0)),
        column=int(_number(row, "column", name, -1.0)),
        y=y,
        x=x,
        diameter=diameter,
        state=CoreState(state),
        block=_text(row, "block"),
        patient_id=_text(row, "patient_id"),
        reader_score=reader,
        note=_AUTOMATIC.sub("", _text(row, "note")),
        found_confidence=_share(row, "found_confidence", name),
        reason=_text(row, "doubt"),
        tissue_fraction=_share(row, "tissue_fraction", name),
        extra={str(c): _text(row, c) for c in row if c not in _KNOWN and _text(row, c)},
    )


def _share(row: dict[Any, Any], column: str, name: str) -> float | None:
    return _number(row, column, name) if _text(row, column) else None


def _text(row: dict[Any, Any], column: str) -> str:
    value = row.get(column, "")
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value).strip()


def _number(row: dict[Any, Any], column: str, name: str, default: float = math.nan) -> float:
    text = _text(row, column)
    try:
        value = float(text) if text else default
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise CoresError(f'The {column} of core {name} is "{text}": a number is needed.')
    return value
