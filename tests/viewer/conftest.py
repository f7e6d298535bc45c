"""A viewer without a screen and the small slide of discs as a layer in it."""

from __future__ import annotations

import os
import threading

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen" if "DISPLAY" not in os.environ else "xcb")
os.environ["NAPARI_ENSURE_PLUGIN_MAIN_THREAD"] = "1"

import numpy as np
import pytest
from napari.components import ViewerModel
from npe2 import PluginManifest

from napari_her2.scores import SCORES, CoreScore, Places
from napari_her2.viewer.cores_layer import add_cores_layer
from napari_her2.viewer.slide_layer import slide_of_layer


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path_factory, monkeypatch):
    """Nothing is autosaved into the folder of whoever runs the tests."""
    folder = tmp_path_factory.mktemp("data")
    monkeypatch.setattr("napari_her2.viewer.autosave.user_data_path", lambda *_, **__: folder)
    return folder


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def image(viewer, discs_slide):
    return viewer.add_image(
        discs_slide.levels[0], rgb=True, name="tma", scale=(2.0, 2.0), units=("um", "um"), translate=(30.0, -50.0)
    )


@pytest.fixture
def cores(viewer, image, grid_of_discs):
    return add_cores_layer(viewer.layers, image, slide_of_layer(image), grid_of_discs)


@pytest.fixture
def score_of():
    def make(core, score, **kwargs) -> CoreScore:
        """A score of a core, with one place on its centre."""
        grade = SCORES.index(score)
        probabilities = tuple(0.7 if k == grade else 0.1 for k in range(4))
        one = [np.array([v]) for v in (core.y, core.x, 40.0, grade, 1.0, 1.0)]
        return CoreScore(core, score, probabilities, value=float(grade), places=Places(*one), **kwargs)

    return make


@pytest.fixture
def answers(monkeypatch):
    """Answers to the questions of the viewer, in turn, and what was asked; no question opens a window."""
    from napari_her2.viewer import ask

    class Answers(list):
        def __init__(self) -> None:
            super().__init__()
            self.asked: list[str] = []

    given = Answers()

    def confirm(question, *_, **__):
        given.asked.append(question)
        return given.pop(0)

    monkeypatch.setattr(ask, "confirm", confirm)
    return given


@pytest.fixture
def session(qtbot, viewer, image, mock_model, mock_engine, grid_of_discs, monkeypatch, answers):
    """A session on the discs with the mock model; finding gives the grid of discs; what was said is kept."""
    from napari_her2.viewer.session import Session

    monkeypatch.setattr("napari_her2.dearray.find_cores", lambda slide, params: grid_of_discs)
    session = Session(viewer)
    session.model = mock_model
    session.sentences = []
    session.said.connect(lambda text, bad: session.sentences.append((text, bad)) if text else None)
    session.open()
    yield session
    session.close()
    qtbot.waitUntil(lambda: session.run is None or not session.run.running, timeout=10_000)


@pytest.fixture
def found(session, qtbot):
    """The same with the cores found."""
    session.find()
    qtbot.waitUntil(lambda: not session.busy, timeout=10_000)
    return session


class Gate:
    """Lets so many cores pass as were released; `entered` counts those that came to it."""

    def __init__(self) -> None:
        self._semaphore = threading.Semaphore(0)
        self.release = self._semaphore.release
        self.entered = 0

    def enter(self) -> None:
        self.entered += 1
        assert self._semaphore.acquire(timeout=20)


@pytest.fixture
def slow(mock_engine):
    """The gate that the mock engine waits at before each core."""
    gate, run = Gate(), mock_engine.run

    def wait(pixels):
        gate.enter()
        return run(pixels)

    mock_engine.run = wait
    yield gate
    gate.release(1000)


@pytest.fixture
def make_viewer(make_napari_viewer_proxy, npe2pm, discs_slide, grid_of_discs, mock_model, mock_engine, monkeypatch):
    """A viewer that knows the plugin and shows the discs; the mock model is the one installed."""
    npe2pm.register(PluginManifest.from_distribution("napari-her2"))
    monkeypatch.setattr("napari_her2.dearray.find_cores", lambda slide, params: grid_of_discs)
    monkeypatch.setattr("napari_her2.viewer.widgets.score_box.installed_models", lambda: [mock_model])

    def make(**layer):
        viewer = make_napari_viewer_proxy()
        layer = {"scale": (2, 2), "units": ("um", "um"), "name": "tma"} | layer
        viewer.add_image(discs_slide.levels[0], rgb=True, **layer)
        return viewer

    return make


@pytest.fixture
def add_widget():
    """Docks the widget into a real viewer; gives the dock and the widget."""
    return lambda viewer: viewer.window.add_plugin_dock_widget("napari-her2", "HER2 scoring")
