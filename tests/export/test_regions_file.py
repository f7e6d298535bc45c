from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_her2.errors import RegionsError
from napari_her2.export.regions import read_regions, write_regions
from napari_her2.regions import KINDS, Region, region_masks

SQUARE = [[10, 10], [10, 40], [40, 40], [40, 10], [10, 10]]
HOLES = [[[15, 15], [15, 20], [20, 20], [20, 15], [15, 15]], [[30, 25], [35, 25], [35, 35], [30, 35], [30, 25]]]

places = st.floats(-50, 5000).map(lambda v: round(v, 1))
triangles = st.lists(st.tuples(places, places), min_size=3, max_size=8, unique=True).filter(
    lambda points: abs(sum(a * d - b * c for (a, b), (c, d) in zip(points, points[1:] + points[:1], strict=True))) > 3
)
regions = st.lists(st.builds(Region, st.sampled_from(KINDS), triangles.map(tuple)), min_size=1, max_size=5)
KEYS = ("type", "features", "geometry", "coordinates", "properties", "classification", "name", "names")
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats()
    | st.sampled_from(("Polygon", "Feature", "Count here")),
    lambda v: (
        st.lists(v, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ("type", "features", "geometry", "coordinates", "properties", "classification", "name", "names")
            ),
            v,
            max_size=5,
        )
    ),
    max_leaves=20,
)


def feature(geometry: object, kind: object = "Count here", **properties: object) -> dict[str, object]:
    known = properties if kind is None else {"classification": {"name": kind}, **properties}
    return {"type": "Feature", "geometry": geometry, "properties": {"objectType": "annotation", **known}}


def polygon(*rings: object) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": list(rings)}


def written(folder: Path, content: object) -> Path:
    path = folder / "drawn.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def area(found: tuple[Region, ...], kind: str = "count here") -> np.ndarray:
    masks = dict(zip(KINDS, region_masks(found, (0, 0, 60, 60), (60, 60)), strict=True))
    return masks[kind]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(regions)
def test_what_is_written_comes_back(tmp_path: Path, drawn: list[Region]):
    path = tmp_path / "a.regions.geojson"
    write_regions(path, drawn, "slide")
    found = read_regions(path)
    assert (list(found.regions), found.remark) == (drawn, "")
    kinds = [f["properties"]["classification"]["name"] for f in json.loads(path.read_text())["features"]]
    assert set(kinds) <= {"Count here", "Leave out"}


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(values)
def test_whatever_stands_in_a_file_is_regions_or_one_sentence(tmp_path: Path, content: object):
    path = written(tmp_path, json.dumps(content))
    try:
        found = len(read_regions(path).regions)
    except RegionsError as error:
        found = str(error).count("drawn.geojson")
    assert found


@pytest.mark.parametrize("form", ["collection", "list", "one", "children", "crs"])
def test_all_forms_in_which_qupath_exports_are_read(tmp_path: Path, form: str):
    one = feature(polygon(SQUARE), isLocked=True)
    content = {
        "collection": {"type": "FeatureCollection", "features": [one]},
        "list": [one],
        "one": one,
        "children": [feature(polygon(SQUARE), None, childObjects=[one])],
        "crs": {"type": "FeatureCollection", "crs": None, "features": [one]},
    }[form]
    (region,) = read_regions(written(tmp_path, content)).regions
    assert region == Region("count here", ((10.0, 10.0), (40.0, 10.0), (40.0, 40.0), (10.0, 40.0)))


@pytest.mark.parametrize(
    ("properties", "kind"),
    [
        ({"kind": " LEAVE out "}, "leave out"),
        ({"kind": "Ignore*"}, "leave out"),
        ({"kind": None, "classification": {"names": ["Count here"]}}, "count here"),
        ({"kind": None, "classification": "Leave out"}, "leave out"),
        ({"kind": None, "name": "count here"}, "count here"),
    ],
)
def test_the_class_says_which_kind_it_is(tmp_path: Path, properties: dict[str, object], kind: str):
    assert read_regions(written(tmp_path, [feature(polygon(SQUARE), **properties)])).regions[0].kind == kind


def test_holes_are_not_counted_and_parts_are_regions_of_their_own(tmp_path: Path):
    whole, holed, left = (
        area(read_regions(written(tmp_path, [feature(shape, kind)])).regions, of)
        for shape, kind, of in (
            (polygon(SQUARE), "Count here", "count here"),
            (polygon(SQUARE, *HOLES), "Count here", "count here"),
            ({"type": "MultiPolygon", "coordinates": [[h] for h in HOLES]}, "Leave out", "leave out"),
        )
    )
    assert abs(int(whole.sum()) - 900) < 70
    assert holed[12:14, 12:38].all()
    assert not holed[16:19, 16:19].any()
    assert not holed[26:34, 31:34].any()
    # squares on the very edge of a hole may fall to either side
    assert ((whole & ~left) ^ holed).sum() <= 30


def test_what_is_no_region_is_counted_and_said(tmp_path: Path):
    line = {"type": "LineString", "coordinates": [[0, 0], [9, 9]]}
    flat = polygon([[0, 0], [9, 9], [18, 18], [0, 0]])
    others = [feature(line), feature(flat), feature(polygon(SQUARE), "Tumor"), feature(polygon(SQUARE), None)]
    found = read_regions(written(tmp_path, [feature(polygon(SQUARE)), *others]))
    assert len(found.regions) == 1
    assert found.remark == (
        "Passed over in drawn.geojson, being no regions: "
        "2 x Count here without an inside, 1 x class Tumor, 1 x annotation without a class."
    )
    with pytest.raises(RegionsError, match=r'no polygon of the class "Count here" or "Leave out" \(2 x Count here'):
        read_regions(written(tmp_path, others))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[3]",
        [feature(polygon([["a", 1], [2, 3], [4, 5]]))],
        [feature(polygon([[0, 0], [1e9, 0], [1e9, 1e9]]))],
        '[{"geometry": {"type": "Polygon", "coordinates": [[[NaN, 0], [5, 0], [5, 5]]]}, "properties": '
        '{"classification": {"name": "Count here"}}}]',
        [feature({"type": "Polygon"})],
    ],
)
def test_what_is_no_geojson_is_one_sentence(tmp_path: Path, content: object):
    with pytest.raises(RegionsError, match=r"drawn\.geojson is not GeoJSON of polygons"):
        read_regions(written(tmp_path, content))


def test_an_empty_or_absent_file_says_so(tmp_path: Path):
    with pytest.raises(RegionsError, match="it is empty"):
        read_regions(written(tmp_path, {"type": "FeatureCollection", "features": []}))
    with pytest.raises(RegionsError, match="cannot be read"):
        read_regions(tmp_path / "none.geojson")
