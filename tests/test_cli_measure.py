"""`measure`, and the second opinion of `score`: on a picture of drawn cells."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cli_slides import check_sentence, cli, rows, write_slide
from discs import MockEngine, Pieces
from napari_her2.finders import FINDERS
from napari_her2.models import ScoringModel
from napari_her2.scores import SCORES
from napari_her2.slide import Slide
from napari_her2.stain import QUPATH_STAINS
from test_measure import cells


@pytest.fixture
def core(tmp_path: Path) -> Path:
    """One core of 0.5 µm per pixel, 3+ by its membranes."""
    return write_slide(tmp_path / "core.ome.tif", cells(0.8, side=17), mpp=0.5)


def test_measure_needs_no_model_and_writes_the_same_files(
    tmp_path: Path, core: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_model(name: str = "") -> ScoringModel:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("napari_her2.models.load_model", no_model)
    result = cli("measure", core, "-o", tmp_path / "out", "--single-core")
    assert result.exit_code == 0, result.output
    names = {path.name.removeprefix("core") for path in (tmp_path / "out").iterdir()}
    assert names == {".cores.csv", ".cores.geojson", ".qptma", ".report.html", ".run.json"}
    row = rows(tmp_path / "out", "core").loc["A-1"]
    assert (row["her2_score"], row["measured_score"], row["opinions_differ"]) == ("", "3+", "")
    assert row["measured_reason"].startswith("3+: ")
    assert float(row["percent_3"]) > 80
    record = json.loads((tmp_path / "out" / "core.run.json").read_text())
    assert record["measurement"]["rules"] == "ASCO/CAP breast 2018/2023"
    assert (record["model"], record["measured_counts"]["3+"]) == (None, 1)
    page = (tmp_path / "out" / "core.report.html").read_text(encoding="utf-8")
    assert row["measured_reason"] in page
    assert "Heatmap" not in page


def test_stains_of_one_run_measure_the_next(tmp_path: Path, core: Path) -> None:
    record = tmp_path / "a" / "core.run.json"
    assert cli("measure", core, "-o", tmp_path / "a", "--single-core").exit_code == 0
    content = json.loads(record.read_text())
    content["measurement"]["stains"]["dab"] = [0.28, 0.57, 0.77]
    record.write_text(json.dumps(content))
    assert cli("measure", core, "-o", tmp_path / "b", "--single-core", "--stains", record).exit_code == 0
    used = json.loads((tmp_path / "b" / "core.run.json").read_text())
    assert used["measurement"]["stains"]["dab"] == [0.28, 0.57, 0.77]
    assert used["measurement"]["stains_file"] == "core.run.json"
    record.write_text('{"cores": 3}')
    result = cli("measure", core, "-o", tmp_path / "c", "--single-core", "--stains", record)
    assert result.exit_code == 1
    check_sentence(result, "run.json|stored stains")


def test_where_nothing_is_measured_stains_serve_normalised_colours(
    tmp_path: Path, core: Path, mock_engine: MockEngine, mock_model: ScoringModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_her2.models.load_model", lambda name="": mock_model)
    file = tmp_path / "stains.json"
    file.write_text(json.dumps(QUPATH_STAINS.to_dict() | {"dab": [0.28, 0.57, 0.77]}))
    arguments = ("score", core, "-o", tmp_path / "out", "--single-core", "--no-measure", "--stains", file)
    result = cli(*arguments, "--normalise")
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "out" / "core.run.json").read_text())
    assert told["normalised"]["stains"]["dab"] == [0.28, 0.57, 0.77]
    assert "measurement" not in told
    assert cli(*arguments, "--overwrite").exit_code == 2


def test_score_hands_its_tumour_to_the_measurement_and_says_where_they_differ(
    tmp_path: Path, mock_engine: MockEngine, mock_model: ScoringModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_her2.models.load_model", lambda name="": mock_model)
    handed: list[object] = []
    from napari_her2 import measure

    whole = measure.measure_core

    def watched(*args: object, places: object = None, **others: object) -> measure.Measurement:
        handed.append(places)
        return whole(*args, places=places, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(measure, "measure_core", watched)
    # membranes of 3+, whose mean colour is that of 0 or 1+
    core = write_slide(tmp_path / "core.ome.tif", cells(0.8, side=17), mpp=0.5)
    result = cli("score", core, "-o", tmp_path / "out", "--single-core")
    assert result.exit_code == 0, result.output
    assert "they differ on 1" in result.stdout.replace("\n", " ")
    row = rows(tmp_path / "out", "core").loc["A-1"]
    assert row["measured_score"] == "3+"
    assert float(row["opinions_differ"]) == 3 - SCORES.index(row["her2_score"])
    (places,) = handed
    assert len(places) > 0  # type: ignore[arg-type]
    page = (tmp_path / "out" / "core.report.html").read_text(encoding="utf-8")
    assert "differ by" in page


def test_thresholds_of_a_batch_come_from_its_controls_and_hold_for_its_rules(tmp_path: Path) -> None:
    lines = ["image,core,score,patient"]
    for name, brown, share, score in (("a", 0.0, 1.0, "0"), ("b", 0.045, 0.5, "1+"), ("c", 0.22, 1.0, "3+")):
        write_slide(tmp_path / f"{name}.ome.tif", cells(brown, share, side=17), mpp=0.5)
        lines.append(f"{name}.ome.tif,,{score},{name}")
    (tmp_path / "controls.csv").write_text("\n".join(lines))
    pale = tmp_path / "pale.json"
    result = cli("calibrate", tmp_path / "controls.csv", "-o", pale, "--batch", "march", "--measure")
    assert result.exit_code == 0, result.output
    assert "march: Thresholds times 0." in result.stdout.replace("\n", " ")
    core = tmp_path / "c.ome.tif"
    for folder, options in (("a", ()), ("b", ("--measure-calibration", pale))):
        assert cli("measure", core, "-o", tmp_path / folder, "--single-core", *options).exit_code == 0
    assert [rows(tmp_path / f, "c").loc["A-1", "measured_score"] for f in "ab"] == ["2+", "3+"]
    assert json.loads((tmp_path / "b" / "c.run.json").read_text())["measurement"]["batch"] == "march"
    wrong = cli(
        *("measure", core, "-o", tmp_path / "d", "--single-core"),
        *("--measure-calibration", pale, "--rules", "gastric-resection"),
    )
    assert wrong.exit_code == 1
    check_sentence(wrong, "made by the rules ASCO/CAP breast")
    pale.write_text("{}")
    result = cli("measure", core, "-o", tmp_path / "d", "--single-core", "--measure-calibration", pale)
    check_sentence(result, "no calibration of measured staining")


@pytest.mark.parametrize(
    "arguments",
    [
        ("measure", "a.tif", "-o", "out", "--rules", "lung"),
        ("score", "a.tif", "-o", "out", "--no-measure", "--stains", "b.json"),
        ("score", "a.tif", "-o", "out", "--no-measure", "--pages"),
        ("measure", "a.tif", "b.tif", "-o", "out", "--regions", "c.geojson"),
        ("measure", "a.tif", "-o", "out", "--single-core", "--cores", "c.csv"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli(*arguments).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_core_that_cannot_be_measured_costs_only_itself(
    tmp_path: Path, core: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_her2.errors import SlideError

    def damaged(slide: Slide, *args: int) -> np.ndarray:
        raise SlideError("core cannot be read there.")

    monkeypatch.setattr("napari_her2.measure.read_square", damaged)
    result = cli("measure", core, "-o", tmp_path / "out", "--single-core")
    assert result.exit_code == 3
    check_sentence(result, "core A-1 of core: Not scorable: core cannot be read there")


def test_pages_are_written_and_linked_and_one_that_fails_is_told(
    tmp_path: Path, core: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = cli("measure", core, "-o", tmp_path / "out", "--single-core", "--pages")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "out" / "core.pages" / "A-1.html").read_text(encoding="utf-8")
    row = rows(tmp_path / "out", "core").loc["A-1"]
    assert row["measured_reason"] in page
    assert "cells of class 3+, on which the score rests" in page
    report = tmp_path / "out" / "core.report.html"
    assert 'href="core.pages/A-1.html"' in report.read_text(encoding="utf-8")

    from napari_her2.errors import SlideError

    def damaged(*_: object) -> None:
        raise SlideError("core cannot be read there.")

    monkeypatch.setattr("napari_her2.export.pages.core_pictures", damaged)
    result = cli("measure", core, "-o", tmp_path / "b", "--single-core", "--pages")
    assert result.exit_code == 3
    check_sentence(result, "core A-1 of core: Its page was not written: core cannot be read there")
    assert rows(tmp_path / "b", "core").loc["A-1", "measured_score"] == "3+"
    assert "core.pages" not in (tmp_path / "b" / "core.report.html").read_text(encoding="utf-8")


def regions_file(path: Path, *outlines: tuple[str, float, float, float, float]) -> Path:
    """Rectangles: class, x, y, width, height."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[[x, y], [x + w, y], [x + w, y + h], [x, y + h], [x, y]]]},
            "properties": {"objectType": "annotation", "classification": {"name": kind}},
        }
        for kind, x, y, w, h in outlines
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_cells_are_counted_in_the_regions_of_a_file_only_and_the_record_says_so(tmp_path: Path) -> None:
    # the left half of the cells is stained
    core = write_slide(tmp_path / "core.ome.tif", cells(0.8, side=21, stained=0.5), mpp=0.5)
    left, right = ("Count here", 40.0, 100.0, 250.0, 400.0), ("Count here", 350.0, 100.0, 200.0, 400.0)
    shares = []
    for number, drawn in enumerate(([left], [right], [left, right, ("Leave out", 0.0, 0.0, 300.0, 600.0)])):
        file = regions_file(tmp_path / f"{number}.geojson", *drawn)
        out = tmp_path / str(number)
        result = cli("measure", core, "-o", out, "--single-core", "--regions", file)
        assert result.exit_code == 0, result.output
        shares.append(float(rows(out, "core").loc["A-1", "percent_3"]))
        record = json.loads((out / "core.run.json").read_text())
        assert [r["measured"] for r in record["regions"]] == [["A-1"]] * len(drawn)
        assert record["measurement"]["regions_file"] == f"{number}.geojson"
    assert shares[0] > 80
    assert shares[1:] == [0, 0]
    # what was drawn is written beside the results, and can be given again
    again = cli(
        "measure", core, "-o", tmp_path / "c", "--single-core", "--regions", tmp_path / "0/core.regions.geojson"
    )
    assert again.exit_code == 0, again.output
    assert float(rows(tmp_path / "c", "core").loc["A-1", "percent_3"]) == shares[0]


