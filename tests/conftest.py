"""What many tests share: the folder of real data, when it is there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_her2.cores import Core, CoreGrid
from napari_her2.models import ScoringModel
from napari_her2.naming import core_name
from napari_her2.pyramid import LevelSpec, PyramidSpec
from napari_her2.slide import Slide


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A real viewer needs OpenGL, which Qt has no way to without a display: such tests are skipped, and say so."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        skipped = pytest.mark.skip(reason="no display for a real viewer: run under xvfb-run")
        for item in items:
            if "make_napari_viewer_proxy" in getattr(item, "fixturenames", ()):
                item.add_marker(skipped)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real slides and cores; a test that needs it is skipped, with this reason, where it is absent."""
    default = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    folder = Path(os.environ.get("NAPARI_HER2_REAL_DATA", default)).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: set NAPARI_HER2_REAL_DATA to the folder that holds it")
    return folder


class MockEngine:
    """Stands in for a network: the browner a place, the higher its class; every place is mostly tumour."""

    device = "mock"
    rows = 4

    def __init__(self, levels: int) -> None:
        self.levels = levels
        self.runs = 0

    def run(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.runs += 1
        side = pixels.shape[1] // self.rows
        squares = pixels.reshape(len(pixels), self.rows, side, self.rows, side, 3).astype(np.float32).mean(axis=(2, 4))
        grade = np.clip((squares[..., 0] - squares[..., 2]) / 30, 0, 3)
        out = np.zeros((len(pixels), self.levels, 5, self.rows, self.rows), np.float32)
        out[:, :, 0] = 0.1
        for k in range(4):
            out[:, :, k + 1] = 0.9 * np.clip(1 - np.abs(grade - k), 0, 1)[:, None]
        return out, squares.mean(axis=(1, 2))


@pytest.fixture
def mock_model() -> ScoringModel:
    """A model of the mock engine, with a small pyramid at 1 µm per pixel."""
    levels = (LevelSpec(4, 1.0), LevelSpec(2, 2.0), LevelSpec(1, 0.0))
    card = {"intended_use": "Tests.", "measured_on": {"cores": 0}}
    return ScoringModel("mock", "0", PyramidSpec(mpp=1.0, patch=64, levels=levels), card=card, weights_sha256="ab" * 32)


@pytest.fixture
def mock_engine(mock_model: ScoringModel, monkeypatch: pytest.MonkeyPatch) -> MockEngine:
    """The engine that every model opens in this test."""
    engine = MockEngine(len(mock_model.spec.levels))
    monkeypatch.setattr("napari_her2.engine.open_engine", lambda model, device="auto": engine)
    return engine


#: RGB of discs whose brown makes `MockEngine` say 0, 1+, 2+, 3+.
DISC_COLOURS = ((170, 175, 190), (190, 175, 165), (190, 160, 135), (180, 110, 60))


def discs_picture(rows: int = 2, columns: int = 4, *, pitch: int = 120, diameter: int = 100) -> np.ndarray:
    """Glass with a grid of discs, coloured 0, 1+, 2+, 3+ in turn; uint8 (y, x, 3)."""
    y, x = np.mgrid[: rows * pitch + 40, : columns * pitch + 40]
    picture = np.full((*y.shape, 3), (236, 236, 242), np.uint8)
    for number in range(rows * columns):
        row, column = divmod(number, columns)
        cy, cx = 20 + pitch * (row + 0.5), 20 + pitch * (column + 0.5)
        picture[np.hypot(y - cy, x - cx) < diameter / 2] = DISC_COLOURS[number % 4]
    return picture


def discs_grid(rows: int = 2, columns: int = 4, *, pitch: int = 120, diameter: int = 100) -> CoreGrid:
    """Where `discs_picture` drew its discs."""
    return CoreGrid(
        tuple(
            Core(core_name(r, c), r, c, 20 + pitch * (r + 0.5), 20 + pitch * (c + 0.5), diameter)
            for r in range(rows)
            for c in range(columns)
        )
    )


@pytest.fixture
def discs_slide() -> Slide:
    """A small slide of 2 x 4 discs at 2 µm per pixel, with their scores 0, 1+, 2+, 3+ in each row."""
    return Slide.from_arrays(discs_picture(), name="discs", mpp=2.0)


@pytest.fixture
def grid_of_discs() -> CoreGrid:
    """The cores of `discs_slide`."""
    return discs_grid()
