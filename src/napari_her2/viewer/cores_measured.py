"""Measured staining in the features of the layer of cores: written, read back, taken off, compared with the scores."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable
from dataclasses import replace

import numpy as np
import pandas as pd
from napari.layers import Shapes

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.measure import Measurement
from napari_her2.slide import Slide
from napari_her2.table import TEXT_COLUMNS, cores_table, opinions_differ
from napari_her2.viewer.cores_layer import PLACE, grid_of_layer, is_near, named_features, same_place, write_features
from napari_her2.viewer.slide_layer import KEY

__all__ = ["MEASURE_COLUMNS", "agree", "by_network", "clear_measured", "measured_of_layer", "set_measured"]

#: What measuring writes into the features; scores and the reader's own are not touched by it.
MEASURE_COLUMNS = tuple(Measurement().columns)
#: A flag of a measurement, up to its full stop (figures hold points, too).
_OF_MEASURING = re.compile(
    r"\b(?:Out of focus|Fold|Pen or foreign colour|Air bubble|Background brown|Brown cytoplasm|Edge artefact|"
    r"Little epithelium|Nuclear haematoxylin)\b.*?\.(?=\s|$)"
)


def set_measured(
    layer: Shapes, slide: Slide, measured: Iterable[Measurement], network: Container[str] = ()
) -> list[Measurement]:
    """Write measurements into the features, all at once; `network` names those whose tumour the network had told.

    Returns
    -------
    list of Measurement
        Those written. A core that was deleted or moved since it was measured keeps none; one that has another name now
        has its measurement under that.
    """
    found = [m for m in measured if m.core is not None]
    cores = {id(m): m.core for m in found if m.core is not None}
    there = cores_table(slide.name, grid_of_layer(layer), {}, slide.mpp)
    wanted = pd.DataFrame([(c.name, c.y, c.x, c.diameter) for c in cores.values()], columns=["core", *PLACE])
    match = same_place(there, wanted)
    fresh = {str(there["core"].iloc[i]): m for i, m in zip(match, found, strict=True) if i >= 0}
    if not fresh:
        return []
    table, kept = layer.features.copy(), _kept(layer)
    row_of = {name: i for i, name in zip(table.index, table["core"], strict=True)}
    for name, one in fresh.items():
        row, core = row_of[name], cores[id(one)]
        before, _ = _at(kept, core)
        for column, value in one.columns.items():
            table.loc[row, column] = value
        table.loc[row, "flags"] = _flags(table.loc[row, "flags"], before.flags if before else (), one.flags, clean=True)
        kept = [k for k in kept if k[0] is not before] + [(replace(one.summed_up(), core=core), core.name in network)]
    layer.metadata.setdefault(KEY, {})["measured"] = kept
    table["opinions_differ"] = _differ(table)
    write_features(layer, table)
    return list(fresh.values())


def clear_measured(layer: Shapes, names: Iterable[str] | None = None) -> None:
    """Take the measurements off some cores, or off all."""
    table, off = layer.features.copy(), measured_of_layer(layer)
    rows = table.index if names is None else table.index[table["core"].isin(list(names))]
    for column in MEASURE_COLUMNS:
        table.loc[rows, column] = "" if column in TEXT_COLUMNS else math.nan
    for row in rows:
        before = off.get(str(table.loc[row, "core"]))
        table.loc[row, "flags"] = _flags(table.loc[row, "flags"], before.flags if before else (), (), clean=True)
    table["opinions_differ"] = _differ(table)
    write_features(layer, table)


def measured_of_layer(layer: Shapes, grid: CoreGrid | None = None) -> dict[str, Measurement]:
    """The measurements in the features, by core name, without their cells.

    What features have no room for is kept with the layer by place, so that it needs no care when cores are named anew,
    moved or brought back: it counts while a core lies there whose features say the same.

    `grid`: that of the layer, when it has been read already.
    """
    found, kept = {}, _kept(layer)
    grid = grid_of_layer(layer) if grid is None else grid
    for core, row in zip(grid, named_features(layer).to_dict("records"), strict=True):
        score, reason = str(row["measured_score"] or ""), str(row["measured_reason"] or "")
        if core.state is not CoreState.TISSUE or not (score or reason):
            continue
        last, _ = _at(kept, core)
        if last is not None and (last.score, last.sentence) == (score, reason):
            found[core.name] = replace(last, core=core)
            continue
        p = [float(row[f"percent_{k}"]) for k in range(4)]
        found[core.name] = Measurement(
            score=score,
            sentence=reason,
            percent=(p[0], p[1], p[2], p[3]),
            h_score=float(row["h_score"]),
            completeness=float(row["membrane_completeness"]),
            core=core,
        )
    return found


def agree(layer: Shapes, measured: dict[str, Measurement]) -> None:
    """Bring flags, and how far the two opinions lie apart, up to date after scoring; nothing is written for nothing.

    `measured`: what is in the layer, from `measured_of_layer`.
    """
    table = layer.features.copy()
    table["opinions_differ"] = _differ(table)
    table["flags"] = [
        _flags(text, (), measured[name].flags) if name in measured else text
        for name, text in zip(table["core"], table["flags"], strict=True)
    ]
    same = (
        table[c].equals(layer.features[c].astype(table[c].dtype))  # napari may keep them as another type
        for c in ("opinions_differ", "flags")
    )
    if not all(same):
        write_features(layer, table)


def by_network(layer: Shapes, grid: CoreGrid) -> set[str]:
    """Names of the cores whose measurement counts the cells that the network called tumour."""
    kept = _kept(layer)
    return {core.name for core in grid if _at(kept, core)[1]}


def _kept(layer: Shapes) -> list[tuple[Measurement, bool]]:
    """Measurements by place, and whether the network told them which cells are tumour."""
    return list(layer.metadata.get(KEY, {}).get("measured", []))


def _at(kept: list[tuple[Measurement, bool]], core: Core) -> tuple[Measurement | None, bool]:
    """What was measured last at the place of a core."""
    here = np.array((core.y, core.x, core.diameter))
    for one, network in reversed(kept):
        if one.core is not None and is_near(np.array((one.core.y, one.core.x, one.core.diameter)), here):
            return one, network
    return None, False


def _flags(text: object, old: tuple[str, ...], new: tuple[str, ...], *, clean: bool = False) -> str:
    """A text of flags without some sentences and with others; those of the score stay.

    `clean`: whatever a measurement has ever said goes, too; of cores from a file nobody knows what that was.
    """
    text = str(text or "")
    for sentence in old:
        text = text.replace(sentence, "")
    if clean:
        text = _OF_MEASURING.sub("", text)
    parts = [" ".join(text.split()), *(sentence for sentence in new if sentence not in text)]
    return " ".join(part for part in parts if part)


def _differ(table: pd.DataFrame) -> pd.Series:
    pairs = zip(table["her2_score"], table["measured_score"], strict=True)
    return pd.Series([opinions_differ(*pair) for pair in pairs], index=table.index, dtype="float64")
