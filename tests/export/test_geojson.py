"""GeoJSON of cores: ours comes back exactly, QuPath's is understood."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.errors import CoresError
from napari_her2.export import read_cores, read_cores_file
from napari_her2.export.geojson import write_geojson
from napari_her2.scores import SCORES, CoreScore
from napari_her2.table import COLUMNS, cores_table

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12).map(str.strip)
SHARES = st.none() | st.floats(0, 1)
PIXELS = st.floats(-1e6, 1e6)


@st.composite
def grids(draw: st.DrawFn) -> CoreGrid:
    names = draw(st.lists(WORDS.filter(bool), min_size=1, max_size=4, unique=True))
    own = (
        st.text("abcXYZ =-Öß", min_size=1, max_size=8)
        .map(str.strip)
        .filter(lambda c: c and c.casefold() not in (*COLUMNS, "label"))
    )
    return CoreGrid(
        tuple(
            Core(
                name,
                row=draw(st.integers(-1, 30)),
                column=draw(st.integers(-1, 30)),
                y=draw(PIXELS),
                x=draw(PIXELS),
                diameter=draw(st.floats(1, 1e5)),
                state=draw(st.sampled_from(CoreState)),
                block=draw(WORDS),
                found_confidence=draw(SHARES),
                reason=draw(WORDS),
                patient_id=draw(WORDS),
                reader_score=draw(st.sampled_from(("", *SCORES))),
                note=draw(WORDS),
                tissue_fraction=draw(SHARES),
                outline=tuple(draw(st.lists(st.tuples(PIXELS, PIXELS), max_size=5))),
                extra=draw(st.dictionaries(own, WORDS.filter(bool), max_size=3)),
            )
            for name in names
        )
    )


@given(grids())
def test_what_we_wrote_comes_back_exactly(tmp_path_factory: pytest.TempPathFactory, grid: CoreGrid) -> None:
    path = tmp_path_factory.getbasetemp() / "exact.geojson"
    write_geojson(path, cores_table("tma", grid, {}, 0.25), grid)
    assert read_cores(path) == grid


def test_columns_that_have_qupaths_own_names_come_back_too(tmp_path: Path) -> None:
    core = Core("A-1", 0, 0, 5, 5, 4, extra={"Case ID": "c", "Unique ID": "u", "Note": "n"})
    path = tmp_path / "a.geojson"
    write_geojson(path, cores_table("tma", CoreGrid((core,)), {}, None), None)
    assert read_cores(path)["A-1"] == core


GRID = CoreGrid(
    tuple(
        Core(
            f"{'AB'[r]}-{c + 1}",
            r,
            c,
            100.25 + 200 * r,
            100.5 + 200 * c,
            120.75,
            state=CoreState.MISSING
            if (r, c) == (1, 0)
            else CoreState.EXCLUDED
            if (r, c) == (1, 1)
            else CoreState.TISSUE,
            patient_id=f"P{r}{c}",
            note="folded",
            found_confidence=0.875,
            tissue_fraction=0.5,
            outline=((90.0, 95.5), (99.0, 120.0), (120.0, 91.0)),
            extra={"Age": "63"},
        )
        for r in range(2)
        for c in range(2)
    )
)
SCORED = {"A-1": CoreScore(GRID["A-1"], "2+", (0.1, 0.2, 0.4, 0.3), 2.1, indeterminate=True, reason="Between.")}


def written(tmp_path: Path, *, kind: str = "annotation", decimals: int = 2) -> dict[str, Any]:
    """Our file as QuPath exports it after importing it: unknown keys gone, outlines rounded."""
    path = tmp_path / "ours.geojson"
    write_geojson(path, cores_table("tma", GRID, SCORED, 0.5), GRID)
    content = json.loads(path.read_text(encoding="utf-8"))
    for feature in content["features"]:
        properties = feature["properties"]
        del properties["napari_her2"]
        missing = properties.pop("isMissing")
        if kind == "tmaCore":
            # as the script makes them: what is not scored is missing there
            properties |= {"objectType": kind, "isMissing": missing or properties["metadata"]["state"] == "excluded"}
        ring = feature["geometry"]["coordinates"][0]
        feature["geometry"]["coordinates"] = [[[round(x, decimals), round(y, decimals)] for x, y in ring]]
    return content


def saved(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "qupath.geojson"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["annotation", "tmaCore"])
def test_qupath_keeps_what_matters(tmp_path: Path, kind: str) -> None:
    found = read_cores_file(saved(tmp_path, written(tmp_path, kind=kind)))
    assert found.grid == CoreGrid(
        tuple(replace(c, found_confidence=None, tissue_fraction=None, outline=()) for c in GRID)
    )
    row = found.table.iloc[0]
    assert (row["her2_score"], row["indeterminate"], row["p_2"], row["confidence"]) == ("2+", "yes", 0.4, 0.4)
    assert row["note"] == "folded [automatic: Between.]"
    assert found.remark == ""


def test_a_core_moved_or_resized_in_qupath_loses_its_score_and_keeps_its_patient(tmp_path: Path) -> None:
    content = written(tmp_path)
    geometry = content["features"][0]["geometry"]
    geometry["coordinates"] = [[[x + 30, y] for x, y in geometry["coordinates"][0]]]
    found = read_cores_file(saved(tmp_path, content))
    core = found.grid["A-1"]
    assert (core.x, core.y, core.diameter) == pytest.approx((130.5, 100.25, 120.75), abs=0.02)
    assert (core.patient_id, core.row, core.extra) == ("P00", 0, {"Age": "63"})
    assert (found.table["her2_score"][0], found.table["note"][0]) == ("", "folded")
    assert math.isnan(found.table["p_0"][0])


def test_what_was_moved_by_hand_in_our_file_has_no_outline_any_more(tmp_path: Path) -> None:
    path = tmp_path / "ours.geojson"
    write_geojson(path, cores_table("tma", GRID, SCORED, 0.5), GRID)
    content = json.loads(path.read_text(encoding="utf-8"))
    ring = content["features"][0]["geometry"]["coordinates"][0]
    content["features"][0]["geometry"]["coordinates"] = [[[x, y + 9] for x, y in ring]]
    moved, *others = read_cores(saved(tmp_path, content))
    assert (moved.outline, moved.found_confidence, moved.tissue_fraction) == ((), None, None)
    assert moved.y == pytest.approx(109.25)
    assert others == list(GRID)[1:]


def test_a_core_called_missing_or_found_in_qupath_is_so_here(tmp_path: Path) -> None:
    content = written(tmp_path, kind="tmaCore")
    by_name = {f["properties"]["name"]: f["properties"] for f in content["features"]}
    by_name["A-2"]["isMissing"] = True
    by_name["B-1"]["isMissing"] = by_name["B-2"]["isMissing"] = False
    grid = read_cores(saved(tmp_path, content))
    assert [core.state.value for core in grid] == ["tissue", "missing", "tissue", "tissue"]


def test_the_rectangle_for_qupaths_script_names_the_core_of_each_cell(tmp_path: Path) -> None:
    path = tmp_path / "ours.geojson"
    grid = CoreGrid(tuple(c for c in GRID if c.name != "A-2"))
    write_geojson(path, cores_table("tma", grid, {}, None), grid)
    laid = json.loads(path.read_text(encoding="utf-8"))["napari_her2"]
    assert (laid["width"], laid["height"]) == (2, 2)
    assert [(cell["core"], cell["name"]) for cell in laid["cells"]] == [
        ("A-1", "A-1"), ("", "A-2"), ("B-1", "B-1"), ("B-2", "B-2")
    ]  # fmt: skip
    assert (laid["cells"][1]["x"], laid["cells"][1]["y"]) == pytest.approx((300.5, 100.25))


# --- QuPath's own ---------------------------------------------------------------------------------------------------


def ring(x: float, y: float, r: float = 10, n: int = 24) -> list[list[float]]:
    angles = np.linspace(0, 2 * np.pi, n + 1)
    return np.c_[x + r * np.cos(angles), y + r * np.sin(angles)].round(2).tolist()


def feature(name: str | None, x: float, y: float, kind: str = "tmaCore", **properties: object) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": "3a7e9d0c-8d8c-4c39-9a53-2e6f6a0e1c11",
        "geometry": {"type": "Polygon", "coordinates": [ring(x, y)], "isEllipse": True},
        "properties": {"objectType": kind, **({"name": name} if name else {}), **properties},
    }


def collection(*features: dict[str, Any]) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


def test_qupaths_tma_cores_are_cores_and_what_is_in_them_is_not(tmp_path: Path) -> None:
    inside = [feature("Tumor", 5, 5, "annotation"), feature(None, 5, 5, "detection"), feature(None, 6, 6, "detection")]
    content = collection(
        feature(
            "A-1", 0, 0, isMissing=False, childObjects=inside, metadata={"Case ID": "P1", "Age": "63", "Note": "pale"}
        ),
        feature("A-2", 40, 0, isMissing=True, metadata={"Unique ID": "P2", "x": "a column of theirs"}),
        feature(None, 80, 0, isMissing=True),
    )
    with pytest.warns(
        UserWarning, match=r"Passed over, being no cores: 1 x annotation, 2 x detection, 1 x tmaCore without"
    ):
        first, second = read_cores(saved(tmp_path, content))
    assert first == Core("A-1", 0, 0, 0, 0, 20, patient_id="P1", note="pale", extra={"Age": "63"})
    assert second == Core("A-2", 0, 1, 0, 40, 20, state=CoreState.MISSING, patient_id="P2")


@pytest.mark.parametrize("wrap", [lambda c: c, lambda c: c["features"], lambda c: [c], lambda c: collection(c)])
def test_a_collection_may_stand_in_another_or_be_a_bare_list(tmp_path: Path, wrap: Any) -> None:
    content = wrap(collection(feature("A-1", 0, 0), feature("A-2", 40, 0)))
    assert [core.name for core in read_cores(saved(tmp_path, content))] == ["A-1", "A-2"]
    assert read_cores(saved(tmp_path, feature("A-1", 0, 0)))["A-1"].diameter == pytest.approx(20)


def test_annotations_with_names_are_cores_where_there_are_no_tma_cores(tmp_path: Path) -> None:
    parts = {"type": "MultiPolygon", "coordinates": [[ring(0, 0, 5)], [ring(20, 10, 5)]]}
    mixed = {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [80, 0]}, parts]}
    line = {"type": "LineString", "coordinates": [[0, 0], [5, 5]]}
    content = collection(
        feature("torn", 0, 0, "annotation") | {"geometry": parts},
        feature("mixed", 0, 0, "annotation") | {"geometry": mixed},
        feature("point", 0, 0, "annotation") | {"geometry": {"type": "Point", "coordinates": [50, 60]}},
        feature("ruler", 0, 0, "annotation") | {"geometry": line},
        feature(None, 0, 0, "annotation"),
        feature("t1", 0, 0, "tile"),
    )
    found = read_cores_file(saved(tmp_path, content))
    assert found.remark == "Passed over, being no cores: 1 x LineString, 1 x annotation without a name, 1 x tile."
    torn, both, point = found.grid
    assert (torn.x, torn.y, torn.diameter) == (10, 5, 30)
    assert (both.x, both.y, both.diameter) == (37.5, 5, 85)
    assert (point.x, point.y, point.diameter) == (50, 60, 57.5)  # as large as the others
    assert {core.row for core in found.grid} == {-1}


def test_of_what_was_drawn_beside_our_cores_only_what_is_called_as_one_is_a_core(tmp_path: Path) -> None:
    content = written(tmp_path)
    content["features"] += [feature("Tumour", 1, 1, "annotation"), feature("B 3", 500, 300, "annotation")]
    content["features"] = [f for f in content["features"] if f["properties"]["name"] != "A-2"]
    content["features"].append(feature("A-2", 300, 100, "annotation"))  # drawn anew
    found = read_cores_file(saved(tmp_path, content))
    assert found.remark == "Passed over, being no cores: 1 x annotation called Tumour."
    assert {c.name: (c.row, c.column) for c in found.grid} == {
        **{"A-1": (0, 0), "B-1": (1, 0), "B-2": (1, 1), "B 3": (-1, -1), "A-2": (0, 1)}
    }


def test_old_files_of_qupath_are_read(tmp_path: Path) -> None:
    old = feature("A-1", 0, 0, measurements=[{"name": "HER2: P(0)", "value": 0.5}])
    old["id"] = "TMACoreObject"
    del old["properties"]["objectType"]
    cell = feature(None, 0, 0) | {"id": "PathCellObject"}
    del cell["properties"]["objectType"]
    found = read_cores_file(saved(tmp_path, [old, cell]))
    assert [core.name for core in found.grid] == ["A-1"]
    assert found.remark == "Passed over, being no cores: 1 x cell."


@pytest.mark.parametrize(
    ("names", "corner", "turned"),
    [
        (("A-{c}", "B-{c}", "C-{c}"), (0, 0), 0),
        (("{c}-A", "{c}-B", "{c}-C"), (0, 0), 0),  # column first
        (("1-{l}", "2-{l}", "3-{l}"), (0, 0), 0),  # rows are numbers, columns letters
        (("C-{c}", "B-{c}", "A-{c}"), (0, 0), 0),  # from the bottom
        (("D-0{c}", "E-0{c}", "G-0{c}"), (0, 0), 0),  # a row between has no core
        (("1-{c}", "2-{c}", "3-{c}"), (0, 0), 0),
        (("A-{c}", "B-{c}", "C-{c}"), (9e4, -5e3), 30),
    ],
)
def test_rows_and_columns_are_read_off_the_names(
    tmp_path: Path, names: tuple[str, ...], corner: tuple[float, float], turned: float
) -> None:
    turn = np.exp(1j * np.deg2rad(turned))
    features = []
    for r in range(3):
        for c in range(4):
            z = (40 * c + 40j * r) * turn
            features.append(feature(names[r].format(c=c + 1, l="ABCD"[c]), corner[0] + z.real, corner[1] + z.imag))
    grid = read_cores(saved(tmp_path, collection(*features[::-1])))
    rows = (0, 1, 3) if names[2].startswith("G") else (0, 1, 2)
    assert [(core.row, core.column) for core in reversed(grid.cores)] == [(r, c) for r in rows for c in range(4)]


def test_blocks_stand_before_the_names(tmp_path: Path) -> None:
    features = [feature(f"{b}:A-{c + 1}", 40 * c + 900 * b, 0) for b in (1, 2) for c in range(3)]
    grid = read_cores(saved(tmp_path, collection(*features)))
    assert [(core.block, core.row, core.column) for core in grid] == [(b, 0, c) for b in "12" for c in range(3)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (collection(feature(None, 0, 0, "detection")), r"No object in it is a core \(1 x detection\)"),
        (collection(feature("A-1", 0, 0) | {"geometry": {"type": "Point", "coordinates": [1, 2]}}), "without a size"),
        (collection(feature("A-1", 0, 0), feature("A-1", 9, 9)), "Two cores are called A-1"),
        (collection(feature("A-1", 0, 0) | {"geometry": None}), "is not GeoJSON of cores"),
        (
            collection(feature("A-1", 0, 0) | {"geometry": {"type": "Polygon", "coordinates": []}}),
            "is not GeoJSON of cores",
        ),
        (
            collection(feature("A-1", 0, 0) | {"geometry": {"type": "Polygon", "coordinates": [[["a", "b"]]]}}),
            "is not GeoJSON",
        ),
        (collection({"type": "Feature", "geometry": {}, "properties": 5}), "is not GeoJSON of cores"),
        ({"type": "Polygon", "coordinates": []}, "is not GeoJSON of cores"),
        ("text", "is not GeoJSON of cores"),
        (None, "is not GeoJSON of cores"),
        ([[[]]], "is not GeoJSON of cores"),
    ],
    ids=range(11),
)
def test_foreign_geojson_is_refused_in_one_sentence(tmp_path: Path, content: object, says: str) -> None:
    with pytest.raises(CoresError, match=says) as error:
        read_cores(saved(tmp_path, content))
    assert "\n" not in str(error.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.sampled_from(["Polygon", "Point", "tmaCore"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["features", "geometry", "properties", "name", "type", "coordinates", "metadata"]), inner
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    path = saved(tmp_path_factory.getbasetemp(), content)
    with pytest.raises(CoresError):  # without a core in it, it cannot be anything else
        read_cores(path)