def test_regions_off_every_core_or_of_no_use_stop_the_run_with_one_sentence(tmp_path: Path, core: Path) -> None:
    far, near = ("Count here", 9000.0, 9000.0, 50.0, 50.0), ("Leave out", 200.0, 200.0, 30.0, 30.0)
    for drawn, sentence in (
        ([far], "No region in r.geojson lies on a core of core that is measured"),
        ([("Tumor", 0.0, 0.0, 50.0, 50.0)], 'no polygon of the class "Count here"'),
    ):
        file = regions_file(tmp_path / "r.geojson", *drawn)
        result = cli("measure", core, "-o", tmp_path / "out", "--single-core", "--regions", file)
        assert result.exit_code == 1
        check_sentence(result, sentence)
    file = regions_file(tmp_path / "r.geojson", far, near)
    result = cli("measure", core, "-o", tmp_path / "out", "--single-core", "--regions", file)
    assert result.exit_code == 0, result.output
    assert "1 of 2 regions in r.geojson lie on no core that is measured" in " ".join(result.stderr.split())


def test_nuclei_of_a_finder_are_measured_and_the_results_say_whose_they_are(
    tmp_path: Path, core: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, str]] = []

    def opened(weights: Path, device: str) -> Pieces:
        asked.append((weights, device))
        return Pieces()

    monkeypatch.setitem(FINDERS, "cellpose", opened)
    weights = tmp_path / "pieces.pt"
    weights.touch()
    chosen = ("--nuclei", "cellpose", "--nuclei-weights", weights, "--device", "cpu", "--pages")
    result = cli("measure", core, "-o", tmp_path / "out", "--single-core", *chosen)
    assert result.exit_code == 0, result.output
    assert asked == [(weights, "cpu")]
    assert rows(tmp_path / "out", "core").loc["A-1", "measured_score"] == "3+"
    assert json.loads((tmp_path / "out" / "core.run.json").read_text())["measurement"]["nuclei"] == {
        "finder": "cellpose",
        "package": "pieces 1.0",
        "weights": "pieces.pt",
        "sha256": "0123456789abcdef",
        "device": "cpu",
    }
    for page in ("core.report.html", "core.pages/A-1.html"):
        said = "nuclei found by pieces 1.0 with the weights pieces.pt (SHA-256 0123456789ab…)"
        assert said in (tmp_path / "out" / page).read_text(encoding="utf-8")
    # without a finder the record says that, too
    assert cli("measure", core, "-o", tmp_path / "own", "--single-core").exit_code == 0
    record = json.loads((tmp_path / "own" / "core.run.json").read_text())
    assert record["measurement"]["nuclei"] == {"finder": "built-in"}
    assert "nuclei found by" not in (tmp_path / "own" / "core.report.html").read_text(encoding="utf-8")


