"""The way back: cores, and the scores that stand beside them, from every file that holds cores."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from napari_her2.cores import CoreGrid
from napari_her2.errors import CoresError
from napari_her2.export.csv import read_csv
from napari_her2.export.geojson import read_geojson
from napari_her2.export.placing import place_by_names
from napari_her2.export.qptma import read_qptma
from napari_her2.scores import SCORES
from napari_her2.table import COLUMNS, TEXT_COLUMNS, cores_table, grid_of_table, opinions_differ

__all__ = ["CORES_SUFFIXES", "CoresFile", "read_cores", "read_cores_file"]

#: Endings of the files that hold cores, in small letters.
CORES_SUFFIXES = (".csv", ".geojson", ".json", ".qptma")
#: Columns that tell of scores and measurements, not of the grid.
_RESULTS = (
    *("her2_score", "indeterminate", "confidence", "p_0", "p_1", "p_2", "p_3"),
    *("h_score", "percent_0", "percent_1", "percent_2", "percent_3", "membrane_completeness", "measured_score"),
    *("flags", "batch", "measured_reason", "normalised"),
)


@dataclass(frozen=True)
class CoresFile:
    """What a file of cores holds.

    Attributes
    ----------
    grid : CoreGrid
    table : DataFrame
        As `napari_her2.table.cores_table` makes it, with the scores and measurements that stand in the file.
    remark : str
        What was passed over, in one sentence; empty when nothing was.
    """

    grid: CoreGrid
    table: pd.DataFrame
    remark: str = ""


def read_cores(path: str | Path) -> CoreGrid:
    """Read the cores of a slide from a file that we wrote, or that was edited by hand or in QuPath.

    Parameters
    ----------
    path : str or Path
        ``cores.csv``, ``cores.geojson`` (also what QuPath exports: its TMA cores, or annotations with names), or
        ``.qptma``. From GeoJSON that we wrote the grid comes back as it was, from ``cores.csv`` but for the outlines.

    Raises
    ------
    CoresError
        If the file is missing, of another kind, or does not describe cores.

    Warns
    -----
    UserWarning
        If objects in the file were passed over because they are no cores.
    """
    grid, _, remark = _read(Path(path))
    if remark:
        warnings.warn(f"{Path(path).name}: {remark}", stacklevel=2)
    return grid


def read_cores_file(path: str | Path) -> CoresFile:
    """Read cores with their scores.

    Raises
    ------
    CoresError
        As `read_cores`; also if a score is none.
    """
    grid, raw, remark = _read(Path(path))
    try:
        table, unsure = _typed(grid, raw)
    except CoresError as error:
        raise CoresError(f"{Path(path).name}: {error}") from error
    return CoresFile(grid, table, " ".join(text for text in (remark, unsure) if text))


def _read(path: Path) -> tuple[CoreGrid, pd.DataFrame, str]:
    """The grid, the cells of the file as text, and a remark."""
    if not path.is_file():
        raise CoresError(f"There is no file {path}: name a cores.csv, cores.geojson or .qptma.")
    suffix = path.suffix.lower()
    try:
        if suffix == ".qptma":
            grid = read_qptma(path)
            return grid, pd.DataFrame({"core": [core.name for core in grid]}, dtype=object), ""
        if suffix in (".geojson", ".json"):
            found = read_geojson(path)
            grid = place_by_names(grid_of_table(found.table), found.unplaced)
            cores = (replace(core, outline=found.outlines.get(core.name, ())) for core in grid)
            return CoreGrid(tuple(cores)), found.table, found.remark
        raw = read_csv(path)
        return grid_of_table(raw), raw, ""
    except CoresError as error:
        raise CoresError(f"{path.name}: {error}" if path.name not in str(error) else str(error)) from error


def _typed(grid: CoreGrid, raw: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The table of a grid with the results that stand in a file, and what is to be said of them."""
    sizes, diameters = (_numbers(raw, column) for column in ("diameter_um", "diameter"))
    mpp = float(np.nanmedian(sizes / diameters)) if np.isfinite(sizes / diameters).any() else None
    table = cores_table("", grid, {}, mpp)
    if "image" in raw:
        table["image"] = _texts(raw, "image")
    for column in (c for c in _RESULTS if c in raw):
        table[column] = _texts(raw, column) if column in TEXT_COLUMNS else _numbers(raw, column)
    if "note" in raw:  # with the reason of the score behind it
        table["note"] = _texts(raw, "note")
    for column in ("her2_score", "measured_score"):
        wrong = table[~table[column].isin(("", *SCORES))]
        if len(wrong):
            core, score = wrong.iloc[0][["core", column]]
            raise CoresError(f'The {column} of core {core} is "{score}": it can be {", ".join(SCORES)}.')
    # a score is taken with its probabilities or not at all
    bare = (table["her2_score"] != "") & table[["p_0", "p_1", "p_2", "p_3"]].isna().any(axis=1)
    for column in _RESULTS[:7]:
        table.loc[bare, column] = "" if column in TEXT_COLUMNS else np.nan
    pairs = zip(table["her2_score"], table["measured_score"], strict=True)
    table["opinions_differ"] = np.array([opinions_differ(*pair) for pair in pairs], np.float64)
    said = f"{bare.sum()} scores without probabilities were not taken." if bare.any() else ""
    return table[[*COLUMNS, *(c for c in table.columns if c not in COLUMNS)]], said


def _numbers(raw: pd.DataFrame, column: str) -> np.ndarray:
    if column not in raw:
        return np.full(len(raw), np.nan)
    return pd.to_numeric(raw[column], errors="coerce").to_numpy(np.float64)


def _texts(raw: pd.DataFrame, column: str) -> pd.Series[str]:
    return pd.Series([str(cell).strip() for cell in raw[column]], dtype="object")
