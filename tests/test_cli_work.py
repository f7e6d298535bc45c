"""`score` and `dearray` from image to results, with an engine that looks at brown only."""

# ruff: noqa: F401, F811 (fixtures)

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

import napari_her2.cli.work
from cli_slides import CORES, GLASS, centre, check_sentence, cli, cores, draw, engine, rows, slide, write_slide
from discs import MockEngine
from napari_her2.export import ENDINGS
from napari_her2.models import ScoringModel
from napari_her2.slide import Slide


def test_score_writes_six_files_and_a_summary(tmp_path: Path, slide: Path, cores: Path, engine: MockEngine) -> None:
    result = cli("score", slide, "-o", tmp_path / "out", "--cores", cores)
    assert result.exit_code == 0, result.output
    assert "Research use only" in result.stdout
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        "tma" + e for e in ENDINGS if e != ".regions.geojson"
    )
    table = rows(tmp_path / "out")
    assert list(table.index) == list(CORES)
    assert list(table["her2_score"]) == ["0", "3+", "0", "3+", "", "3+"]
    assert table.loc["B-2", "state"] == "missing"
    record = json.loads((tmp_path / "out" / "tma.run.json").read_text())
    assert record["model"]["name"] == "mock"
    assert record["parameters"]["cores"] == "given.csv"
    assert set(record["seconds"]) == {"finding", "starting", "stains", "reading", "inference", "measuring", "total"}
    assert record["measurement"]["stains"]["white"][0] == pytest.approx(GLASS[0], abs=2)
    assert sum(record["measured_counts"][score] for score in ("0", "1+", "2+", "3+", "not scorable")) == 5
    assert engine.runs == 5
    # every core with tissue is measured, or the table says why not
    assert list(table.index[table["measured_reason"] == ""]) == ["B-2"]


