"""A changed grid into the layer of cores: shapes, features, labels and colours; scores stay with their tissue."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from napari.layers import Shapes

from napari_her2.cores import Core, CoreGrid
from napari_her2.slide import Slide
from napari_her2.table import TEXT_COLUMNS, cores_table
from napari_her2.viewer.cores_layer import (
    AUTOMATIC,
    PLACE,
    appearance,
    ellipse,
    geometry,
    is_near,
    keep_outlines,
    same_place,
    write_features,
)
from napari_her2.viewer.cores_measured import MEASURE_COLUMNS
from napari_her2.viewer.cores_scores import SCORE_COLUMNS
from napari_her2.viewer.slide_layer import KEY

__all__ = ["Scored", "scored_of_layer", "write_grid"]

#: Columns that hang on the tissue at a place, whatever the core there is called.
_MEASURED = (*SCORE_COLUMNS, *MEASURE_COLUMNS, "flags", "batch", "normalised", "opinions_differ")


@dataclass(frozen=True)
class Scored:
    """What was scored or measured, and where: features at the places they belong to, and the scores themselves.

    `fills`: cores that are there and have no score take one from here, too; else only cores that come back do.
    """

    table: pd.DataFrame
    kept: dict[str, Any]
    fills: bool = False

    @property
    def places(self) -> list[Core]:
        """Where there are scores, as cores of their names."""
        rows = self.table[self.table["her2_score"] != ""]
        return [Core(r["core"], -1, -1, r["y"], r["x"], r["diameter"]) for r in rows.to_dict("records")]


def scored_of_layer(layer: Shapes) -> Scored:
    """What stands in the features, at the places where it was scored; shapes that were drawn since have no name."""
    table = layer.features
    named = (table["core"].fillna("") != "") & ~table["core"].duplicated()
    return Scored(table[named].copy(), dict(layer.metadata.get(KEY, {}).get("kept", {})))


def write_grid(
    layer: Shapes, slide: Slide, grid: CoreGrid, before: Scored | None = None
) -> tuple[list[Core], set[str]]:
    """Make a layer show a grid.

    Scores and measurements stay where their tissue is: a core gets those of the place it lies on. Selected cores stay
    selected. Nothing is written when the user's shapes already lie as the grid has them.

    Parameters
    ----------
    layer : Shapes
    slide : Slide
        Gives the micrometres and the name of the image.
    grid : CoreGrid
    before : Scored, optional
        Scores of an earlier state, for places that have none now (undo brings a deleted core back with its score).

    Returns
    -------
    lost : list of Core
        Places that had a score and are no longer on the grid.
    regained : set of str
        Names of the cores whose score came from `before`.
    """
    now = scored_of_layer(layer)
    grid = _in_order_of_shapes(layer, grid)
    table = cores_table(slide.name, grid, {}, slide.mpp)
    kept: dict[str, Any] = {}
    match = same_place(now.table, table)
    _carry(table, now, match, kept)
    regained: set[str] = set()
    if before is not None:
        bare = (match < 0) | (before.fills & (table["her2_score"] == "").to_numpy())
        again = np.where(bare, same_place(before.table, table), -1)
        _carry(table, before, again, kept)
        regained = set(table["core"][again >= 0])
    # places that were scored and that no core lies on any more
    places = table[PLACE].to_numpy(np.float64).reshape(-1, 3)
    lost = [core for core in now.places if not is_near(places, np.array((core.y, core.x, core.diameter))).any()]
    _write(layer, grid, table)
    layer.metadata.setdefault(KEY, {})["kept"] = kept
    keep_outlines(layer, grid)
    return lost, regained


def _in_order_of_shapes(layer: Shapes, grid: CoreGrid) -> CoreGrid:
    """The cores in the order of the shapes that lie there: then none has to be drawn anew."""
    cores = list(grid)
    shapes = pd.DataFrame(geometry(layer), columns=PLACE).assign(core=layer.features["core"].to_numpy())
    index = same_place(shapes, cores_table("", grid, {}, None))
    return CoreGrid(
        tuple(cores[i] for i in np.argsort(np.where(index < 0, len(cores) + layer.nshapes, index), kind="stable"))
    )


def _carry(table: pd.DataFrame, source: Scored, match: npt.NDArray[np.intp], kept: dict[str, Any]) -> None:
    """Copy what was measured from the rows of `source` that lie at the same place."""
    rows = np.flatnonzero(match >= 0)
    old = source.table.iloc[match[rows]]
    for column in _MEASURED:
        if column in old:
            table.loc[rows, column] = old[column].to_numpy()
    for row, note, name in zip(rows, old["note"], old["core"], strict=True):
        reason = AUTOMATIC.search(str(note or ""))
        if reason:
            table.loc[row, "note"] = f"{table.loc[row, 'note']} {reason.group(0)}".strip()
        if name in source.kept:
            current = table.loc[row, "core"]
            kept[current] = replace(source.kept[name], core=replace(source.kept[name].core, name=current))


def _write(layer: Shapes, grid: CoreGrid, table: pd.DataFrame) -> None:
    chosen = set(layer.features["core"].iloc[[i for i in layer.selected_data if i < layer.nshapes]])
    there = geometry(layer)
    places = table[PLACE].to_numpy(np.float64).reshape(-1, 3)
    drawn = there.shape == places.shape and set(layer.shape_type) <= {"ellipse"}
    if not drawn or not (np.abs(there - places).max(initial=0) < 0.05):
        with layer.events.data.blocker(), layer.events.features.blocker():
            _replace_shapes(layer, grid)
    for column in table.columns:
        if column in TEXT_COLUMNS:
            table[column] = table[column].astype("object")
    write_features(layer, table)
    widths = appearance(table)[1]
    if not np.allclose(layer.edge_width, widths):
        layer.edge_width = widths
    layer.selected_data = {i for i, name in enumerate(table["core"]) if name in chosen}


def _replace_shapes(layer: Shapes, grid: CoreGrid) -> None:
    if not len(grid):
        layer.selected_data = set()
        layer.remove(range(layer.nshapes))
        return
    if layer.nshapes > len(grid):  # napari trims shapes but not what hangs on them
        layer.remove(range(len(grid), layer.nshapes))
    layer.data = ([ellipse(core) for core in grid], ["ellipse"] * len(grid))
    layer.face_color = "transparent"
