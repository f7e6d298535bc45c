"""Nuclei of a finder in the viewer: chosen in the box, opened in the background, told in the results."""

# ruff: noqa: F401, F811 (fixtures)

from __future__ import annotations

import pytest
from test_measuring import grid_of_discs, image, measured, measuring, ready

from discs import Pieces
from napari_her2.errors import ModelError
from napari_her2.finders import BUILT_IN, FINDERS
from napari_her2.membrane import Thresholds
from napari_her2.membrane.batch import BatchThresholds
from napari_her2.viewer import ask
from napari_her2.viewer.widgets import nuclei_button
from napari_her2.viewer.widgets.measure_box import MeasureBox


@pytest.fixture
def box(measured, qtbot):
    box = MeasureBox(measured)
    qtbot.addWidget(box)
    measured.session.changed.connect(box.refresh)
    return box


def choose(box, name, qtbot):
    box.nuclei.ways[name].trigger()
    qtbot.waitUntil(lambda: not box._measuring.session.working, timeout=20_000)


def test_a_finder_is_opened_and_what_was_measured_before_is_out_of_date(box, measured, qtbot, tmp_path, monkeypatch):
    monkeypatch.setattr(ask, "nuclei_weights", lambda *_: tmp_path)
    monkeypatch.setitem(FINDERS, "stardist", lambda weights, device: Pieces())
    assert box.nuclei.ways[BUILT_IN].isChecked()
    assert not measured.outdated
    choose(box, "stardist", qtbot)
    assert "cellpose pieces.pt 0123456789ab" in box.nuclei.toolTip()
    assert isinstance(measured.params().finder, Pieces)
    assert measured.outdated
    assert "out of date" in box.summary.text()
    box.all.click()
    qtbot.waitUntil(lambda: not measured.session.working, timeout=20_000)
    assert not measured.outdated
    known = measured.session.cores_layer.metadata["napari_her2"]["measured_with"]
    assert known["nuclei"]["weights"] == "pieces.pt"
    choose(box, BUILT_IN, qtbot)
    assert measured.outdated
    assert measured.params().finder is None


def test_the_menu_says_what_is_not_installed(measured, qtbot, monkeypatch):
    monkeypatch.setattr(nuclei_button, "installed", lambda name: name == "stardist")
    box = MeasureBox(measured)
    qtbot.addWidget(box)
    said = [way.text() for way in box.nuclei.ways.values()]
    assert said == [
        "Nuclei found here",
        "By Cellpose… (not installed)",
        "By StarDist…",
        "By InstanSeg… (not installed)",
    ]


def test_thresholds_serve_the_nuclei_that_they_were_fitted_with(measured):
    batch = BatchThresholds("Run 7", Thresholds(), measured.rules, 3, 3, 3, "", "")
    measured.use_batch(batch)
    assert measured.batch_in_use == batch
    measured.use_finder(Pieces())
    assert measured.batch_in_use is None


def test_a_finder_that_cannot_be_opened_is_told_and_nothing_changes(box, measured, qtbot, tmp_path, monkeypatch):
    def refuses(weights, device):
        raise ModelError("These are no weights.")

    monkeypatch.setitem(FINDERS, "instanseg", refuses)
    monkeypatch.setattr(ask, "nuclei_weights", lambda *_: None)
    before = list(measured.session.sentences)
    choose(box, "instanseg", qtbot)
    assert measured.session.sentences == before
    monkeypatch.setattr(ask, "nuclei_weights", lambda *_: tmp_path)
    choose(box, "instanseg", qtbot)
    assert ("These are no weights.", True) in measured.session.sentences
    assert measured.finder is None
    assert box.nuclei.ways[BUILT_IN].isChecked()
    assert not box.nuclei.ways["instanseg"].isChecked()
