"""Files of cores, to and from the layer: with the scores that stand in the features, where the format has room."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from napari.layers import Shapes

from napari_her2.cores import CoreGrid
from napari_her2.export import read_cores
from napari_her2.export.csv import read_csv, write_csv
from napari_her2.export.geojson import read_geojson, write_geojson
from napari_her2.export.qptma import write_qptma
from napari_her2.files import writing
from napari_her2.scores import SCORES, CoreScore
from napari_her2.slide import Slide
from napari_her2.table import cores_table
from napari_her2.viewer.cores_layer import AUTOMATIC, grid_of_layer
from napari_her2.viewer.cores_scores import scores_of_layer
from napari_her2.viewer.edit_layer import Scored

__all__ = ["read_cores_file", "write_cores_file", "writer_of_cores"]


def write_cores_file(path: Path, layer: Shapes, slide: Slide) -> str:
    """Write the cores of a layer, whole or not at all; the ending says which kind: .csv, .qptma, else GeoJSON.

    Returns
    -------
    str
        What could not be written, in one sentence; "" when all was.

    Raises
    ------
    OutputError
        If the file cannot be written.
    CoresError
        If the features were edited into something that is no grid.
    """
    return writer_of_cores(path, layer, slide)()


def writer_of_cores(path: Path, layer: Shapes, slide: Slide) -> Callable[[], str]:
    """The same in two parts: what is called here reads the layer, what it returns writes and may run in a thread."""
    grid = grid_of_layer(layer)
    scores = scores_of_layer(layer, grid)

    def write() -> str:
        left_out: tuple[str, ...] = ()
        with writing(path, overwrite=True) as temporary:
            if path.suffix.lower() == ".qptma":
                left_out = write_qptma(temporary, grid, slide.path.name if slide.path else slide.name)
            else:
                table = cores_table(slide.name, grid, scores, slide.mpp)
                if path.suffix.lower() == ".csv":
                    write_csv(temporary, table)
                else:
                    write_geojson(temporary, table, grid)
        return f" {', '.join(left_out)} stand off the grid, for which a .qptma has no room." if left_out else ""

    return write


def read_cores_file(path: Path) -> tuple[CoreGrid, Scored]:
    """Cores of a file, and the scores that stand in it.

    Raises
    ------
    CoresError
        If the file does not describe cores.
    """
    grid = read_cores(path)
    suffix, table = path.suffix.lower(), pd.DataFrame()
    if suffix == ".csv":
        table = read_csv(path)
    elif suffix in (".geojson", ".json"):
        table = read_geojson(path).table
    found = (_score(grid, row) for row in table.fillna("").to_dict("records"))
    scores = {score.core.name: score for score in found if score is not None}
    return grid, Scored(cores_table("", grid, scores, None), {}, fills=True)


def _score(grid: CoreGrid, row: Mapping[Any, Any]) -> CoreScore | None:
    """The score in a row of text; None when there is none that can be read."""
    reason, name = AUTOMATIC.search(str(row.get("note", ""))), str(row.get("core", ""))
    score = str(row.get("her2_score", ""))
    if name not in grid or (score not in SCORES and reason is None):
        return None
    p0, p1, p2, p3 = (_number(row.get(f"p_{k}", "")) for k in range(4))
    unsure = row.get("indeterminate", "") == "yes"
    given = score if score in SCORES else ""
    return CoreScore(
        grid[name], given, (p0, p1, p2, p3), indeterminate=unsure, reason=reason.group(1) if reason else ""
    )


def _number(text: object) -> float:
    try:
        return float(str(text))
    except ValueError:
        return math.nan