def test_thresholds_hold_for_the_nuclei_that_they_were_fitted_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FINDERS, "stardist", lambda weights, device: Pieces())
    lines = ["image,core,score,patient"]
    for name, brown, score in (("a", 0.0, "0"), ("c", 0.22, "3+")):
        write_slide(tmp_path / f"{name}.ome.tif", cells(brown, side=17), mpp=0.5)
        lines.append(f"{name}.ome.tif,,{score},{name}")
    (tmp_path / "controls.csv").write_text("\n".join(lines))
    chosen, pale = ("--nuclei", "stardist", "--nuclei-weights", tmp_path), tmp_path / "pale.json"
    to = ("-o", pale, "--batch", "march")
    result = cli("calibrate", tmp_path / "controls.csv", *to, "--measure", *chosen)
    assert result.exit_code == 0, result.output
    assert json.loads(pale.read_text())["nuclei"] == "cellpose pieces.pt 0123456789ab"
    measure = ("measure", tmp_path / "c.ome.tif", "--single-core", "--measure-calibration", pale)
    assert cli(*measure, "-o", tmp_path / "a", *chosen).exit_code == 0
    assert rows(tmp_path / "a", "c").loc["A-1", "measured_score"] == "3+"
    result = cli(*measure, "-o", tmp_path / "b")
    assert result.exit_code == 1
    check_sentence(result, "made with nuclei found by cellpose pieces.pt 0123456789ab, not built-in")
    assert cli("calibrate", tmp_path / "controls.csv", *to, *chosen).exit_code == 2


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--nuclei", "cellpose"), 2, "cellpose needs weights, and none are downloaded"),
        (("--nuclei-weights", "a.pt"), 2, "name a finder that they are for with --nuclei"),
        (("--nuclei", "watershed"), 2, "watershed is none of built-in, cellpose, stardist, instanseg"),
        (("--nuclei", "instanseg", "--nuclei-weights", "brightfield_nuclei"), 1, "There are no weights"),
    ],
)
def test_a_finder_that_cannot_be_stops_the_run_before_anything_is_read(
    options: tuple[str, ...], code: int, sentence: str, tmp_path: Path
) -> None:
    result = cli("measure", tmp_path / "absent.tif", "-o", tmp_path / "out", "--single-core", *options)
    assert result.exit_code == code
    said = " ".join(result.output.replace("│", " ").split())
    assert sentence in said


def test_a_finder_that_fails_stops_the_run_with_one_sentence(
    tmp_path: Path, core: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finder = Pieces()
    monkeypatch.setattr(finder, "labels", lambda tile: tile)
    monkeypatch.setitem(FINDERS, "stardist", lambda weights, device: finder)
    chosen = ("--nuclei", "stardist", "--nuclei-weights", tmp_path)
    result = cli("measure", core, "-o", tmp_path / "out", "--single-core", *chosen)
    assert result.exit_code == 1
    check_sentence(result, "gave no label image of")
