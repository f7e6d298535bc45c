"""The layer of the cores: a shape for each, whose features are the columns of ``cores.csv`` and a ready label."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from napari.components import LayerList
from napari.layers import Layer, Shapes

from napari_her2.colours import SCORE_COLOURS, core_colour
from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.slide import Slide
from napari_her2.table import COLUMNS, TEXT_COLUMNS, cores_table, grid_of_table
from napari_her2.viewer.slide_layer import KEY, placement

__all__ = [
    "AUTOMATIC",
    "OUTLINES",
    "PLACE",
    "add_cores_layer",
    "appearance",
    "ellipse",
    "find_cores_layer",
    "geometry",
    "grid_of_layer",
    "is_near",
    "keep_outlines",
    "named_features",
    "same_place",
    "write_features",
]

#: Features that say where a core lies.
PLACE = ["y", "x", "diameter"]
#: Where a layer that no image has adopted yet keeps the outlines of its cores.
OUTLINES = f"{KEY}_outlines"
#: A shape that moved by less than this part of its diameter still shows the core that was scored.
_NUDGE = 0.02
#: The reason that scoring puts behind the user's note.
AUTOMATIC = re.compile(r"\[automatic: (.*)\]$", re.DOTALL)
_EMPTY = {c: "" if c in TEXT_COLUMNS else math.nan for c in COLUMNS}
#: Features of a shape that the user draws, instead of napari's choice: those of the last row.
_DRAWN: dict[str, Any] = {**_EMPTY, "row": -1, "column": -1, "state": str(CoreState.TISSUE), "label": ""}


def ellipse(core: Core) -> npt.NDArray[np.float64]:
    """Corners of the square around a core, shape (4, 2), (y, x) in level-0 pixels."""
    signs = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)])
    return np.array((core.y, core.x)) + signs * core.diameter / 2


def add_cores_layer(layers: LayerList, image: Layer, slide: Slide, grid: CoreGrid) -> Shapes:
    """Add the layer of a grid on top, nothing scored, and make it active.

    Parameters
    ----------
    layers : LayerList
    image : Layer
        The image layer that the slide was made of; place, units and axis labels are copied from it.
    slide : Slide
    grid : CoreGrid
    """
    table = cores_table(slide.name, grid, {}, slide.mpp)
    table["label"] = _labels(table)
    edge, width = appearance(table)
    layer = Shapes(
        [ellipse(core) for core in grid],
        shape_type="ellipse",
        name=f"{image.name} cores",
        features=table,
        feature_defaults=_defaults(table),
        edge_color=edge,
        edge_width=width,
        face_color="transparent",
        opacity=1.0,
        # at the corner of the square around the core, where there is glass: legible whatever the tissue
        text={"string": "{label}", "size": 9, "color": "#101010", "anchor": "upper_left"},
        metadata={KEY: {"kind": "cores", "image": str(image.unique_id), "scored_with": None, "kept": {}}},
        **placement(image),
    )
    keep_outlines(layer, grid)
    layers.append(layer)
    layers.selection.active = layer
    return layer


def find_cores_layer(layers: LayerList, image: Layer) -> Shapes | None:
    """The cores of an image among the layers: those made for it, else those that are called so, which it adopts."""
    fitting = [la for la in layers if isinstance(la, Shapes) and set(COLUMNS) <= set(la.features.columns)]
    for layer in fitting:
        if layer.metadata.get(KEY, {}).get("image") == str(image.unique_id):
            return layer
    called = next((la for la in fitting if KEY not in la.metadata and la.name == f"{image.name} cores"), None)
    if called is not None:
        _adopt(called, image)
    return called


def _adopt(layer: Shapes, image: Layer) -> None:
    """Make a layer of cores that was opened from a file that of an image: it lies over it, and keeps its outlines."""
    known = {"kind": "cores", "image": str(image.unique_id), "scored_with": None, "kept": {}}
    known["outlines"] = layer.metadata.get(OUTLINES, {})
    layer.metadata = {**layer.metadata, KEY: known}
    for name, value in placement(image).items():
        setattr(layer, name, value)


def geometry(layer: Shapes) -> npt.NDArray[np.float64]:
    """Centre and diameter of each shape, shape (n, 3): y, x, diameter in level-0 pixels.

    Ellipses and rectangles may be turned; of any other shape it is the bounding box that counts.
    """
    shapes = [corners[:, -2:] for corners in layer.data]
    if shapes and all(len(corners) == 4 for corners in shapes):
        # all at once: this is asked after each thing the user does
        corners = np.stack(shapes).astype(np.float64)
        sides = np.linalg.norm(np.diff(corners[:, :3], axis=1), axis=2).mean(1)
        return np.column_stack((corners.mean(1), np.maximum(1.0, sides)))
    rows = []
    for corners in shapes:
        if len(corners) == 4:
            centre, sides = corners.mean(0), np.linalg.norm(np.diff(corners[:3], axis=0), axis=1)
        else:
            centre, sides = (corners.min(0) + corners.max(0)) / 2, np.ptp(corners, axis=0)
        rows.append((*centre, max(1.0, sides.mean())))
    return np.array(rows, np.float64).reshape(-1, 3)


def is_near(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether places (..., 3) as `geometry` gives them are the same, but for a nudge; NaN is nowhere near."""
    return np.asarray(np.abs(a - b).max(-1) <= np.maximum(1.0, _NUDGE * b[..., 2]))


