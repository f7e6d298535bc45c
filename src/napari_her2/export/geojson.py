"""``cores.geojson``: the cores as ellipses that QuPath imports, and back.

QuPath skips objects of type tmaCore when its menu imports GeoJSON, so cores are written as annotations; what it has
no field for stands in `metadata`, a map of strings, which it keeps.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pandas as pd

from napari_her2.colours import core_colour
from napari_her2.errors import CoresError
from napari_her2.scores import SCORES

__all__ = ["read_geojson", "write_geojson"]

_POINTS = 64
#: Columns kept as strings in `metadata`; a patient is called "Case ID" there, as QuPath calls it.
_METADATA = (
    *("image", "block", "row", "column", "state", "x", "y", "diameter"),
    *("her2_score", "indeterminate", "reader_score", "note"),
)
_CASE_ID = "Case ID"


def write_geojson(path: Path, table: pd.DataFrame) -> None:
    """Write the table of `napari_her2.table.cores_table` as a GeoJSON FeatureCollection.

    Coordinates are (x, y) in full-resolution pixels, as QuPath wants them. Ids depend on image and core alone, so
    that a second import replaces nothing by chance and two exports can be compared.
    """
    features = [_feature(row) for row in table.to_dict("records")]
    text = json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False, allow_nan=False)
    path.write_text(text, encoding="utf-8")


def _feature(row: dict[Any, Any]) -> dict[str, Any]:
    angles = [2 * math.pi * k / _POINTS for k in range(_POINTS)]
    radius = row["diameter"] / 2
    ring = [[row["x"] + radius * math.cos(a), row["y"] + radius * math.sin(a)] for a in angles]
    colour = core_colour(row["state"], row["her2_score"])
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    properties: dict[str, Any] = {
        "objectType": "annotation",
        "name": row["core"],
        "color": rgb,
        "isMissing": row["state"] == "missing",
        "metadata": {c: str(row[c]) for c in _METADATA if str(row[c])},
    }
    if row["patient_id"]:
        properties["metadata"][_CASE_ID] = row["patient_id"]
    if row["her2_score"]:
        properties["classification"] = {"name": f"HER2 {row['her2_score']}", "color": rgb}
        measured = {f"HER2: P({score})": row[f"p_{k}"] for k, score in enumerate(SCORES)}
        measured |= {"HER2: score": SCORES.index(row["her2_score"]), "HER2: confidence": row["confidence"]}
        properties["measurements"] = {name: value for name, value in measured.items() if math.isfinite(value)}
    return {
        "type": "Feature",
        "id": str(uuid5(NAMESPACE_URL, f"napari-her2:{row['image']}:{row['core']}")),
        "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]], "isEllipse": True},
        "properties": properties,
    }


def read_geojson(path: Path) -> pd.DataFrame:
    """Read cores back, also after QuPath has moved, renamed or exported them; every cell comes back as text.

    The outline stands above the centre and diameter in `metadata` once it was moved.

    Raises
    ------
    CoresError
        If the file is not GeoJSON, or an object in it has no name or no outline.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        features = content["features"] if isinstance(content, dict) else content
        rows = [_row(feature) for feature in features]
    except OSError as error:
        raise CoresError(f"{path} cannot be read ({error.strerror}): check the path.") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise CoresError(
            f"{path.name} is not GeoJSON of cores, each with a name and an outline: "
            "name a file that napari-her2 or QuPath wrote."
        ) from error
    return pd.DataFrame(rows, columns=None if rows else ["core", "x", "y", "diameter"], dtype=object)


def _row(feature: dict[str, Any]) -> dict[str, str]:
    properties = feature["properties"]
    row = {k: str(v) for k, v in (properties.get("metadata") or {}).items()}
    row["patient_id"] = row.pop(_CASE_ID, "")
    row["core"] = str(properties["name"])
    if properties.get("isMissing"):
        row["state"] = "missing"
    xs, ys = ([float(point[k]) for point in feature["geometry"]["coordinates"][0]] for k in (0, 1))
    width, height = max(xs) - min(xs), max(ys) - min(ys)
    drawn = {"x": min(xs) + width / 2, "y": min(ys) + height / 2, "diameter": max(width, height)}
    for column, value in drawn.items():
        # JSON of another program may have rounded the outline: what agrees to a hundredth of a pixel was not moved
        if column not in row or not abs(float(row[column]) - value) < 0.01:
            row[column] = repr(value)
    return row
