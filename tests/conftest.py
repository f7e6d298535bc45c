"""What many tests share: the folder of real data, when it is there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from discs import MockEngine, discs_grid, discs_picture
from napari_her2.cores import CoreGrid
from napari_her2.models import ScoringModel
from napari_her2.pyramid import LevelSpec, PyramidSpec
from napari_her2.slide import Slide

# how long an example takes says how busy the machine is
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A real viewer needs OpenGL, which Qt has no way to without a display: such tests are skipped, and say so."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        skipped = pytest.mark.skip(reason="no display for a real viewer: run under xvfb-run")
        for item in items:
            if "make_napari_viewer_proxy" in getattr(item, "fixturenames", ()):
                item.add_marker(skipped)


_ENDED: list[int] = []


def pytest_sessionfinish(exitstatus: int) -> None:
    """Keep how the tests went."""
    _ENDED[:] = [int(exitstatus)]


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """After real viewers, leave without taking everything down: threads of napari and of Qt that still wait then, and
    the libraries of OpenGL, OpenVINO and torch in one process, aborted the interpreter when all tests had passed.
    """
    if _ENDED and "napari._qt.qt_main_window" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_ENDED[0])


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real slides and cores; a test that needs it is skipped, with this reason, where it is absent."""
    default = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    folder = Path(os.environ.get("NAPARI_HER2_REAL_DATA", default)).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: set NAPARI_HER2_REAL_DATA to the folder that holds it")
    return folder


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


@pytest.fixture
def discs_slide() -> Slide:
    """A small slide of 2 x 4 discs at 2 µm per pixel, with their scores 0, 1+, 2+, 3+ in each row."""
    return Slide.from_arrays(discs_picture(), name="discs", mpp=2.0)


@pytest.fixture
def grid_of_discs() -> CoreGrid:
    """The cores of `discs_slide`."""
    return discs_grid()
