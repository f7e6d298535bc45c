"""The review page in a real viewer, driven as a user drives it."""

from __future__ import annotations

import math

import pytest
from qtpy.QtCore import Qt

from napari_her2.scores import SCORES
from napari_her2.viewer import calibrating
from napari_her2.viewer.heatmap_layer import find_heatmap_layer, kind_of_layer
from napari_her2.viewer.patches_layer import find_patches_layer
from napari_her2.viewer.selection import selected_names
from napari_her2.viewer.widgets.calibrate_dialog import CalibrateDialog
from napari_her2.viewer.widgets.train_dialog import TrainDialog


@pytest.fixture
def opened(make_viewer, add_widget, qtbot):
    """Viewer and widget with the discs scored, turned to the review page."""
    viewer = make_viewer()
    _, widget = add_widget(viewer)
    widget.cores_box.find.click()
    qtbot.waitUntil(lambda: not widget.session.busy)
    widget.score_box.all.click()
    qtbot.waitUntil(lambda: not widget.session.working)
    widget.results_box.review.click()
    return viewer, widget


def press(viewer, qtbot, key) -> None:
    """A key as napari gets it from the canvas."""
    qtbot.keyClick(viewer.__wrapped__.window._qt_viewer.canvas.native, key)


def chosen(widget) -> list[str]:
    return selected_names(widget.session.cores_layer)


def test_cores_are_read_with_one_key_each_on_page_and_canvas(opened, qtbot):
    viewer, widget = opened
    page, session = widget.review_page, widget.session
    assert chosen(widget) == ["A-1"]
    assert page.core_card.title.text() == "A-1"
    assert "<b>0</b>" in page.model.text()
    assert page.opinion.bars.probabilities == session.scores()["A-1"].probabilities
    press(viewer, qtbot, Qt.Key.Key_3)
    assert session.grid()["A-1"].reader_score == "3+"
    assert len(session.grid()) == 8  # napari's own 3 deletes shapes
    assert chosen(widget) == ["A-2"]
    qtbot.keyClick(page, Qt.Key.Key_1)
    assert session.grid()["A-2"].reader_score == "1+"
    assert chosen(widget) == ["A-3"]
    page.go_on.setChecked(False)
    page.opinion.buttons["2+"].click()
    assert chosen(widget) == ["A-3"]
    assert page.opinion.buttons["2+"].isChecked()
    assert page.queue.itemText(0) == "Opinions differ (1)"
    assert page.queue.itemText(3) == "Not read (5)"
    press(viewer, qtbot, Qt.Key.Key_Left)
    assert chosen(widget) == ["A-2"]
    qtbot.keyClick(page, Qt.Key.Key_Right)
    assert chosen(widget) == ["A-3"]
    page.opinion.buttons["2+"].click()
    assert session.grid()["A-3"].reader_score == ""
    assert not page.opinion.buttons["2+"].isChecked()
    page.undo.click()
    assert session.grid()["A-3"].reader_score == "2+"
    page.queue.activated.emit(0)
    assert chosen(widget) == ["A-1"]
    assert page.queue_card.summary.text() == "1 of 1"
    assert "Too few to tell" in page.agreed.text()
    page.back.click()
    assert widget.pages.currentIndex() == 0
    press(viewer, qtbot, Qt.Key.Key_Right)
    assert chosen(widget) == ["A-1"]  # the arrows are napari's again
    assert widget.results_box.summary.text() == "3 read by you"


def test_several_cores_are_read_at_once_and_no_core_is_said(opened):
    _, widget = opened
    page, layer = widget.review_page, widget.session.cores_layer
    layer.selected_data = {0, 1, 2}
    assert page.model.text().startswith("3 cores selected")
    page.opinion.buttons["1+"].click()
    assert [core.reader_score for core in widget.session.grid()][:4] == ["1+", "1+", "1+", ""]
    assert len(layer.selected_data) == 3
    layer.selected_data = set()
    assert page.model.text() == "Press Next, or click a core."
    assert not page.opinion.buttons["0"].isEnabled()
    assert all(math.isnan(p) for p in page.opinion.bars.probabilities)


def test_calibrating_in_the_dialog_shows_before_and_after_and_names_the_batch(opened, qtbot):
    _, widget = opened
    page, session = widget.review_page, widget.session
    dialog = CalibrateDialog(widget.editor, widget)
    assert "Read some scored cores first" in dialog.sentence.text()
    assert not dialog.apply.isEnabled()
    dialog.reject()
    page.go_on.setChecked(False)
    for column in range(3):
        session.cores_layer.selected_data = {column, column + 4}
        page.opinion.buttons[SCORES[column + 1]].click()
    dialog = CalibrateDialog(widget.editor, widget)
    assert dialog.batch.text() == "tma"
    assert dialog.which.currentText() == "All 6 cores that you read"
    assert dialog.right.text().startswith("Right: 0 of 6 before, ")
    assert "would be other ones" in dialog.changes.text()
    dialog.batch.clear()
    assert "no name" in dialog.sentence.text()
    assert not dialog.apply.isEnabled()
    qtbot.keyClicks(dialog.batch, "run 7")
    dialog.apply.click()
    assert calibrating.batch_of(session.model) == "run 7"
    assert "cut points of run 7" in widget.score_box.summary.text()
    assert widget.score_box.model.currentText() == "mock 0"
    assert "flatter" in page.agreed.text()
    page.undo.click()
    assert widget.score_box.summary.text() == "8 scored"
    page.redo.click()
    dialog = CalibrateDialog(widget.editor, widget)
    assert dialog.batch.text() == "run 7"
    dialog.own.click()
    assert calibrating.batch_of(session.model) == ""


def test_training_is_refused_in_the_dialog_with_how_many_are_needed(opened):
    _, widget = opened
    dialog = TrainDialog(widget.session, widget)
    assert dialog.verdict.text().startswith("No core was read yet")
    assert not dialog.train.isEnabled()
    dialog.reject()
    widget.session.cores_layer.selected_data = {0, 1}
    widget.review_page.opinion.buttons["0"].click()
    dialog = TrainDialog(widget.session, widget)
    assert "2 of 0, 0 of 1+" in dialog.labels.text()
    assert "at least 8 cores of each score" in dialog.verdict.text()
    assert not dialog.train.isEnabled()
    dialog.reject()


def test_heatmap_and_patches_explain_the_core_under_review(opened):
    viewer, widget = opened
    explain, session = widget.review_page.explain, widget.session
    layer = find_heatmap_layer(viewer.layers, session.image)
    explain.kind.activated.emit(1)
    assert kind_of_layer(layer) == "at_least_2"
    assert (explain.low.text(), explain.high.text()) == ("0 %", "100 %")
    explain.kind.activated.emit(3)
    assert not layer.visible
    explain.kind.activated.emit(0)
    assert layer.visible
    assert kind_of_layer(layer) == "score"
    explain.patches.click()
    drawn = find_patches_layer(viewer.layers, session.image)
    assert drawn.metadata["napari_her2"]["core"] == "A-1"
    widget.review_page.next.click()
    drawn = find_patches_layer(viewer.layers, session.image)
    assert drawn.metadata["napari_her2"]["core"] == "A-2"
    explain.patches.click()
    assert find_patches_layer(viewer.layers, session.image) is None
    explain.patches.click()
    widget.show_review(False)
    assert find_patches_layer(viewer.layers, session.image) is None


def test_the_page_fits_at_1280x800(opened):
    _, widget = opened
    assert widget.review_page.minimumSizeHint().width() <= 320
    assert widget.review_page.sizeHint().height() < 660
