"""The layer of the cores: a shape for each, whose features are the columns of ``cores.csv`` and a ready label."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from napari.components import LayerList
from napari.layers import Layer, Shapes

from napari_her2.colours import SCORE_COLOURS, core_colour
from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.scores import CoreScore, Places
from napari_her2.slide import Slide
from napari_her2.table import COLUMNS, TEXT_COLUMNS, cores_table, grid_of_table
from napari_her2.viewer.slide_layer import KEY, placement

__all__ = [
    "SCORE_COLUMNS",
    "add_cores_layer",
    "appearance",
    "clear_scores",
    "ellipse",
    "find_cores_layer",
    "geometry",
    "grid_of_layer",
    "is_near",
    "score_of_row",
    "scores_of_layer",
    "set_scores",
    "user_note",
    "write_features",
]

#: What scoring writes into the features; measured staining and the reader's own score are not touched by it.
SCORE_COLUMNS = ("her2_score", "indeterminate", "confidence", "p_0", "p_1", "p_2", "p_3")
#: A shape that moved by less than this part of its diameter still shows the core that was scored.
_NUDGE = 0.02
_AUTOMATIC = re.compile(r"\[automatic: (.*)\]$", re.DOTALL)
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
        feature_defaults=_DRAWN,
        edge_color=edge,
        edge_width=width,
        face_color="transparent",
        opacity=1.0,
        # at the corner of the square around the core, where there is glass: legible whatever the tissue
        text={"string": "{label}", "size": 9, "color": "#101010", "anchor": "upper_left"},
        metadata={KEY: {"kind": "cores", "image": str(image.unique_id), "scored_with": None, "kept": {}}},
        **placement(image),
    )
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
        called.metadata = {**called.metadata, KEY: {"kind": "cores", "image": str(image.unique_id)}}
    return called


def geometry(layer: Shapes) -> npt.NDArray[np.float64]:
    """Centre and diameter of each shape, shape (n, 3): y, x, diameter in level-0 pixels.

    Ellipses and rectangles may be turned; of any other shape it is the bounding box that counts.
    """
    rows = []
    for corners in layer.data:
        corners = corners[:, -2:]
        if len(corners) == 4:
            centre, sides = corners.mean(0), np.linalg.norm(np.diff(corners[:3], axis=0), axis=1)
        else:
            centre, sides = (corners.min(0) + corners.max(0)) / 2, np.ptp(corners, axis=0)
        rows.append((*centre, max(1.0, sides.mean())))
    return np.array(rows, np.float64).reshape(-1, 3)


def is_near(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether places (..., 3) as `geometry` gives them are the same, but for a nudge; NaN is nowhere near."""
    return np.asarray(np.abs(a - b).max(-1) <= np.maximum(1.0, _NUDGE * b[..., 2]))


def grid_of_layer(layer: Shapes) -> CoreGrid:
    """The grid as it stands on the screen: places from the shapes, everything else from the features.

    Raises
    ------
    CoresError
        If the features were edited into something that is no grid.
    """
    table = _named(layer)
    return grid_of_table(table) if len(table) else CoreGrid()


def scores_of_layer(layer: Shapes) -> dict[str, CoreScore]:
    """The scores in the features, by core name; their places on the tissue are in the heatmap only."""
    kept = layer.metadata.get(KEY, {}).get("kept", {})
    found = {}
    for core, row in zip(grid_of_layer(layer), _named(layer).to_dict("records"), strict=True):
        score = score_of_row(core, row)
        if score is not None:
            last = kept.get(core.name)
            same = last is not None and last.score == score.score and last.reason == score.reason
            found[core.name] = replace(last, core=core) if same else score
    return found


def score_of_row(core: Core, row: Mapping[Any, Any]) -> CoreScore | None:
    """What the features say of the score of a core; None when it has not been scored."""
    reason = _AUTOMATIC.search(str(row["note"] or ""))
    if not row["her2_score"] and reason is None:
        return None
    return CoreScore(
        core=core,
        score=str(row["her2_score"]),
        probabilities=(float(row["p_0"]), float(row["p_1"]), float(row["p_2"]), float(row["p_3"])),
        indeterminate=row["indeterminate"] == "yes",
        reason=reason.group(1) if reason else "",
    )


