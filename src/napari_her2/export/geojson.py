"""``cores.geojson``: the cores as ellipses that QuPath imports, and back; also what QuPath itself exports.

QuPath skips objects of type tmaCore when its menu imports GeoJSON, so cores are written as annotations. What it keeps
stands in `metadata`, a map of strings, and in `measurements`; all that is known of a core, to the last digit, stands
beside it in `napari_her2`, which QuPath drops.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import pandas as pd

from napari_her2.colours import core_colour
from napari_her2.cores import CoreGrid, CoreState
from napari_her2.errors import CoresError
from napari_her2.export.qptma import qupath_grid
from napari_her2.name_parts import name_parts
from napari_her2.scores import SCORES
from napari_her2.table import COLUMNS

__all__ = ["GeoJSON", "geojson_objects", "read_geojson", "write_geojson"]

_POINTS = 64
#: Columns kept as strings in `metadata`; a patient is called "Case ID" there, as QuPath calls it.
_METADATA = (
    *("image", "block", "row", "column", "state", "x", "y", "diameter"),
    *("her2_score", "indeterminate", "measured_score", "measured_reason", "flags", "batch", "normalised"),
    *("reader_score", "note"),
)
_CASE_ID = "Case ID"
#: What QuPath calls a patient, now and before 0.4, and its note on a TMA core.
_CASE_IDS, _NOTE = (_CASE_ID, "Unique ID"), "Note"
_OURS = "napari_her2"
_MEASUREMENTS = (
    {f"HER2: P({score})": f"p_{k}" for k, score in enumerate(SCORES)}
    | {"HER2: confidence": "confidence", "HER2 measured: H-score": "h_score"}
    | {f"HER2 measured: % of cells {score}": f"percent_{k}" for k, score in enumerate(SCORES)}
    | {"HER2 measured: completeness": "membrane_completeness", "HER2: opinions differ by": "opinions_differ"}
)
#: Columns that say how a core was found or scored, which is over once it lies elsewhere.
_OF_THE_PLACE = (
    *("her2_score", "indeterminate", "confidence", "p_0", "p_1", "p_2", "p_3"),
    *("h_score", "percent_0", "percent_1", "percent_2", "percent_3", "membrane_completeness", "measured_score"),
    *("found_confidence", "doubt", "tissue_fraction"),
    *("flags", "batch", "measured_reason", "opinions_differ", "normalised"),
)
#: Pixels: QuPath rounds outlines to hundredths, so what agrees to this was not moved.
_MOVED = 0.02
_MOST_BYTES = 200 * 2**20
#: Objects that are parts of cores, or nothing to do with them.
_TYPES = {"PathTileObject": "tile", "PathCellObject": "cell", "TMACoreObject": "tmaCore", "PathRootObject": "root"} | {
    "PathDetectionObject": "detection",
    "PathAnnotationObject": "annotation",
}


def write_geojson(path: Path, table: pd.DataFrame, grid: CoreGrid | None = None) -> None:
    """Write the table of `napari_her2.table.cores_table` as a GeoJSON FeatureCollection.

    Coordinates are (x, y) in full-resolution pixels, as QuPath wants them. Ids depend on image and core alone, so
    that a second import replaces nothing by chance and two exports can be compared.

    Parameters
    ----------
    path : Path
    table : DataFrame
    grid : CoreGrid, optional
        The cores of the table: gives their outlines, and the rectangle that the script of docs/qupath.md lays out.
    """
    outlines = {core.name: core.outline for core in grid or ()}
    own = [str(c) for c in table.columns if c not in COLUMNS and c != "label"]
    features = [_feature(row, own, outlines.get(row["core"], ())) for row in table.to_dict("records")]
    content = {"type": "FeatureCollection", "features": features, **_rectangle(grid or CoreGrid())}
    path.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False), encoding="utf-8")


def _rectangle(grid: CoreGrid) -> dict[str, Any]:
    """The cells of the grid row by row: which core is in each, and where one without a core lies."""
    try:
        rows = qupath_grid(grid)
    except CoresError:
        return {}  # what is no grid for QuPath can still be kept
    cells = [
        {"core": cell.name, "name": cell.core.name, "x": cell.core.x, "y": cell.core.y, "diameter": cell.core.diameter}
        for row in rows
        for cell in row
    ]
    return {_OURS: {"width": len(rows[0]), "height": len(rows), "cells": cells}} if rows else {}


def _feature(row: dict[Any, Any], own: list[str], outline: tuple[tuple[float, float], ...]) -> dict[str, Any]:
    angles = [2 * math.pi * k / _POINTS for k in range(_POINTS)]
    radius = row["diameter"] / 2
    ring = [[row["x"] + radius * math.cos(a), row["y"] + radius * math.sin(a)] for a in angles]
    colour = core_colour(row["state"], row["her2_score"])
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    extra = {column: str(row[column]) for column in own if _filled(row[column])}
    properties: dict[str, Any] = {
        "objectType": "annotation",
        "name": row["core"],
        "color": rgb,
        "isMissing": row["state"] == "missing",
        "metadata": {k: v for k, v in extra.items() if k != _CASE_ID}
        | {c: str(row[c]) for c in _METADATA if _filled(row[c])},
    }
    if row["patient_id"]:
        properties["metadata"][_CASE_ID] = row["patient_id"]
    measured = {name: row[column] for name, column in _MEASUREMENTS.items() if math.isfinite(row[column])}
    for name, column in (("HER2: score", "her2_score"), ("HER2 measured: score", "measured_score")):
        if row[column]:
            measured[name] = SCORES.index(row[column])
    if row["her2_score"]:
        properties["classification"] = {"name": f"HER2 {row['her2_score']}", "color": rgb}
    if measured:
        properties["measurements"] = measured
    properties[_OURS] = {
        "columns": {c: _plain(row[c]) for c in COLUMNS if _filled(row[c])},
        "extra": extra,
        "outline": [[x, y] for y, x in outline],
    }
    return {
        "type": "Feature",
        "id": str(uuid5(NAMESPACE_URL, f"napari-her2:{row['image']}:{row['core']}")),
        "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]], "isEllipse": True},
        "properties": properties,
    }


def _filled(value: object) -> bool:
    return value is not None and value != "" and not (isinstance(value, float) and math.isnan(value))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


# --- reading --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GeoJSON:
    """Cores as they stand in a GeoJSON file.

    Attributes
    ----------
    table : DataFrame
        As `napari_her2.table.grid_of_table` takes it, every cell text; the scores stand in it too.
    outlines : dict of str to tuple of (y, x)
        Outline of the tissue by core name, in level-0 pixels, where the file has one.
    unplaced : frozenset of str
        Cores of which the file does not say row and column.
    remark : str
        What was passed over, in one sentence; empty when nothing was.
    """

    table: pd.DataFrame
    outlines: dict[str, tuple[tuple[float, float], ...]]
    unplaced: frozenset[str]
    remark: str = ""


def read_geojson(path: Path) -> GeoJSON:
    """Read cores back, also after QuPath has moved, renamed or exported them, and the TMA cores of QuPath itself.

    TMA cores are cores; in a file without any, annotations with a name are. Where a core lies, its geometry says: one
    that was moved, or drawn anew, has neither score nor outline any more.

    Raises
    ------
    CoresError
        If the file is not GeoJSON, or holds no object that could be a core.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise CoresError(f"{path.name} is too large: export the cores alone, without the cells in them.")
        objects = list(geojson_objects(json.loads(path.read_text(encoding="utf-8-sig"))))
        wanted, remark = _cores_among(objects)
        rows = _with_diameters([_row(properties, geometry) for properties, geometry in wanted])
        outlines = {
            row["core"]: outline for row, (p, _) in zip(rows, wanted, strict=True) if (outline := _outline(p, row))
        }
    except OSError as error:
        raise CoresError(f"{path} cannot be read ({error.strerror}): check the path.") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise CoresError(
            f"{path.name} is not GeoJSON of cores, each with a name and an outline: "
            "name a file that napari-her2 or QuPath wrote."
        ) from error
    unplaced = frozenset(row["core"] for row in rows if "row" not in row)
    table = pd.DataFrame(rows, columns=None if rows else ["core", "x", "y", "diameter"], dtype=object)
    return GeoJSON(table.fillna(""), outlines, unplaced, remark)


