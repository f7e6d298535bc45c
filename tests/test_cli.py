"""The command line: help, wrong usage, and what cannot be read or written, told in a sentence."""

# ruff: noqa: F401, F811 (fixtures)

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cli_slides import PALE, check_sentence, cli, cores, draw, engine, slide, write_slide
from discs import MockEngine


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
def test_a_bad_image_is_one_sentence_before_any_network_is_opened(
    make, says, tmp_path: Path, engine: MockEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object) -> MockEngine:
        raise AssertionError("a network was opened")

    monkeypatch.setattr("napari_her2.engine.open_engine", opened)
    result = cli("score", make(tmp_path), "-o", tmp_path / "out")
    assert result.exit_code == 1
    check_sentence(result, says)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("folder", ["file", "file/below", "/proc/out"])
def test_an_output_folder_that_cannot_be_written_is_said_before_the_work(
    folder: str, tmp_path: Path, slide: Path, cores: Path, engine: MockEngine
) -> None:
    (tmp_path / "file").write_text("")
    result = cli("score", slide, "-o", tmp_path / folder, "--cores", cores)
    assert result.exit_code == 1
    check_sentence(result, "cannot be written")
    assert engine.runs == 0


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


def test_two_images_of_one_name_would_overwrite_each_other(tmp_path: Path, slide: Path) -> None:
    result = cli("dearray", slide, tmp_path / "sub" / "TMA.svs", "-o", tmp_path / "out")
    assert result.exit_code == 1
    check_sentence(result, "Several images are called")