def same_place(source: pd.DataFrame, table: pd.DataFrame) -> npt.NDArray[np.intp]:
    """Which row of `source` (by position) lies at the place of each row of `table`; -1 where none does.

    No row is given twice: of several cores on one place, as after a copy, the one of the same name comes first.
    """
    noted, places = (t[PLACE].to_numpy(np.float64).reshape(-1, 3) for t in (source, table))
    match = np.full(len(places), -1)
    if not len(noted) or not len(places):
        return match
    near = is_near(noted[None], places[:, None])
    same_name = source["core"].to_numpy()[None] == table["core"].to_numpy()[:, None]
    taken: set[int] = set()
    for row, column in (*np.argwhere(near & same_name), *np.argwhere(near & ~same_name)):
        if match[row] < 0 and column not in taken:
            match[row] = column
            taken.add(column)
    return match


def grid_of_layer(layer: Shapes) -> CoreGrid:
    """The grid as it stands on the screen: places from the shapes, everything else from the features.

    Raises
    ------
    CoresError
        If the features were edited into something that is no grid.
    """
    table = named_features(layer)
    if not len(table):
        return CoreGrid()
    outlines = layer.metadata.get(KEY, {}).get("outlines", {})
    cores = [_outlined(core, outlines.get(core.name)) for core in grid_of_table(table)]
    return CoreGrid(tuple(cores))


def keep_outlines(layer: Shapes, grid: CoreGrid) -> None:
    """Note with the layer the outlines of its cores, for which features have no room."""
    layer.metadata.setdefault(KEY, {})["outlines"] = {core.name: core for core in grid if core.outline}


def _outlined(core: Core, noted: Core | None) -> Core:
    """The core with the outline that was noted, which a move takes along and another size makes void."""
    if noted is None or abs(core.diameter - noted.diameter) > _NUDGE * noted.diameter:
        return core
    dy, dx = core.y - noted.y, core.x - noted.x
    if dy == dx == 0:
        return replace(core, outline=noted.outline)
    return replace(core, outline=tuple((y + dy, x + dx) for y, x in noted.outline))


def write_features(layer: Shapes, table: pd.DataFrame) -> None:
    """Give a layer its features, with the labels and colours that follow from them."""
    table["label"] = pd.Series(_labels(table), index=table.index, dtype=object)
    # the frame itself is not changed in place: only a new one refreshes the text
    layer.features = table
    layer.feature_defaults = _defaults(table)
    layer.edge_color = appearance(table)[0]


def _defaults(table: pd.DataFrame) -> dict[str, Any]:
    """Features of a shape that the user draws; the user's own columns are empty."""
    return _DRAWN | {c: None for c in table.columns if c not in _DRAWN}


def appearance(table: pd.DataFrame) -> tuple[npt.NDArray[np.float64], list[float]]:
    """Edge colours, shape (n, 4), and widths in level-0 pixels, one for each row; missing cores are faint."""
    edge, width = np.empty((len(table), 4)), []
    columns = ("state", "her2_score", "diameter")
    for i, (state, score, diameter) in enumerate(zip(*(table[c] for c in columns), strict=True)):
        tissue = state == CoreState.TISSUE
        shade = core_colour(state, score) if state in tuple(CoreState) and score in SCORE_COLOURS else "#404040"
        edge[i] = (*(int(shade[k : k + 2], 16) / 255 for k in (1, 3, 5)), 1.0 if tissue else 0.5)
        width.append((0.035 if tissue else 0.012) * (diameter if math.isfinite(diameter) else 100.0))
    return edge, width


def _labels(table: pd.DataFrame) -> list[str]:
    labels = []
    for row in table[["core", "state", "her2_score", "indeterminate", "note", "flags"]].itertuples(index=False):
        name, state, score, unsure, note, flags = (str(value) for value in row)
        # a core that was judged not scorable is told from one that was not looked at
        result = score + "?" * (unsure == "yes") or "–" * bool(AUTOMATIC.search(note))
        result += "!" * bool(result and flags)
        labels.append(f"({name})" if state != CoreState.TISSUE else f"{name}: {result}" if result else name)
    return labels


def named_features(layer: Shapes) -> pd.DataFrame:
    """Features with the places as drawn; a shape that has no name of its own yet is no core (see `tidy`)."""
    table = layer.features.copy()
    now, noted = geometry(layer), table[PLACE].to_numpy(np.float64)
    # napari keeps shapes in single precision: what nobody moved is where it was found, to the last digit
    table[PLACE] = np.where(np.abs(now - noted).max(1, keepdims=True) < 0.05, noted, now)
    names = table["core"].fillna("")
    return table[(names != "") & ~names.duplicated()]
