"""The second opinion on a slide of two cores of known cells: strong membranes on the left, none on the right."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import numpy as np
import pytest

from napari_her2 import measure
from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.errors import SlideError
from napari_her2.export import read_cores_file
from napari_her2.measure import MeasureParams
from napari_her2.scores import Places
from napari_her2.slide import Slide
from napari_her2.stain import QUPATH_STAINS, Stains
from napari_her2.viewer import results
from napari_her2.viewer.cores_measured import by_network, clear_measured, measured_of_layer
from napari_her2.viewer.cores_scores import set_scores
from napari_her2.viewer.measuring import Measuring
from napari_her2.viewer.slide_stains import SlideStains
from napari_her2.viewer.stain_layers import keep_stains
from napari_her2.viewer.widgets.measure_box import MeasureBox

GLASS = (240.0, 240.0, 244.0)
SIDE, PITCH = 380, 22
CORES = CoreGrid(
    (
        Core("A-1", 0, 0, 200.0, 200.0, float(SIDE)),
        Core("A-2", 0, 1, 200.0, 600.0, float(SIDE)),
        Core("A-3", 0, 2, 200.0, 1000.0, float(SIDE), state=CoreState.MISSING),
    )
)


def two_cores() -> np.ndarray:
    y, x = np.mgrid[:400, :1200]
    v, u = y % PITCH - PITCH / 2 + 0.5, x % PITCH - PITCH / 2 + 0.5
    h = 0.03 + 0.15 / (1 + np.exp((np.hypot(v, u) - 7) / 0.7))
    d = 0.9 * np.exp(-(((PITCH / 2 - np.maximum(abs(v), abs(u))) / 1.4) ** 2)) * (x < 400)
    tissue = np.minimum(np.hypot(y - 200, x - 200), np.hypot(y - 200, x - 600)) < SIDE / 2
    od = (h * tissue)[..., None] * np.array(QUPATH_STAINS.hematoxylin)
    od += (d * tissue)[..., None] * np.array(QUPATH_STAINS.dab)
    light = np.array(GLASS) * 10**-od + np.random.default_rng(0).normal(0, 1, (*y.shape, 3))
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


PICTURE = two_cores()
STAINS = Stains(GLASS, QUPATH_STAINS.hematoxylin, QUPATH_STAINS.dab, 1, 1, source="estimated")


@pytest.fixture
def grid_of_discs():
    return CORES


@pytest.fixture
def image(viewer):
    return viewer.add_image(PICTURE, rgb=True, name="tma", scale=(0.5, 0.5), units=("um", "um"))


@pytest.fixture
def measuring(session, monkeypatch):
    monkeypatch.setattr(Measuring, "base", MeasureParams(min_cells=60, threads=1))
    return Measuring(session, SlideStains(session))


@pytest.fixture
def ready(measuring, qtbot):
    """Cores found, stains known."""
    keep_stains(measuring.session.image, STAINS)
    measuring.session.find()
    qtbot.waitUntil(lambda: not measuring.session.busy, timeout=10_000)
    return measuring


@pytest.fixture
def measured(ready, qtbot):
    ready.measure(["A-1", "A-2", "A-3"])
    qtbot.waitUntil(lambda: not ready.session.working, timeout=10_000)
    return ready


def said(measuring) -> tuple[str, bool]:
    return measuring.session.sentences[-1]


# --- measuring -----------------------------------------------------------------------------------------------------


def test_cores_are_measured_into_the_features(measured):
    layer = measured.session.cores_layer
    table = layer.features.set_index("core")
    assert list(table["measured_score"]) == ["3+", "0", ""]
    assert table.loc["A-1", "measured_reason"].startswith("3+: ")
    assert table.loc["A-1", "percent_3"] > 60
    assert table.loc["A-2", "h_score"] < 20
    assert table["h_score"].isna().tolist() == [False, False, True]
    assert said(measured) == ("2 of 2 cores of tma measured.", False)
    assert measured.rest() == []
    kept = measured.measured()
    assert kept["A-1"].count > 60
    assert kept["A-1"].nuclei is None
    clear_measured(layer, ["A-1"])
    assert list(measured_of_layer(layer)) == ["A-2"]
    assert measured.rest() == ["A-1"]


def test_opinions_are_compared_whichever_came_last(measured, score_of):
    session = measured.session
    layer = session.cores_layer
    cores = session.grid()
    set_scores(layer, session.slide, [score_of(cores["A-1"], "1+"), score_of(cores["A-2"], "0")])
    session.changed.emit()
    assert layer.features["opinions_differ"].tolist()[:2] == [2, 0]
    clear_measured(layer)
    assert layer.features["opinions_differ"].isna().all()


def test_the_network_tells_which_cells_count_once_a_core_is_scored(measured, score_of, qtbot):
    session = measured.session
    core = session.grid()["A-1"]
    upper = Places(*(np.array(a, float) for a in ([100, 300], [200, 200], [200, 200], [3, 0], [1, 0], [1, 0])))
    set_scores(session.cores_layer, session.slide, [replace(score_of(core, "3+"), places=upper)])
    session.changed.emit()
    assert measured.rest() == ["A-1"]
    before = measured.measured()["A-1"].count
    measured.measure(["A-1"])
    qtbot.waitUntil(lambda: not session.working, timeout=10_000)
    assert by_network(session.cores_layer, session.grid()) == {"A-1"}
    assert 0.2 * before < measured.measured()["A-1"].count < 0.7 * before
    assert measured.rest() == []


def test_a_measurement_stays_with_its_tissue(measured):
    watch, grid = measured.session.watch, measured.session.grid()
    old = measured.measured()["A-1"]
    renamed = CoreGrid(tuple(replace(c, name=f"X{c.name}") for c in grid))
    watch.edit("other names", renamed)
    assert measured.measured()["XA-1"].count == old.count
    watch.edit("deletion", CoreGrid(tuple(c for c in renamed if c.name != "XA-1")))
    assert list(measured.measured()) == ["XA-2"]
    watch.undo()
    back = measured.measured()["XA-1"]
    assert (back.sentence, back.count) == (old.sentence, old.count)
    moved = CoreGrid(tuple(replace(c, y=c.y + 90) if c.name == "XA-1" else c for c in measured.session.grid()))
    watch.edit("move", moved)
    assert list(measured.measured()) == ["XA-2"]


def test_other_stains_make_it_out_of_date_and_nothing_is_mixed(measured, answers, tmp_path, qtbot):
    path = tmp_path / "stains.json"
    path.write_text(json.dumps(replace(measured.slide_stains.stains, white=(238.0, 239.0, 243.0)).to_dict()))
    measured.slide_stains.load_stains(path)
    assert measured.outdated
    assert measured.rest() == ["A-1", "A-2"]
    answers[:] = [False, True]
    measured.measure(["A-1"])
    assert "measured with other stains" in answers.asked[0]
    assert len(measured.measured()) == 2
    measured.measure(["A-1"])
    qtbot.waitUntil(lambda: not measured.session.working, timeout=10_000)
    assert list(measured.measured()) == ["A-1"]
    assert not measured.outdated


@pytest.fixture
def gate(monkeypatch):
    """Lets the measuring of each core begin when told."""
    semaphore, real = threading.Semaphore(0), measure.measure_core
    monkeypatch.setattr(measure, "measure_core", lambda *a, **k: (semaphore.acquire(timeout=20), real(*a, **k))[1])
    yield semaphore
    semaphore.release(100)


def test_cancel_keeps_what_is_done(ready, gate, qtbot):
    ready.measure(["A-1", "A-2"])
    run = ready.session.run
    assert ready.why_not() == "tma is being measured."
    ready.session.cancel()
    assert run.progress_text() == "0 of 2 cores measured, stopping after this one"
    gate.release(100)
    qtbot.waitUntil(lambda: not ready.session.working, timeout=10_000)
    assert said(ready) == ("Cancelled: 1 of 2 cores of tma measured.", False)
    assert list(ready.measured()) == ["A-1"]


def test_a_layer_that_is_deleted_meanwhile_is_told(ready, viewer, gate, qtbot):
    ready.measure(["A-1", "A-2"])
    run = ready.session.run
    viewer.layers.remove("tma cores")
    gate.release(100)
    qtbot.waitUntil(lambda: not run.running, timeout=10_000)
    told = "Measuring stopped because tma cores was deleted; the cores that were done are kept."
    assert said(ready) == (told, True)


def test_a_core_that_cannot_be_read_says_so_and_the_run_goes_on(ready, monkeypatch, qtbot):
    def read(self, *args):
        if args[2] < 200:
            raise SlideError("tma cannot be read there.")
        return real(self, *args)

    real = Slide.read
    monkeypatch.setattr(Slide, "read", read)
    ready.measure(["A-1", "A-2"])
    qtbot.waitUntil(lambda: not ready.session.working, timeout=10_000)
    assert ready.measured()["A-1"].sentence == "Not scorable: tma cannot be read there."
    assert ready.measured()["A-2"].score == "0"
    assert "1 are not scorable" in said(ready)[0]


def test_what_is_missing_is_said_first(measuring, viewer):
    assert measuring.why_not() == "Find the cores first."
    measuring.measure(["A-1"])
    assert said(measuring) == ("Find the cores first.", True)


def test_an_unknown_pixel_size_is_asked_for(ready, viewer):
    image = viewer.layers["tma"]
    image.scale, image.units = (1, 1), ("pixel", "pixel")
    ready.session.choose(image)
    assert ready.why_not() == "Give the pixel size in step 1 first."
    ready.show_cells()
    assert said(ready)[0] == "Give the pixel size in step 1 first."


# --- cells ---------------------------------------------------------------------------------------------------------


def test_cells_of_the_selected_core_are_shown_noted_and_replaced(ready, viewer, qtbot):
    layer = ready.session.cores_layer
    layer.selected_data = {0}
    ready.show_cells()
    qtbot.waitUntil(lambda: not ready.drawing_cells, timeout=10_000)
    assert ready.core_of_cells == "A-1"
    assert list(ready.measured()) == ["A-1"]
    assert viewer.layers["tma cells"].data.max() == ready.cells_of("A-1").count
    layer.selected_data = {1}
    ready.show_cells()
    qtbot.waitUntil(lambda: ready.core_of_cells == "A-2", timeout=10_000)
    assert [la.name for la in viewer.layers].count("tma cells") == 1
    ready.hide_cells()
    assert "tma cells" not in viewer.layers


def test_with_nothing_selected_the_core_in_the_middle_of_the_view_is_meant(ready, viewer):
    camera = (viewer.scene if hasattr(viewer, "scene") else viewer).camera
    ready.session.cores_layer.selected_data = set()
    camera.center = ready.session.image.data_to_world((180, 590))
    assert ready.asked_core().name == "A-2"
    camera.center = ready.session.image.data_to_world((180, 990))  # the core there is missing
    assert ready.asked_core() is None
    ready.show_cells()
    assert said(ready) == ("Select one core, or move it to the middle of the view: its cells are then shown.", False)


def test_measured_columns_are_in_the_files(measured, tmp_path, qtbot):
    results.export(measured.session, tmp_path)
    qtbot.waitUntil(lambda: not measured.session.busy, timeout=10_000)
    table = read_cores_file(tmp_path / "tma.cores.csv").table.set_index("core")
    assert table.loc["A-1", "measured_score"] == "3+"
    record = json.loads((tmp_path / "tma.run.json").read_text())
    assert record["measurement"]["stains"] == measured.slide_stains.stains.to_dict()
    assert record["measurement"]["rules"] == measured.rules


# --- the box -----------------------------------------------------------------------------------------------------


@pytest.fixture
def box(ready, qtbot):
    box = MeasureBox(ready)
    qtbot.addWidget(box)
    ready.session.changed.connect(box.refresh)
    box.refresh()
    return box


def test_the_box_measures_and_shows_what_it_found(box, ready, qtbot):
    assert box.all.text() == "Measure all (2)"
    assert box.sentence.text().startswith("Best after scoring")
    assert not box.selected.isEnabled()
    ready.session.cores_layer.selected_data = {0}
    box.refresh_selection()
    assert box.selected.text() == "Measure A-1"
    box.selected.click()
    qtbot.waitUntil(lambda: not ready.session.working, timeout=10_000)
    assert box.summary.text() == "1 measured"
    assert box.all.text() == "Measure rest (1)"
    assert box.chips["3+"].text() == f"3+  {ready.measured()['A-1'].percent[3]:.0f} %"
    assert box.cells.text() == "Show cells of A-1"
    box.cells.click()
    qtbot.waitUntil(lambda: ready.core_of_cells == "A-1", timeout=10_000)
    assert box.cells.text() == "Hide cells"
    box.cells.click()
    assert ready.core_of_cells == ""
    box.rules.setCurrentIndex(1)
    box.rules.activated.emit(1)
    assert box.summary.text() == "1 out of date"
    assert box.all.text() == "Measure all (2)"