def geojson_objects(content: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Properties (with "objectType") and geometry of every object of parsed GeoJSON, those within others too."""
    if isinstance(content, dict) and content.get("type") != "Feature":
        content = content["features"]
    for feature in [content] if isinstance(content, dict) else content:
        if feature.get("type") == "FeatureCollection":
            yield from geojson_objects(feature)
            continue
        properties = dict(feature.get("properties") or {})
        kind = properties.get("objectType") or properties.get("object_type") or properties.get("type")
        kind = kind or _TYPES.get(str(feature.get("id")), "annotation")
        yield properties | {"objectType": _TYPES.get(kind, kind)}, feature["geometry"]
        yield from geojson_objects(properties.get("childObjects") or properties.get("children") or [])


def _cores_among(
    objects: list[tuple[dict[str, Any], dict[str, Any]]],
) -> tuple[list[tuple[dict[str, Any], dict[str, Any]]], str]:
    """The objects that are cores, and what is to be said of the others."""
    kind = "tmaCore" if any(p["objectType"] == "tmaCore" for p, _ in objects) else "annotation"
    ours = any(_is_ours(properties) for properties, _ in objects)

    def passed_over(properties: dict[str, Any], geometry: dict[str, Any]) -> str:
        if properties["objectType"] != kind:
            return str(properties["objectType"])
        name = str(properties.get("name") or "").strip()
        if not name:
            return f"{kind} without a name"
        if ours and kind == "annotation" and not _is_ours(properties) and name_parts(name) is None:
            return f"{kind} called {name}"
        return (
            "" if geometry["type"] in ("Polygon", "MultiPolygon", "Point", "GeometryCollection") else geometry["type"]
        )

    wanted, others = [], Counter[str]()
    for properties, geometry in objects:
        why = passed_over(properties, geometry)
        if why:
            others[why] += 1
        else:
            wanted.append((properties, geometry))
    said = ", ".join(f"{count} x {what}" for what, count in others.items())
    if objects and not wanted:
        raise CoresError(f"No object in it is a core ({said}): export TMA cores, or annotations with a name.")
    return wanted, f"Passed over, being no cores: {said}." if said else ""


def _row(properties: dict[str, Any], geometry: dict[str, Any]) -> dict[str, str]:
    """The cells of one core; `diameter` is empty for a point that says none."""
    metadata = {str(k): str(v) for k, v in (properties.get("metadata") or {}).items()}
    block = properties.get(_OURS) or {}
    row = {str(k): str(v) for part in ("columns", "extra") for k, v in (block.get(part) or {}).items()}
    if not block:
        row |= {c: str(v) for name, c in _MEASUREMENTS.items() if (v := _measured(properties, name)) is not None}
    patient = metadata.pop(_CASE_ID, "")
    if _is_ours(properties):
        row |= metadata
    else:
        patient = patient or metadata.pop(_CASE_IDS[1], "")
        metadata["note"] = metadata.get("note") or metadata.pop(_NOTE, "")
        # a column that only has the name of one of ours says nothing
        row |= {k: v for k, v in metadata.items() if k.casefold() not in COLUMNS or k in ("note", "block")}
    row["patient_id"] = patient
    row["core"] = str(properties["name"]).strip()
    row["state"] = _state(properties, row.get("state", ""))
    return _placed(row, geometry)


def _is_ours(properties: Mapping[str, Any]) -> bool:
    """Whether an object was written here, also if QuPath has had it since."""
    return bool(properties.get(_OURS)) or {"x", "y", "diameter", "state"} <= set(properties.get("metadata") or ())


def _measured(properties: Mapping[str, Any], name: str) -> Any:
    """A measurement; QuPath 0.3 and older wrote a list of name and value."""
    measurements = properties.get("measurements") or {}
    if isinstance(measurements, list):
        measurements = {m.get("name"): m.get("value") for m in measurements}
    return measurements.get(name)


def _state(properties: Mapping[str, Any], noted: str) -> str:
    missing = properties.get("isMissing")
    if missing:
        return noted if noted == CoreState.EXCLUDED else str(CoreState.MISSING)
    # QuPath forgets the flag of an annotation, but for a TMA core its word is the last
    return str(CoreState.TISSUE) if properties["objectType"] == "tmaCore" or not noted else noted


def _placed(row: dict[str, str], geometry: dict[str, Any]) -> dict[str, str]:
    """The row at the place where its geometry lies."""
    points = np.array(list(_corners(geometry)), np.float64)
    if not len(points) or not np.isfinite(points).all():
        raise ValueError("no place")
    low, high = points.min(0), points.max(0)
    centre, size = low + (high - low) / 2, float((high - low).max())
    drawn = {"x": float(centre[0]), "y": float(centre[1])} | ({"diameter": size} if size > 0 else {})
    moved = [column for column, value in drawn.items() if not abs(_number(row.get(column, "")) - value) < _MOVED]
    for column in moved:
        if row.get(column):
            row = {k: v for k, v in row.items() if k not in _OF_THE_PLACE}
            row["note"] = row.get("note", "").partition("[automatic: ")[0].strip()
        row[column] = repr(drawn[column])
    return row | {"diameter": row.get("diameter", "")}


def _corners(geometry: dict[str, Any]) -> Iterator[tuple[float, float]]:
    """All points (x, y) of a geometry, however deep they stand."""
    for part in geometry.get("geometries") or ():
        yield from _corners(part)
    stack = [geometry.get("coordinates") or []]
    while stack:
        points = stack.pop()
        if points and not isinstance(points[0], list):
            yield float(points[0]), float(points[1])
        else:
            stack.extend(points)


def _with_diameters(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Points are as large as the other cores."""
    known = [_number(row["diameter"]) for row in rows if row["diameter"]]
    for row in rows:
        if not row["diameter"]:
            if not known:
                raise CoresError(f"The core {row['core']} is a point, without a size: draw the cores as ellipses.")
            row["diameter"] = repr(float(np.median(known)))
    return rows


def _outline(properties: Mapping[str, Any], row: Mapping[str, str]) -> tuple[tuple[float, float], ...]:
    """The outline of a core that lies where it was written."""
    ours = properties.get(_OURS) or {}
    noted = ours.get("columns") or {}
    there = all(str(noted.get(column)) == row[column] for column in ("x", "y", "diameter"))
    return tuple((float(y), float(x)) for x, y in ours.get("outline") or ()) if there else ()


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
