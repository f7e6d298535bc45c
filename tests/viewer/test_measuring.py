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
from napari_her2.stain.vectors import angle
from napari_her2.viewer.cores_measured import by_network, clear_measured, measured_of_layer
from napari_her2.viewer.cores_scores import set_scores
from napari_her2.viewer.measuring import Measuring
from napari_her2.viewer.slide_layer import KEY
from napari_her2.viewer.slide_stains import SlideStains
from napari_her2.viewer.stain_layers import keep_stains
from napari_her2.viewer.widgets.measure_box import MeasureBox
from napari_her2.viewer.widgets.stain_box import StainBox

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


# --- stains --------------------------------------------------------------------------------------------------------


def test_stains_are_estimated_once_the_cores_are_there_and_kept_with_the_image(measuring, qtbot):
    ready = measuring
    ready.session.find()
    qtbot.waitUntil(lambda: ready.slide_stains.stains is not None, timeout=10_000)
    stains = ready.slide_stains.stains
    assert stains.source == "estimated"
    assert np.abs(np.array(stains.white) - GLASS).max() < 3
    assert angle(stains.dab, QUPATH_STAINS.dab) < 3
    assert ready.session.image.metadata[KEY]["stains"] == stains.to_dict()
    again = Measuring(ready.session, SlideStains(ready.session))
    assert again.slide_stains.stains.to_dict() == stains.to_dict()
    assert not again.slide_stains.estimating


def test_a_region_that_the_user_draws_corrects_a_stain_at_once(ready, viewer, qtbot):
    stains = ready.slide_stains
    stains.show("dab")
    stains.correct("white")
    region = viewer.layers["tma region"]
    assert (viewer.layers.selection.active, region.mode) == (region, "add_rectangle")
    PICTURE[4:12, 4:12] = (220, 210, 200)
    try:
        region.add_rectangles(np.array([[4, 4], [4, 12], [12, 12], [12, 4]]))
        qtbot.waitUntil(lambda: stains.region is None)
    finally:
        PICTURE[4:12, 4:12] = GLASS
    assert stains.stains.white == (220, 210, 200)
    assert stains.stains.source == "region"
    assert said(ready) == ("Glass is now 220, 210, 200.", False)
    assert "tma region" not in viewer.layers
    assert viewer.layers["tma DAB"].metadata[KEY]["stains"] == stains.stains.to_dict()
    assert viewer.layers["tma DAB"].visible
    stains.reset()
    qtbot.waitUntil(lambda: stains.stains is not None and not stains.estimating)
    assert stains.stains.source == "estimated"


def test_a_region_that_cannot_be_is_told_and_changes_nothing(ready, viewer, qtbot):
    stains = ready.slide_stains
    before = stains.stains
    stains.correct("dab")
    viewer.layers["tma region"].add_rectangles(np.array([[4, 4], [4, 12], [12, 12], [12, 4]]))
    qtbot.waitUntil(lambda: stains.region is None)
    assert said(ready) == ("The region for dab is as pale as glass: draw it where the stain is strong.", True)
    assert stains.stains == before
    stains.correct("dab")
    viewer.layers.remove("tma region")
    assert stains.region is None
    assert stains.stains == before


def test_stains_go_to_a_file_and_come_back_on_another_slide(ready, tmp_path, qtbot):
    stains, path = ready.slide_stains, tmp_path / "batch.json"
    stains.save_stains(path)
    mine = Stains((230.0, 231.0, 232.0), (0.6, 0.7, 0.39), QUPATH_STAINS.dab, 1, 1)
    assert json.loads(path.read_text())["source"] == "estimated"
    path.write_text(json.dumps({"measurement": {"stains": mine.to_dict()}, "image": {}}))
    stains.load_stains(path)
    assert stains.stains.to_dict() == mine.to_dict()
    for text in ("{", "[1]", '{"white": [1, 2]}'):
        path.write_text(text)
        stains.load_stains(path)
        assert said(ready)[1]
        assert stains.stains.to_dict() == mine.to_dict()


def test_what_cannot_be_unmixed_is_said_in_one_sentence(measuring, viewer, qtbot):
    stains = measuring.slide_stains
    viewer.layers.remove("tma")
    assert measuring.why_not() == "Open a slide first."
    viewer.add_image(np.zeros((50, 50), np.uint16), name="DAPI")
    assert measuring.why_not().startswith("DAPI is not an RGB image")
    dark = np.zeros((300, 300, 3), np.uint8)
    dark[100:110, :, 2] = 200
    viewer.add_image(dark, rgb=True, name="overlay")
    stains.estimate()
    qtbot.waitUntil(lambda: not stains.estimating)
    assert said(measuring) == (
        "overlay is dark, as fluorescence is: stains can be told on a brightfield scan of a DAB-stained slide only.",
        True,
    )
    assert stains.why_not == said(measuring)[0]
    viewer.add_image(np.full((300, 300, 3), 240, np.uint8), rgb=True, name="empty")
    stains.estimate()
    qtbot.waitUntil(lambda: stains.stains is not None)
    assert stains.stains.warnings[0].startswith("Haematoxylin could not be measured")


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


@pytest.mark.parametrize("name", ["tma", "tma cores"])
def test_a_layer_that_is_deleted_meanwhile_is_told(ready, viewer, gate, qtbot, name):
    ready.measure(["A-1", "A-2"])
    run = ready.session.run
    viewer.layers.remove(name)
    gate.release(100)
    qtbot.waitUntil(lambda: not run.running, timeout=10_000)
    assert said(ready) == (
        f"Measuring stopped because {name} was deleted; the cores that were done are kept.",
        True,
    )


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
    measured.session.export(tmp_path)
    qtbot.waitUntil(lambda: not measured.session.busy, timeout=10_000)
    table = read_cores_file(tmp_path / "tma.cores.csv").table.set_index("core")
    assert table.loc["A-1", "measured_score"] == "3+"
    record = json.loads((tmp_path / "tma.run.json").read_text())
    assert record["measurement"]["stains"] == measured.slide_stains.stains.to_dict()
    assert record["measurement"]["rules"] == measured.rules


# --- the boxes -----------------------------------------------------------------------------------------------------


@pytest.fixture
def boxes(ready, qtbot):
    stain_box, measure_box = StainBox(ready.slide_stains), MeasureBox(ready)
    for box in (stain_box, measure_box):
        qtbot.addWidget(box)
        ready.session.changed.connect(box.refresh)
        box.refresh()
    return stain_box, measure_box


def test_the_stains_are_shown_beside_those_of_qupath(boxes, ready, viewer):
    box, _ = boxes
    assert box.inner.isHidden()
    box.fold.click()
    assert not box.inner.isHidden()
    assert box.numbers["dab"].text() == "0.269 0.568 0.778   0.0°"
    assert box.numbers["white"].text() == "240, 240, 244"
    assert box.summary.text() == "estimated"
    box.views["dab"].click()
    assert box.views["dab"].isChecked()
    assert viewer.layers["tma DAB"].visible
    box.regions["white"].click()
    assert "tma region" in viewer.layers
    assert not viewer.layers["tma DAB"].visible  # while a region is drawn
    box.regions["white"].click()
    assert "tma region" not in viewer.layers
    assert viewer.layers["tma DAB"].visible


def test_the_box_measures_and_shows_what_it_found(boxes, ready, qtbot):
    _, box = boxes
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
