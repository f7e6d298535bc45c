"""The command line, on slides of a few discs and with an engine that looks at brown only."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import tifffile
from typer.testing import CliRunner, Result

import napari_her2.cli.work
from discs import MockEngine
from napari_her2.cli import app
from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.export import ENDINGS
from napari_her2.export.csv import write_csv
from napari_her2.models import ScoringModel
from napari_her2.slide import Slide
from napari_her2.table import cores_table

GLASS, PALE, BROWN = (240, 238, 242), (205, 195, 215), (165, 115, 75)
DIAMETER, PITCH = 300, 380
#: Names, places and colours of the cores; B-2 was lost.
CORES = {"A-1": PALE, "A-2": BROWN, "A-3": PALE, "B-1": BROWN, "B-2": None, "B-3": BROWN}


def centre(name: str) -> tuple[int, int]:
    return 230 + PITCH * "AB".index(name[0]), 230 + PITCH * (int(name[2]) - 1)


def draw() -> np.ndarray:
    rng = np.random.default_rng(0)
    pixels = np.full((2 * PITCH + 80, 3 * PITCH + 80, 3), GLASS, np.int16)
    yy, xx = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    for name, colour in CORES.items():
        y, x = centre(name)
        if colour is not None:
            pixels[np.hypot(yy - y, xx - x) < DIAMETER / 2] = colour
    pixels += rng.integers(-6, 7, pixels.shape, dtype=np.int16)
    return pixels.clip(0, 255).astype(np.uint8)


def write_slide(path: Path, pixels: np.ndarray | None = None, mpp: float | None = 1.0) -> Path:
    pixels = draw() if pixels is None else pixels
    size = {} if mpp is None else {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
    options = {"tile": (128, 128), "compression": "zlib", "photometric": "rgb"}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(pixels, subifds=1, metadata={"axes": "YXS", **size}, **options)
        tiff.write(pixels[::4, ::4].copy(), subfiletype=1, **options)
    return path


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    return write_slide(tmp_path / "tma.ome.tif")


@pytest.fixture
def cores(tmp_path: Path) -> Path:
    grid = CoreGrid(
        tuple(
            Core(name, "AB".index(name[0]), int(name[2]) - 1, *centre(name), DIAMETER, CoreState.TISSUE)
            if colour
            else Core(name, 1, 1, *centre(name), DIAMETER, CoreState.MISSING)
            for name, colour in CORES.items()
        )
    )
    write_csv(tmp_path / "given.csv", cores_table("tma", grid, {}, None))
    return tmp_path / "given.csv"


@pytest.fixture
def engine(mock_engine: MockEngine, mock_model: ScoringModel, monkeypatch: pytest.MonkeyPatch) -> MockEngine:
    """The mock engine, under the mock model as the default."""
    monkeypatch.setattr("napari_her2.models.load_model", lambda name="": mock_model)
    return mock_engine


def cli(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def rows(folder: Path, name: str = "tma") -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.cores.csv", dtype=str, keep_default_na=False).set_index("core")


def test_help_and_version_load_nothing_heavy() -> None:
    code = (
        "import sys; from napari_her2.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'napari', 'openvino', 'pandas', 'numpy', 'qtpy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
    assert "Research use only" in result.stdout
    assert cli("--version").stdout.startswith("napari-her2 ")


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


def not_an_image(folder: Path) -> Path:
    (folder / "tma.tif").write_text("patient list")
    return folder / "tma.tif"


def truncated(folder: Path) -> Path:
    content = write_slide(folder / "tma.ome.tif").read_bytes()
    (folder / "tma.ome.tif").write_bytes(content[: len(content) // 2])
    return folder / "tma.ome.tif"


def grey(folder: Path) -> Path:
    tifffile.imwrite(folder / "tma.tif", draw()[..., 0])
    return folder / "tma.tif"


def fluorescence(folder: Path) -> Path:
    tifffile.imwrite(folder / "tma.ome.tif", np.zeros((4, 64, 64), np.uint16), metadata={"axes": "CYX"})
    return folder / "tma.ome.tif"


def blank(folder: Path) -> Path:
    noise = np.random.default_rng(0).integers(234, 240, (600, 800, 3)).astype(np.uint8)
    return write_slide(folder / "tma.ome.tif", noise)


def no_cores(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    pixels = rng.integers(234, 240, (900, 1200, 3)).astype(np.uint8)
    section = np.array(PALE) + rng.normal(0, 15, (810, 1020, 3))  # a piece of a whole section
    pixels[90:, 180:] = section.clip(0, 255).astype(np.uint8)
    return write_slide(folder / "tma.ome.tif", pixels)


def absent(folder: Path) -> Path:
    return folder / "tma.svs"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (not_an_image, "not an image"),
        (truncated, "truncated|damaged"),
        (grey, "not a brightfield RGB image"),
        (fluorescence, "not a brightfield RGB image"),
        (blank, "looks empty"),
        (no_cores, "No cores found"),
        (absent, "no file"),
    ],
)
def test_a_bad_image_is_one_sentence_and_exit_code_1(make, says, tmp_path: Path, engine: MockEngine) -> None:
    result = cli("score", make(tmp_path), "-o", tmp_path / "out")
    assert result.exit_code == 1
    check_sentence(result, says)
    assert list((tmp_path / "out").iterdir()) == []


def check_sentence(result: Result, says: str) -> None:
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("napari-her2: ")
    assert re.search(says, line), line
    assert "Traceback" not in result.output


@pytest.mark.parametrize("folder", ["file", "file/below", "/proc/out"])
def test_an_output_folder_that_cannot_be_written_is_said_before_the_work(
    folder: str, tmp_path: Path, slide: Path, cores: Path, engine: MockEngine
) -> None:
    (tmp_path / "file").write_text("")
    result = cli("score", slide, "-o", tmp_path / folder, "--cores", cores)
    assert result.exit_code == 1
    check_sentence(result, "cannot be written")
    assert engine.runs == 0


def test_results_are_not_overwritten_unasked(tmp_path: Path, slide: Path, cores: Path, engine: MockEngine) -> None:
    arguments = ("score", slide, "-o", tmp_path / "out", "--cores", cores, "--select", "A-1")
    assert cli(*arguments).exit_code == 0
    result = cli(*arguments)
    assert result.exit_code == 1
    check_sentence(result, "--overwrite")
    assert engine.runs == 1
    assert cli(*arguments, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--select", "D-*"), 'No core matches "d-\\*"'),
        (("--select", "B-2"), "holds tissue"),
        (("--cores", "absent.csv"), "no file"),
        (("--cores", __file__), "no column"),
        (("--pixel-size", "0"), "pixel size"),
    ],
)
def test_bad_wishes(
    arguments: tuple[str, ...], says: str, tmp_path: Path, slide: Path, cores: Path, engine: MockEngine
) -> None:
    result = cli("score", slide, "-o", tmp_path / "out", "--cores", cores, *arguments)
    assert result.exit_code == 1
    check_sentence(result, says)


def test_a_pickle_is_never_opened(tmp_path: Path, slide: Path, cores: Path) -> None:
    for name in ("weights.pt", "weights.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps({"weights": [1.0]}))
        result = cli("score", slide, "-o", tmp_path / "out", "--cores", cores, "--model", tmp_path / name)
        assert result.exit_code == 1
        check_sentence(result, "pickle")


@pytest.mark.parametrize(
    "arguments",
    [
        ("score", "a.tif", "b.tif", "-o", "out", "--cores", "c.csv"),
        ("score", "a.tif", "-o", "out", "--single-core", "--cores", "c.csv"),
        ("score", "a.tif", "-o", "out", "--device", "abacus"),
        ("score", "a.tif"),
        ("score", "-o", "out"),
        ("colour",),
    ],
)
def test_wrong_usage_is_exit_code_2(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli(*arguments).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_one_bad_image_does_not_stop_the_others(tmp_path: Path, slide: Path, engine: MockEngine) -> None:
    bad = tmp_path / "bad.tif"
    bad.write_text("no")
    result = cli("score", bad, slide, "-o", tmp_path / "out")
    assert result.exit_code == 3
    check_sentence(result, "bad.tif is not an image")
    assert set(rows(tmp_path / "out").loc[["A-2", "B-1", "B-3"], "her2_score"]) == {"3+"}
    assert cli("score", bad, tmp_path / "worse.tif", "-o", tmp_path / "out").exit_code == 1


def test_two_images_of_one_name_would_overwrite_each_other(tmp_path: Path, slide: Path) -> None:
    result = cli("dearray", slide, tmp_path / "sub" / "TMA.svs", "-o", tmp_path / "out")
    assert result.exit_code == 1
    check_sentence(result, "Several images are called")


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


def test_demo_without_a_display_writes_the_results(
    tmp_path: Path, slide: Path, engine: MockEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("napari_her2.sample.sample_slide", lambda: slide)
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    for _ in range(2):  # and again, over the first
        result = cli("demo")
        assert result.exit_code == 0, result.output
        last = result.stdout.strip().splitlines()[-1]
        assert last.startswith("No display: the sample slide was scored into napari-her2-demo; open ")
    assert (tmp_path / "napari-her2-demo" / "tma.report.html").is_file()


def test_demo_with_a_display_opens_the_viewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[bool] = []
    viewer = ModuleType("napari_her2.viewer.demo")
    viewer.open_demo = lambda: opened.append(True)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "napari_her2.viewer.demo", viewer)
    monkeypatch.setenv("DISPLAY", ":7")
    monkeypatch.chdir(tmp_path)
    assert cli("demo").exit_code == 0
    assert opened == [True]
    assert list(tmp_path.iterdir()) == []