def test_a_slide_stained_beyond_the_models_range_is_told(
    tmp_path: Path,
    slide: Path,
    cores: Path,
    engine: MockEngine,
    mock_model: ScoringModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    narrow = replace(mock_model, stain_range={"blue": [5.0, 6.0], "brown": [0.0, 9.0]})
    monkeypatch.setattr("napari_her2.models.load_model", lambda name="": narrow)
    result = cli("score", slide, "-o", tmp_path / "out", "--cores", cores, "--no-measure")
    assert result.exit_code == 0, result.output
    [flag] = json.loads((tmp_path / "out" / "tma.run.json").read_text())["slide_flags"]
    assert "calibrate on control cores" in flag
    assert flag in (tmp_path / "out" / "tma.report.html").read_text(encoding="utf-8")


def test_without_measuring_the_columns_stay_empty(tmp_path: Path, slide: Path, cores: Path, engine: MockEngine) -> None:
    result = cli("score", slide, "-o", tmp_path / "out", "--cores", cores, "--select", "A-1", "--no-measure")
    assert result.exit_code == 0, result.output
    assert set(rows(tmp_path / "out")["measured_reason"]) == {""}
    record = json.loads((tmp_path / "out" / "tma.run.json").read_text())
    assert "measurement" not in record
    assert "measured_counts" not in record


def test_the_same_seed_gives_the_same_table_and_another_seed_another(
    tmp_path: Path, cores: Path, engine: MockEngine
) -> None:
    # brown that grows from left to right: which patches are drawn makes a difference
    pixels = draw().astype(float)
    pixels[..., 2] += np.linspace(0, 60, pixels.shape[1])[None] * (pixels[..., 2] < 200)
    slide = write_slide(tmp_path / "tma.ome.tif", pixels.clip(0, 255).astype(np.uint8))
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert cli("score", slide, "-o", tmp_path / folder, "--cores", cores, "--seed", seed).exit_code == 0
    a, b, c = ((tmp_path / folder / "tma.cores.csv").read_bytes() for folder in "abc")
    assert a == b
    assert a != c


def test_only_selected_cores_are_scored_and_all_are_listed(
    tmp_path: Path, slide: Path, cores: Path, engine: MockEngine
) -> None:
    assert cli("score", slide, "-o", tmp_path / "out", "--cores", cores, "--select", "a-*,B-2").exit_code == 0
    table = rows(tmp_path / "out")
    assert list(table.index[table["her2_score"] != ""]) == ["A-1", "A-2", "A-3"]
    assert len(table) == 6


def test_an_image_of_one_core(tmp_path: Path, engine: MockEngine) -> None:
    y, x = centre("A-2")
    picture = write_slide(tmp_path / "core.ome.tif", draw()[y - 160 : y + 160, x - 170 : x + 170])
    assert cli("score", picture, "-o", tmp_path, "--single-core").exit_code == 0
    table = rows(tmp_path, "core")
    assert table.loc["A-1", ["x", "y", "diameter", "her2_score"]].tolist() == ["170.0", "160.0", "320.0", "3+"]


def test_dearray_needs_no_pixel_size_and_score_asks_for_it(tmp_path: Path, engine: MockEngine) -> None:
    slide = write_slide(tmp_path / "tma.ome.tif", mpp=None)
    assert cli("dearray", slide, "-o", tmp_path / "found").exit_code == 0
    table = rows(tmp_path / "found")
    assert set(table["diameter_um"]) == {""}
    assert set(CORES) - {"B-2"} <= set(table.index[table["state"] == "tissue"])
    result = cli("score", slide, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "--pixel-size" in result.stderr
    assert engine.runs == 0
    assert cli("score", slide, "-o", tmp_path / "out", "--pixel-size", 1).exit_code == 0
    assert json.loads((tmp_path / "out" / "tma.run.json").read_text())["image"]["pixel_size_source"] == "given"


def test_results_are_not_overwritten_unasked(tmp_path: Path, slide: Path, cores: Path, engine: MockEngine) -> None:
    arguments = ("score", slide, "-o", tmp_path / "out", "--cores", cores, "--select", "A-1")
    assert cli(*arguments).exit_code == 0
    result = cli(*arguments)
    assert result.exit_code == 1
    check_sentence(result, "--overwrite")
    assert engine.runs == 1
    assert cli(*arguments, "--overwrite").exit_code == 0


def test_one_bad_image_does_not_stop_the_others(tmp_path: Path, slide: Path, engine: MockEngine) -> None:
    bad = tmp_path / "bad.tif"
    bad.write_text("no")
    result = cli("score", bad, slide, "-o", tmp_path / "out")
    assert result.exit_code == 3
    check_sentence(result, "bad.tif is not an image")
    assert set(rows(tmp_path / "out").loc[["A-2", "B-1", "B-3"], "her2_score"]) == {"3+"}
    assert cli("score", bad, tmp_path / "worse.tif", "-o", tmp_path / "out").exit_code == 1


def test_a_damaged_tile_costs_one_core(
    tmp_path: Path, slide: Path, cores: Path, engine: MockEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a real slide is so large that nobody looks at all of its finest level
    overview = Slide.overview
    monkeypatch.setattr(Slide, "overview", lambda slide, max_side=0: overview(slide, 300))
    y, x = centre("A-3")
    with tifffile.TiffFile(slide) as tiff:
        page = tiff.pages[0]
        tile = (y // 128) * -(-page.imagewidth // 128) + x // 128
        offset, count = page.dataoffsets[tile], page.databytecounts[tile]
    content = bytearray(slide.read_bytes())
    content[offset : offset + count] = bytes(count)
    slide.write_bytes(content)
    result = cli("score", slide, "-o", tmp_path / "out", "--cores", cores)
    assert result.exit_code == 3, result.output
    check_sentence(result, "core A-3 of tma: .*damaged there")
    table = rows(tmp_path / "out")
    assert dict(table["her2_score"]) == {"A-1": "0", "A-2": "3+", "A-3": "", "B-1": "3+", "B-2": "", "B-3": "3+"}
    assert "damaged there" in table.loc["A-3", "note"]


def stop_at(engine: MockEngine, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the engine fail on its third core."""
    run = engine.run

    def stopping(pixels: np.ndarray) -> np.ndarray:
        if engine.runs == 2:
            raise error
        return run(pixels)

    monkeypatch.setattr(engine, "run", stopping)


def test_ctrl_c_keeps_the_finished_cores(
    tmp_path: Path, slide: Path, cores: Path, engine: MockEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(engine, KeyboardInterrupt(), monkeypatch)
    result = cli("score", slide, "-o", tmp_path / "out", "--cores", cores)
    assert result.exit_code == 130
    assert "stopped" in result.stderr
    table = rows(tmp_path / "out")
    assert list(table.index[table["her2_score"] != ""]) == ["A-1", "A-2"]
    assert json.loads((tmp_path / "out" / "tma.run.json").read_text())["stopped"] is True


def test_a_crash_leaves_what_was_scored(
    tmp_path: Path, slide: Path, cores: Path, engine: MockEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(napari_her2.cli.work, "_FLUSH_SECONDS", -1.0)
    stop_at(engine, RuntimeError("driver"), monkeypatch)
    assert isinstance(cli("score", slide, "-o", tmp_path, "--cores", cores).exception, RuntimeError)
    part = pd.read_csv(tmp_path / "tma.cores.csv.part", dtype=str, keep_default_na=False)
    assert list(part["her2_score"]) == ["0", "3+", "", "", "", ""]
    monkeypatch.undo()


def test_the_part_goes_when_the_whole_is_there(
    tmp_path: Path, slide: Path, cores: Path, engine: MockEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(napari_her2.cli.work, "_FLUSH_SECONDS", -1.0)
    assert cli("score", slide, "-o", tmp_path / "out", "--cores", cores).exit_code == 0
    assert not list((tmp_path / "out").glob("*.part"))