def set_scores(layer: Shapes, slide: Slide, scores: Iterable[CoreScore]) -> list[CoreScore]:
    """Write scores into the features, labels and colours, all at once.

    Returns
    -------
    list of CoreScore
        Those written. A core that was deleted, renamed, or moved since its score was begun keeps none.
    """
    grid = {core.name: core for core in grid_of_layer(layer)}
    there = [s for s in scores if s.core.name in grid]
    fresh = {s.core.name: s for s in there if is_near(_place(grid[s.core.name]), _place(s.core))}
    if not fresh:
        return []
    table = layer.features.copy()
    columns = cores_table(slide.name, CoreGrid(tuple(grid[n] for n in fresh)), fresh, slide.mpp)
    rows = _rows(table, columns["core"])
    for column in ("image", "x", "y", "diameter", "x_um", "y_um", "diameter_um", "note", *SCORE_COLUMNS):
        table.loc[rows, column] = columns[column].to_numpy()
    kept = layer.metadata.setdefault(KEY, {}).setdefault("kept", {})
    # 0.5 MB of places a core are drawn already; an empty set of them says that there were some
    none = Places(*(np.empty(0) for _ in range(6)))
    kept |= {n: replace(s, places=None if s.places is None else none) for n, s in fresh.items()}
    write_features(layer, table)
    return list(fresh.values())


def clear_scores(layer: Shapes, names: Iterable[str] | None = None) -> None:
    """Take the scores off some cores, or off all."""
    table = layer.features.copy()
    rows = table.index if names is None else _rows(table, pd.Series(list(names), dtype=object))
    for column in SCORE_COLUMNS:
        table.loc[rows, column] = _EMPTY[column]
    table.loc[rows, "note"] = [user_note(n) for n in table.loc[rows, "note"]]
    write_features(layer, table)


def write_features(layer: Shapes, table: pd.DataFrame) -> None:
    """Give a layer its features, with the labels and colours that follow from them."""
    table["label"] = _labels(table)
    # the frame itself is not changed in place: only a new one refreshes the text
    layer.features = table
    layer.feature_defaults = _DRAWN | {c: None for c in table.columns if c not in _DRAWN}
    layer.edge_color = appearance(table)[0]


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
    for row in table[["core", "state", "her2_score", "indeterminate", "note"]].itertuples(index=False):
        name, state, score, unsure, note = (str(value) for value in row)
        # a core that was judged not scorable is told from one that was not looked at
        result = score + "?" * (unsure == "yes") or "–" * bool(_AUTOMATIC.search(note))
        labels.append(f"({name})" if state != CoreState.TISSUE else f"{name}: {result}" if result else name)
    return labels


def _named(layer: Shapes) -> pd.DataFrame:
    """Features with the places as drawn; a shape that has no name of its own yet is no core (see `tidy`)."""
    table = layer.features.copy()
    now, noted = geometry(layer), table[["y", "x", "diameter"]].to_numpy(np.float64)
    # napari keeps shapes in single precision: what nobody moved is where it was found, to the last digit
    table[["y", "x", "diameter"]] = np.where(np.abs(now - noted).max(1, keepdims=True) < 0.05, noted, now)
    names = table["core"].fillna("")
    return table[(names != "") & ~names.duplicated()]


def user_note(note: object) -> str:
    """A note without the reason that scoring put behind it."""
    return _AUTOMATIC.sub("", str(note or "")).strip()


def _place(core: Core) -> npt.NDArray[np.float64]:
    return np.array((core.y, core.x, core.diameter))


def _rows(table: pd.DataFrame, names: pd.Series) -> pd.Index:
    """Index of the rows of those cores, in the order of the names; names that are not there are left out."""
    place = {name: i for i, name in zip(table.index, table["core"], strict=True)}
    return pd.Index([place[n] for n in names if n in place])
