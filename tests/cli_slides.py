"""A slide of a few discs for the command line, an engine that looks at brown only, and what is asked of an answer."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from typer.testing import CliRunner, Result

from discs import MockEngine
from napari_her2.cli import app
from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.export.csv import write_csv
from napari_her2.models import ScoringModel
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


def check_sentence(result: Result, says: str) -> None:
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("napari-her2: ")
    assert re.search(says, line), line
    assert "Traceback" not in result.output
