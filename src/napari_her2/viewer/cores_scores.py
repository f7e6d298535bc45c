"""Scores in the features of the layer of cores: written, read back, taken off."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Shapes

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.scores import CoreScore, Places
from napari_her2.slide import Slide
from napari_her2.table import TEXT_COLUMNS, cores_table
from napari_her2.viewer.cores_layer import (
    AUTOMATIC,
    PLACE,
    grid_of_layer,
    named_features,
    same_place,
    write_features,
)
from napari_her2.viewer.slide_layer import KEY

__all__ = ["SCORE_COLUMNS", "clear_scores", "score_of_row", "scores_of_layer", "set_scores", "user_note"]

#: What scoring writes into the features; measured staining and the reader's own score are not touched by it.
SCORE_COLUMNS = ("her2_score", "indeterminate", "confidence", "p_0", "p_1", "p_2", "p_3")
#: What scoring tells besides; a measurement adds its own flags to those of the score.
_TOLD = ("flags", "batch", "normalised")


def scores_of_layer(layer: Shapes, grid: CoreGrid | None = None) -> dict[str, CoreScore]:
    """The scores in the features, by core name; their places on the tissue are in the heatmap only.

    `grid`: that of the layer, when it has been read already.
    """
    kept = layer.metadata.get(KEY, {}).get("kept", {})
    found = {}
    grid = grid_of_layer(layer) if grid is None else grid
    for core, row in zip(grid, named_features(layer).to_dict("records"), strict=True):
        # a core that was called missing or excluded keeps its score in the features, should it be taken in again
        score = score_of_row(core, row) if core.state is CoreState.TISSUE else None
        if score is not None:
            last = kept.get(core.name)
            same = last is not None and last.score == score.score and last.reason == score.reason
            found[core.name] = replace(last, core=core) if same else score
    return found


def score_of_row(core: Core, row: Mapping[Any, Any]) -> CoreScore | None:
    """What the features say of the score of a core; None when it has not been scored."""
    reason = AUTOMATIC.search(str(row["note"] or ""))
    if not row["her2_score"] and reason is None:
        return None
    return CoreScore(
        core=core,
        score=str(row["her2_score"]),
        probabilities=(float(row["p_0"]), float(row["p_1"]), float(row["p_2"]), float(row["p_3"])),
        indeterminate=row["indeterminate"] == "yes",
        reason=reason.group(1) if reason else "",
        flags=(row["flags"],) if row.get("flags") else (),
        batch=str(row.get("batch") or ""),
        normalised=row.get("normalised") == "yes",
    )


def set_scores(layer: Shapes, slide: Slide, scores: Iterable[CoreScore]) -> list[CoreScore]:
    """Write scores into the features, labels and colours, all at once.

    Returns
    -------
    list of CoreScore
        Those written. A core that was deleted or moved since its score was begun keeps none; one that has another
        name now has its score under that.
    """
    scores = list(scores)
    grid = grid_of_layer(layer)
    there = cores_table(slide.name, grid, {}, slide.mpp)
    wanted = pd.DataFrame(
        [(s.core.name, s.core.y, s.core.x, s.core.diameter) for s in scores], columns=["core", *PLACE]
    )
    match = same_place(there, wanted)
    fresh = {str(there["core"].iloc[i]): score for i, score in zip(match, scores, strict=True) if i >= 0}
    if not fresh:
        return []
    table = layer.features.copy()
    columns = cores_table(slide.name, CoreGrid(tuple(core for core in grid if core.name in fresh)), fresh, slide.mpp)
    rows = _rows(table, columns["core"])
    for column in ("image", "x", "y", "diameter", "x_um", "y_um", "diameter_um", "note", *SCORE_COLUMNS, *_TOLD):
        table.loc[rows, column] = columns[column].to_numpy()
    kept = layer.metadata.setdefault(KEY, {}).setdefault("kept", {})
    kept |= {n: replace(s, places=None if s.places is None else _compact(s.places)) for n, s in fresh.items()}
    write_features(layer, table)
    return list(fresh.values())


def clear_scores(layer: Shapes, names: Iterable[str] | None = None) -> None:
    """Take the scores off some cores, or off all."""
    table = layer.features.copy()
    rows = table.index if names is None else _rows(table, pd.Series(list(names), dtype=object))
    for column in (*SCORE_COLUMNS, *_TOLD):
        table.loc[rows, column] = "" if column in TEXT_COLUMNS else math.nan
    table.loc[rows, "note"] = [user_note(n) for n in table.loc[rows, "note"]]
    write_features(layer, table)


def user_note(note: object) -> str:
    """A note without the reason that scoring put behind it."""
    return AUTOMATIC.sub("", str(note or "")).strip()


def _compact(places: Places) -> Places:
    """Places in half the memory: they are drawn already, and kept to measure in the tumour that they tell of."""
    y, x, size, weight = (a.astype(np.float32) for a in (places.y, places.x, places.size, places.weight))
    return Places(y, x, size, places.grade.astype(np.float16), places.tumour.astype(np.float16), weight)


def _rows(table: pd.DataFrame, names: pd.Series) -> pd.Index:
    """Index of the rows of those cores, in the order of the names; names that are not there are left out."""
    place = {name: i for i, name in zip(table.index, table["core"], strict=True)}
    return pd.Index([place[n] for n in names if n in place])
