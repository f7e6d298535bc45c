"""``regions.geojson``: regions drawn to be counted or left out, to QuPath and back, and as QuPath exports its own.

A region is an annotation of the class "Count here" or "Leave out"; QuPath's own class "Ignore*" is left out, too.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import numpy.typing as npt

from napari_her2.errors import RegionsError
from napari_her2.export.geojson import geojson_objects
from napari_her2.regions import KINDS, Region, RegionKind

__all__ = ["RegionsFile", "read_regions", "write_regions"]

#: Classes as they are matched: in any case, without the blanks around them.
_CLASSES: dict[str, RegionKind] = {kind: kind for kind in KINDS} | {"ignore*": "leave out"}
_COLOURS: dict[RegionKind, tuple[int, int, int]] = {"count here": (10, 154, 62), "leave out": (60, 60, 60)}
_MOST_BYTES = 200 * 2**20
#: Pixels beyond which no slide reaches.
_FARTHEST = 1e7
#: Square pixels of which a polygon must hold more.
_LEAST_AREA = 1.0

Ring = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RegionsFile:
    """What a file of regions holds.

    Attributes
    ----------
    regions : tuple of Region
        At least one.
    remark : str
        What was passed over, in one sentence; empty when nothing was.
    """

    regions: tuple[Region, ...]
    remark: str = ""


def write_regions(path: Path, regions: Iterable[Region], image: str) -> None:
    """Write regions as a GeoJSON FeatureCollection of annotations, (x, y) in full-resolution pixels.

    Parameters
    ----------
    path : Path
    regions : iterable of Region
    image : str
        Name of the slide; with the number of the region it makes an id that stays.
    """
    features = []
    for number, region in enumerate(regions):
        ring = [[x, y] for y, x in region.outline]
        kind = {"name": region.kind.capitalize(), "color": list(_COLOURS[region.kind])}
        features.append(
            {
                "type": "Feature",
                "id": str(uuid5(NAMESPACE_URL, f"napari-her2:{image}:region {number}")),
                "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
                "properties": {"objectType": "annotation", "classification": kind},
            }
        )
    content = {"type": "FeatureCollection", "features": features}
    path.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False), encoding="utf-8")


def read_regions(path: Path) -> RegionsFile:
    """Read what `write_regions` wrote, or the annotations that QuPath exports.

    Objects of other classes, and those without an inside (points, lines), are passed over. A polygon with holes stays
    one: each hole is joined to the outline by a cut. A name counts as the class where an object has none.

    Raises
    ------
    RegionsError
        If the file cannot be read, is no GeoJSON, or holds no polygon of either class.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise RegionsError(f"{path.name} is too large: export the annotations alone, without the cells in them.")
        objects = list(geojson_objects(json.loads(path.read_text(encoding="utf-8-sig"))))
        regions, others = _regions_among(objects)
    except OSError as error:
        raise RegionsError(f"{path} cannot be read ({error.strerror}): check the path.") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise RegionsError(
            f"{path.name} is not GeoJSON of polygons: name a file that napari-her2 wrote or QuPath exported."
        ) from error
    said = ", ".join(f"{count} x {what}" for what, count in others.items())
    if not regions:
        raise RegionsError(
            f'{path.name} holds no polygon of the class "Count here" or "Leave out" ({said or "it is empty"}): '
            "give annotations one of these classes, and export them again."
        )
    return RegionsFile(tuple(regions), f"Passed over in {path.name}, being no regions: {said}." if said else "")


def _regions_among(objects: Iterable[tuple[dict[str, Any], dict[str, Any]]]) -> tuple[list[Region], Counter[str]]:
    """The regions, and what the other objects are."""
    regions, others = [], Counter[str]()
    for properties, geometry in objects:
        name = _class_of(properties)
        kind = _CLASSES.get(name.casefold())
        if kind is None:
            others[f"class {name}" if name else f"{properties['objectType']} without a class"] += 1
            continue
        found = [ring for rings in _polygons(geometry) if (ring := _joined(rings)) is not None]
        regions += [Region(kind, tuple((float(y), float(x)) for x, y in ring)) for ring in found]
        if not found:
            others[f"{name} without an inside"] += 1
    return regions, others


def _class_of(properties: dict[str, Any]) -> str:
    """Class of an object; QuPath writes derived classes as a list."""
    known = properties.get("classification") or {}
    if isinstance(known, str):
        return known.strip()
    names = known.get("names") or []
    return str(known.get("name") or ": ".join(map(str, names)) or properties.get("name") or "").strip()


def _polygons(geometry: dict[str, Any]) -> Iterator[list[Any]]:
    """The rings of each polygon, the outer one first."""
    if geometry["type"] == "GeometryCollection":
        for part in geometry["geometries"]:
            yield from _polygons(part)
    elif geometry["type"] == "MultiPolygon":
        yield from geometry["coordinates"]
    elif geometry["type"] == "Polygon":
        yield geometry["coordinates"]


def _joined(rings: list[Any]) -> Ring | None:
    """One outline, (x, y), of a polygon with its holes; None where it has no inside."""
    drawn = [ring for ring in map(_ring, rings[:1]) if ring is not None]
    if not drawn:
        return None
    outline = drawn[0]
    for hole in map(_ring, rings[1:]):
        if hole is None:
            continue
        # there and back along the same line, between the two corners that are nearest to each other
        gaps = [((outline - corner) ** 2).sum(axis=1) for corner in hole]
        there = int(np.argmin([gap.min() for gap in gaps]))
        here = int(gaps[there].argmin())
        way = np.roll(hole, -there, axis=0)
        outline = np.concatenate([outline[: here + 1], way, way[:1], outline[here:]])
    return outline


def _ring(points: list[Any]) -> Ring | None:
    """The corners of a closed ring once each; None where it holds next to nothing."""
    if not all(isinstance(v, (int, float)) and math.isfinite(v) and abs(v) < _FARTHEST for p in points for v in p[:2]):
        raise ValueError("no place on a slide")
    ring = np.array([p[:2] for p in points], np.float64).reshape(-1, 2)
    if len(ring) > 1 and (ring[0] == ring[-1]).all():
        ring = ring[:-1]
    if len(ring) < 3:
        return None
    (x, y), (along, down) = ring.T, np.roll(ring, -1, axis=0).T
    return ring if abs(float((x * down - along * y).sum())) > 2 * _LEAST_AREA else None
