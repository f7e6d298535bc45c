from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
import tifffile

from napari_her2.colours import SCORE_COLOURS
from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.errors import CoresError, OutputError
from napari_her2.export import ENDINGS, Run, check_results, read_cores, read_cores_file, write_results
from napari_her2.export.report_rows import agreements
from napari_her2.heatmap import Heatmap
from napari_her2.membrane.measurement import Measurement
from napari_her2.models import ScoringModel
from napari_her2.scores import CoreScore, Places
from napari_her2.slide import Slide
from napari_her2.stain import Stains
from napari_her2.table import COLUMNS, cores_table

WITHOUT_REGIONS = [e for e in ENDINGS if e != ".regions.geojson"]


def places_on(core: Core, grade: float) -> Places:
    step = np.linspace(-0.3, 0.3, 9) * core.diameter
    y, x = (a.ravel() for a in np.meshgrid(core.y + step, core.x + step, indexing="ij"))
    full = np.ones(y.size)
    return Places(y, x, 40 * full, np.float32(grade * full), np.float32(full), full / y.size)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A slide of 2 x 2 cores: two scored (one indeterminate), one missing, one that could not be read."""
    pixels = np.full((900, 900, 3), (236, 233, 240), np.uint8)
    yy, xx = np.mgrid[:900, :900]
    cores = []
    for row in range(2):
        for column in range(2):
            y, x = 220.0 + 440 * row, 220.25 + 440 * column
            cores.append(Core("AB"[row] + f"-{column + 1}", row, column, y=y, x=x, diameter=361.5))
            pixels[np.hypot(yy - y, xx - x) < 180] = (200 - 40 * row, 150 - 30 * column, 160)
    cores[0] = Core(**{**_fields(cores[0]), "patient_id": "=HYPERLINK(1)", "note": "Größe <b>&amp; 'µ'", "block": "-x"})
    cores[1] = replace(cores[1], extra={"Age": "63", "=SUM(A1)": "-2.5"}, found_confidence=0.1 + 0.2)
    cores[2] = Core(**{**_fields(cores[2]), "state": CoreState.MISSING, "reason": "No tissue."})
    slide = Slide.from_arrays(pixels, name="tma 1", mpp=0.5, mpp_source="given", path=tmp_path / "secret" / "tma 1.tif")
    scores = {
        "A-1": CoreScore(cores[0], "3+", (0.01, 0.04, 0.15, 0.8), 2.8, places=places_on(cores[0], 2.8)),
        "A-2": CoreScore(
            cores[1],
            "1+",
            (0.3, 0.4, 0.2, 0.1),
            0.9,
            indeterminate=True,
            reason="Between 1+ and 0: confidence 0.40.",
            places=places_on(cores[1], 0.9),
        ),
        "B-2": CoreScore(cores[3], failed=True, reason="tma 1 cannot be read there."),
    }
    heatmap = Heatmap.of(slide)
    for score in scores.values():
        heatmap.add(score)
    card = {"intended_use": "Research use only.", "measured_on": {"cores": 12, "kappa": 0.81234}}
    model = ScoringModel("mock", "0.1", card=card, weights_sha256="ab" * 32)
    provenance = {"seed": 3, "parameters": {"select": "*"}, "seconds": {"finding": 0.5, "inference": 1.25}}
    return Run(slide, CoreGrid(tuple(cores)), scores, model, heatmap, provenance)


def _fields(core: Core) -> dict[str, object]:
    return {name: getattr(core, name) for name in core.__dataclass_fields__}


def features(path: Path) -> dict[str, dict]:
    return {f["properties"]["name"]: f for f in json.loads(path.read_text(encoding="utf-8"))["features"]}


def test_six_files_with_the_name_of_the_slide_and_nothing_else(tmp_path: Path, run: Run) -> None:
    written = write_results(tmp_path / "new" / "out", run)
    assert [p.name for p in written] == ["tma 1" + e for e in WITHOUT_REGIONS]
    assert sorted(p.name for p in (tmp_path / "new" / "out").iterdir()) == sorted(p.name for p in written)


def test_a_slide_without_rows_has_no_grid_for_qupath(tmp_path: Path, run: Run) -> None:
    off = CoreGrid(tuple(replace(core, row=-1, column=-1) for core in run.grid))
    far = run.grid.with_core(replace(run.grid["A-1"], row=10**6, column=10**6))
    for k, grid in enumerate((off, far)):
        names = [path.name for path in write_results(tmp_path / str(k), replace(run, grid=grid))]
        assert names == ["tma 1" + e for e in WITHOUT_REGIONS if e != ".qptma"]
        assert read_cores(tmp_path / str(k) / "tma 1.cores.geojson") == grid


def test_results_are_not_overwritten_unasked(tmp_path: Path, run: Run) -> None:
    write_results(tmp_path, run)
    with pytest.raises(OutputError, match=r"already holds tma 1\.cores\.csv.*--overwrite"):
        write_results(tmp_path, run)
    with pytest.raises(OutputError, match="already holds"):
        check_results(tmp_path, "tma 1")
    write_results(tmp_path, replace(run, scores={}), overwrite=True)
    assert set(pd.read_csv(tmp_path / "tma 1.cores.csv")["her2_score"].isna()) == {True}


def test_csv_has_the_columns_and_escapes_what_a_spreadsheet_would_run(tmp_path: Path, run: Run) -> None:
    write_results(tmp_path, run)
    with (tmp_path / "tma 1.cores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == (*COLUMNS, "Age", "'=SUM(A1)")
    assert (rows[1]["Age"], rows[1]["'=SUM(A1)"]) == ("63", "'-2.5")
    assert (rows[0]["patient_id"], rows[0]["block"]) == ("'=HYPERLINK(1)", "'-x")
    assert rows[0]["her2_score"] == "3+"
    assert (rows[0]["row"], rows[0]["x"], rows[0]["x_um"]) == ("0", "220.25", "110.125")
    assert (rows[1]["indeterminate"], rows[1]["confidence"]) == ("yes", "0.4")
    assert (rows[2]["state"], rows[2]["her2_score"], rows[2]["p_0"], rows[2]["h_score"]) == ("missing", "", "", "")


@pytest.mark.parametrize("ending", [".cores.csv", ".cores.geojson"])
def test_both_tables_give_the_same_grid_back(tmp_path: Path, run: Run, ending: str) -> None:
    write_results(tmp_path, run)
    assert read_cores(tmp_path / f"tma 1{ending}") == run.grid


@pytest.mark.parametrize("ending", [".cores.csv", ".cores.geojson"])
def test_both_tables_give_the_scores_back(tmp_path: Path, run: Run, ending: str) -> None:
    write_results(tmp_path, run)
    found = read_cores_file(tmp_path / f"tma 1{ending}")
    assert found.grid == run.grid
    assert found.remark == ""
    expected = cores_table(run.slide.name, run.grid, run.scores, run.slide.mpp)
    pd.testing.assert_frame_equal(found.table, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("ending", [".cores.csv", ".cores.geojson"])
def test_both_tables_give_the_measurements_back(tmp_path: Path, run: Run, ending: str) -> None:
    measured = {
        "A-1": Measurement("1+", "1+: 12 % of 800 cells.", (88.0, 10.0, 2.0, 0.0), 14.0, completeness=0.25),
        "A-2": Measurement(sentence="Not scorable: 12 tumour-like cells.", flags=("Little epithelium.", "Fold.")),
        "B-2": Measurement("0", "-3 is no sentence, but text"),
    }
    write_results(tmp_path, replace(run, measured=measured))
    found = read_cores_file(tmp_path / f"tma 1{ending}")
    expected = cores_table(run.slide.name, run.grid, run.scores, run.slide.mpp, measured)
    assert next(iter(expected["opinions_differ"])) == 2
    pd.testing.assert_frame_equal(found.table, expected, rtol=1e-6, atol=1e-9)
    assert found.grid == run.grid


def test_a_measured_core_has_measurements_for_qupath_without_a_score(tmp_path: Path, run: Run) -> None:
    measured = {"A-1": Measurement("2+", "2+: 40 % of 800 cells.", (50.0, 10.0, 40.0, 0.0), 90.0, completeness=0.5)}
    write_results(tmp_path, replace(run, measured=measured, scores={}))
    properties = features(tmp_path / "tma 1.cores.geojson")["A-1"]["properties"]
    assert "classification" not in properties
    assert properties["measurements"]["HER2 measured: score"] == 2
    assert properties["measurements"]["HER2 measured: % of cells 2+"] == 40
    assert properties["metadata"]["measured_reason"] == "2+: 40 % of 800 cells."
    assert "measurements" not in features(tmp_path / "tma 1.cores.geojson")["A-2"]["properties"]


def test_a_score_that_is_none_is_refused_and_one_without_probabilities_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("core,x,y,diameter,her2_score,indeterminate\nA-1,1,2,3,2+,no\nA-2,1,2,3,,\n")
    found = read_cores_file(path)
    assert found.remark == "1 scores without probabilities were not taken."
    assert list(found.table["her2_score"]) == list(found.table["indeterminate"]) == ["", ""]
    path.write_text("core,x,y,diameter,her2_score\nA-1,1,2,3,high\n")
    with pytest.raises(CoresError, match=r'a\.csv: The her2_score of core A-1 is "high"'):
        read_cores_file(path)
    path.write_text("core,x,y,diameter,measured_score\nA-1,1,2,3,4+\n")
    with pytest.raises(CoresError, match=r'a\.csv: The measured_score of core A-1 is "4\+"'):
        read_cores_file(path)


def test_without_a_pixel_size_the_micrometres_stay_empty(tmp_path: Path, run: Run) -> None:
    write_results(tmp_path, replace(run, slide=replace(run.slide, mpp=None, mpp_source="")))
    table = pd.read_csv(tmp_path / "tma 1.cores.csv")
    assert table["diameter_um"].isna().all()
    assert "Physical" not in tifffile.tiffcomment(tmp_path / "tma 1.heatmap.ome.tif")
    assert "unknown" in (tmp_path / "tma 1.report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_written_by_hand_is_read(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "hand.csv"
    text = "core,x,y,diameter,note\nA-1,10.5,20,5,'@home\nA-2,30,20,5,'tis\n"
    path.write_text(text.replace(",", delimiter), encoding="utf-8-sig")
    first, second = read_cores(path)
    assert (first.x, first.y, first.note, second.note) == (10.5, 20, "@home", "'tis")


def test_a_table_that_a_spreadsheet_saved_with_decimal_commas_is_read(tmp_path: Path) -> None:
    path = tmp_path / "hand.csv"
    path.write_bytes("core;x;y;diameter;note;Größe\r\nA-1;10,5;20;5,25;2,5 mm;1,5\r\n".encode("cp1252"))
    (core,) = read_cores(path)
    assert (core.x, core.diameter, core.note, core.extra) == (10.5, 5.25, "2,5 mm", {"Größe": "1,5"})


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("absent.csv", None, "There is no file .*absent.csv"),
        ("a.csv", b"", "a.csv: .*no column core, x, y, diameter"),
        ("a.csv", b"name,x\nA-1,3\n", "a.csv: .*no column core, y, diameter"),
        ("a.csv", b"core,x,y,diameter\n", "a.csv: .*holds no core"),
        ("a.csv", b"\x89PNG\r\n\x1a\n\xff\xfe", "a.csv is not a table of cores"),
        ("a.geojson", b"{", "a.geojson is not GeoJSON of cores"),
        ("a.geojson", b'{"type": "Feature"}', "a.geojson is not GeoJSON of cores"),
        ("a.geojson", b'{"features": []}', "a.geojson: .*holds no core"),
        ("a.geojson", b"[" * 100_000, "a.geojson is not GeoJSON of cores"),
    ],
)
def test_a_foreign_file_of_cores_is_refused_in_one_sentence(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CoresError, match=says):
        read_cores(tmp_path / name)


def test_geojson_is_what_qupath_accepts(tmp_path: Path, run: Run) -> None:
    write_results(tmp_path, run)
    by_name = features(tmp_path / "tma 1.cores.geojson")
    assert list(by_name) == ["A-1", "A-2", "B-1", "B-2"]
    assert len({UUID(f["id"]) for f in by_name.values()}) == 4
    for feature, core in zip(by_name.values(), run.grid, strict=True):
        properties, geometry = feature["properties"], feature["geometry"]
        assert properties["objectType"] == "annotation"
        assert all(isinstance(v, str) for v in properties["metadata"].values())
        ring = np.array(geometry["coordinates"][0])
        assert geometry["isEllipse"] is True
        assert geometry["type"] == "Polygon"
        assert ring.shape == (65, 2)
        np.testing.assert_array_equal(ring[0], ring[-1])
        np.testing.assert_allclose(np.hypot(*(ring - (core.x, core.y)).T), core.diameter / 2)
        np.testing.assert_allclose(np.ptp(ring, axis=0), core.diameter)
        if "classification" in properties:  # a name without a colour makes QuPath throw
            assert set(properties["classification"]) == {"name", "color"}
    scored = by_name["A-1"]["properties"]
    assert scored["classification"]["name"] == "HER2 3+"
    assert "#{:02x}{:02x}{:02x}".format(*scored["classification"]["color"]) == SCORE_COLOURS["3+"]
    assert scored["measurements"]["HER2: score"] == 3
    assert scored["measurements"]["HER2: P(2+)"] == 0.15
    assert scored["metadata"]["Case ID"] == "=HYPERLINK(1)"  # QuPath runs no cells: nothing is escaped there
    assert by_name["B-1"]["properties"]["isMissing"] is True
    assert "classification" not in by_name["B-2"]["properties"]


def test_ids_are_the_same_each_time_and_differ_between_slides(tmp_path: Path, run: Run) -> None:
    other = replace(run, slide=replace(run.slide, name="tma 2"))
    for folder, what in (("a", run), ("b", run), ("c", other)):
        write_results(tmp_path / folder, what)
    a, b, c = ({f["id"] for f in features(next((tmp_path / folder).glob("*.geojson"))).values()} for folder in "abc")
    assert a == b
    assert not a & c


def test_a_core_moved_or_renamed_in_qupath_comes_back_moved(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "tma 1.cores.geojson"
    write_results(tmp_path, run)
    content = json.loads(path.read_text(encoding="utf-8"))
    moved = content["features"][0]
    moved["geometry"]["coordinates"] = [[[x + 7, y - 3] for x, y in moved["geometry"]["coordinates"][0]]]
    moved["properties"]["name"] = "Z-9"
    path.write_text(json.dumps(content["features"]), encoding="utf-8")  # QuPath may also export a bare list
    core = read_cores(path)["Z-9"]
    assert (core.x, core.y, core.diameter) == pytest.approx((227.25, 217.0, 361.5))


def test_heatmap_is_a_small_tiled_float_image_in_place(tmp_path: Path, run: Run) -> None:
    write_results(tmp_path, run)
    path = tmp_path / "tma 1.heatmap.ome.tif"
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        assert (page.dtype, page.is_tiled, page.shape) == (np.float32, True, run.heatmap.image.shape)
        np.testing.assert_array_equal(page.asarray(), run.heatmap.image)
        assert np.isnan(page.asarray()).any()
        assert np.isfinite(page.asarray()).any()
        assert "Expected HER2 score 0..3" in tiff.ome_metadata
    assert path.stat().st_size < 20_000
    heatmap = tifffile.xml2dict(tifffile.tiffcomment(path))["OME"]["Image"]["Pixels"]
    assert (heatmap["PhysicalSizeX"], heatmap["PhysicalSizeXUnit"]) == (16.0, "µm")


def test_run_json_says_how_it_came_about(tmp_path: Path, run: Run) -> None:
    write_results(tmp_path, run)
    record = json.loads((tmp_path / "tma 1.run.json").read_text(encoding="utf-8"))
    assert record["model"] == {"name": "mock", "version": "0.1", "sha256": "ab" * 32}
    assert record["counts"] == {
        **{"cores": 4, "tissue": 3, "missing": 1, "excluded": 0},
        **{"0": 0, "1+": 1, "2+": 0, "3+": 1, "indeterminate": 1, "unscored": 1},
    }
    assert (record["image"]["pixel_size_um"], record["image"]["pixel_size_source"]) == (0.5, "given")
    assert (record["seed"], record["seconds"]["finding"]) == (3, 0.5)
    assert {"python", "napari-her2", "numpy", "tifffile"} <= set(record["software"])


def test_report_stands_alone_and_says_what_it_is(tmp_path: Path, run: Run) -> None:
    write_results(tmp_path, run)
    text = (tmp_path / "tma 1.report.html").read_text(encoding="utf-8")
    assert "Research use only" in text
    assert text.count("data:image/jpeg;base64,") == 1 + 4 + 2  # the slide, the cores, and the heatmaps of two
    assert not any(word in text for word in ("http://", "https://", 'src="/', "<script ", "<link", "url(", "@import"))
    assert "Größe &lt;b&gt;&amp;amp;" in text  # a note is text, never markup
    assert "Between 1+ and 0: confidence 0.40." in text
    assert "kappa: 0.8123" in text
    for colour in ("3+", "1+"):
        assert f'stroke="{SCORE_COLOURS[colour]}"' in text


def test_the_report_puts_different_opinions_first_and_asks_for_ish(tmp_path: Path, run: Run) -> None:
    measured = {
        "A-1": Measurement(
            "2+", "2+: 40 % of 800 cells.", (50.0, 10.0, 40.0, 0.0), 90.0, 0.1, 0.5, flags=("Fold: <b>.",)
        ),
        "A-2": Measurement("3+", "3+: 64 % of 900 cells.", (20.0, 10.0, 6.0, 64.0), 214.0, 0.3, 0.8),
    }
    grid = run.grid.with_core(replace(run.grid["A-1"], extra={"ISH": "Negative"}, reader_score="3+"))
    write_results(tmp_path, replace(run, measured=measured, grid=grid))
    text = (tmp_path / "tma 1.report.html").read_text(encoding="utf-8")
    places = [text.index(f'<td class="name">{name}<') for name in ("A-2", "A-1", "B-1", "B-2")]
    assert places == sorted(places)  # differ by 2, by 1, then the order of the grid
    assert "differ by 2" in text
    assert "2+: 40 % of 800 cells." in text
    assert "H-score 214 of 300" in text
    assert "⚑ Fold: &lt;b&gt;." in text
    assert "ISH: negative" in text
    assert "HER2-low (2+, ISH negative)" in text
    kinds = {a.between: a for a in agreements(replace(run, measured=measured, grid=grid))}
    assert (kinds["network and measurement"].n, kinds["network and measurement"].same) == (2, 0)
    assert kinds["network and measurement"].off_by_two == 0.5
    assert (kinds["network and reader"].n, kinds["network and reader"].same) == (1, 1)


def test_a_report_of_gastric_rules_makes_no_remark_of_breast(tmp_path: Path, run: Run) -> None:
    measured = {"A-1": Measurement("1+", "1+: 12 % of 800 cells.", (88.0, 10.0, 2.0, 0.0), 14.0, 0.1, 0.2)}
    breast = replace(run, measured=measured, scores={}, model=None, heatmap=None)
    write_results(tmp_path / "a", breast)
    rules = {
        "rules": "Gastric/GEJ resection",
        "batch": "",
        "thresholds_od": {"faint": 0.02, "moderate": 0.1, "intense": 0.3},
    }
    rules |= {"stains": Stains().to_dict()}
    write_results(tmp_path / "b", replace(breast, provenance=run.provenance | {"measurement": rules}))
    pages = [(tmp_path / f / "tma 1.report.html").read_text(encoding="utf-8") for f in "ab"]
    assert ["HER2-low (1+)" in page for page in pages] == [True, False]
    assert "Gastric/GEJ resection" in pages[1]


def test_nothing_written_holds_a_folder_of_this_machine(tmp_path: Path, run: Run) -> None:
    for path in write_results(tmp_path, run):
        content = path.read_bytes()
        assert b"secret" not in content, path.name
        assert str(tmp_path).encode() not in content, path.name
    assert b"HYPERLINK" not in (tmp_path / "tma 1.report.html").read_bytes()  # a report names no patient


def test_a_core_that_cannot_be_read_costs_the_report_one_picture(tmp_path: Path, run: Run) -> None:
    class Damaged:
        shape, dtype, ndim = run.slide.levels[0].shape, np.dtype(np.uint8), 3

        def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
            if key[0].start > 300 and key[1].start > 300:
                raise ValueError("bad tile")
            return run.slide.levels[0][key]

    write_results(tmp_path, replace(run, slide=Slide.from_arrays(Damaged(), name="tma 1", mpp=0.5)))
    text = (tmp_path / "tma 1.report.html").read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 1 + 3 + 2
    assert "cannot be read around" in text


def test_cores_without_scores_make_a_report_of_places(tmp_path: Path, run: Run) -> None:
    written = write_results(tmp_path, replace(run, scores={}, model=None, heatmap=None))
    assert [p.name.removeprefix("tma 1") for p in written] == [e for e in WITHOUT_REGIONS if "heatmap" not in e]
    text = written[-2].read_text(encoding="utf-8")
    assert "Probabilities" not in text
    assert "No tissue." in text
