"""The grid page in a real viewer, driven as a user drives it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QDialog

from napari_her2.cores import CoreState
from napari_her2.viewer import ask
from napari_her2.viewer.selection import selected_names
from napari_her2.viewer.widgets.map_dialog import MapDialog


@pytest.fixture
def opened(make_viewer, add_widget, qtbot, grid_of_discs, monkeypatch):
    """Viewer and widget with cores found, two of them doubtful, turned to the grid page."""
    grid = grid_of_discs.with_core(replace(grid_of_discs["B-3"], found_confidence=0.4, reason="hardly stands out"))
    grid = grid.with_core(replace(grid["A-4"], found_confidence=0.8, reason="far from its place in the grid"))
    viewer = make_viewer()
    monkeypatch.setattr("napari_her2.dearray.find_cores", lambda slide, params: grid)
    _, widget = add_widget(viewer)
    widget.cores_box.find.click()
    qtbot.waitUntil(lambda: not widget.session.busy)
    widget.cores_box.edit.click()
    return viewer, widget


def press(viewer, qtbot, key, modifier=Qt.KeyboardModifier.NoModifier) -> None:
    """A key as napari gets it from the canvas."""
    qtbot.keyClick(viewer.__wrapped__.window._qt_viewer.canvas.native, key, modifier)


def state(widget, name: str) -> CoreState:
    return widget.session.grid()[name].state


def test_doubtful_cores_are_listed_first_and_decided_with_one_key(opened, qtbot):
    viewer, widget = opened
    page = widget.grid_page
    lines = [page.check.list.topLevelItem(i) for i in range(page.check.list.topLevelItemCount())]
    assert [line.text(0) for line in lines][:3] == ["B-3", "A-4", "A-1"]
    assert (lines[0].text(1), lines[0].text(2)) == ("40%", "hardly stands out")
    assert page.check.summary.text() == "2 of 8 doubtful"
    page.check.list.itemClicked.emit(lines[0], 0)
    assert selected_names(widget.session.cores_layer) == ["B-3"]
    press(viewer, qtbot, Qt.Key.Key_M)
    assert state(widget, "B-3") is CoreState.MISSING
    assert page.check.summary.text() == "1 of 8 doubtful"
    press(viewer, qtbot, Qt.Key.Key_N)
    assert selected_names(widget.session.cores_layer) == ["A-4"]
    press(viewer, qtbot, Qt.Key.Key_X)
    assert state(widget, "A-4") is CoreState.EXCLUDED
    press(viewer, qtbot, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert state(widget, "A-4") is CoreState.TISSUE
    press(viewer, qtbot, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    assert state(widget, "A-4") is CoreState.EXCLUDED
    page.undo.click()
    page.undo.click()
    assert not page.undo.isEnabled()
    assert page.check.summary.text() == "2 of 8 doubtful"
    page.check.buttons["Right"].click()
    page.back.click()
    assert widget.pages.currentIndex() == 0


def test_names_and_lines_show_the_grid_and_change_it(opened, qtbot):
    _, widget = opened
    names, lines, session = widget.grid_page.names, widget.grid_page.lines, widget.session
    assert (names.rows.text(), names.columns.text()) == ("A-B", "1-4")
    assert names.summary.text() == "2 rows × 4 columns"
    assert not names.sectors.isEnabled()
    names.rows.clear()
    qtbot.keyClicks(names.rows, "H-G")
    names.rows.editingFinished.emit()
    assert [core.name for core in session.grid()][::4] == ["H-1", "G-1"]
    names.order.setCurrentIndex(1)
    names.order.activated.emit(1)
    assert session.grid().cores[0].name == "1-H"
    assert (names.rows.text(), names.order.currentIndex()) == ("H-G", 1)
    session.watch.undo()
    session.watch.undo()
    assert names.rows.text() == "A-B"
    assert not lines.after.isEnabled()
    session.cores_layer.selected_data = {1}
    assert lines.after.isEnabled()
    lines.axis.setCurrentIndex(1)
    assert lines.after.text() == "+ right"
    lines.after.click()
    assert session.grid()["A-3"].state is CoreState.MISSING
    assert names.columns.text() == "1-5"
    session.cores_layer.selected_data = {0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ask, "text", lambda *_, **__: "K")
        lines.rename.click()
    assert "A-K" in session.grid()


def test_a_grid_is_drawn_and_laid_onto_the_tissue(opened, qtbot):
    viewer, widget = opened
    session, draw = widget.session, widget.grid_page.draw
    rings = session.cores_layer
    widget.grid_page.bring.draw.click()
    assert draw.isVisibleTo(widget)
    assert not rings.visible
    assert not draw.use.isEnabled()
    draw.rows.setValue(2)
    draw.columns.setValue(4)
    # a little off: the discs lie at 80 and 200, 80 to 440
    draw.drawing.frame.add_rectangles(np.array([[70.0, 92.0], [70.0, 450.0], [206.0, 450.0], [206.0, 92.0]]))
    assert draw.use.isEnabled()
    draw.use.click()
    qtbot.waitUntil(lambda: not session.working, timeout=20_000)
    assert [layer.name for layer in viewer.layers] == ["tma", "tma cores"]
    assert rings.visible
    for core in session.grid():
        y, x = 80 + 120 * core.row, 80 + 120 * core.column
        assert np.hypot(core.y - y, core.x - x) < 5, core
        assert core.state is CoreState.TISSUE
    assert widget.grid_page.undo.toolTip().startswith("Drawing the grid")
    widget.grid_page.bring.draw.click()
    draw.cancel.click()
    assert [layer.name for layer in viewer.layers] == ["tma", "tma cores"]
    assert rings.visible


def test_a_map_is_looked_at_before_it_is_applied(opened, qtbot, tmp_path, monkeypatch):
    _, widget = opened
    session = widget.session
    path = tmp_path / "map.csv"
    path.write_text("core;patient\nA-1;P1\nB-2;P1\nZ-9;P3\nA-2;P4\nA-2;P5\n")
    dialog = MapDialog(widget.editor)
    qtbot.addWidget(dialog)
    assert not dialog.apply.isEnabled()
    monkeypatch.setattr(ask, "map_file", lambda *_: path)
    dialog.file.click()
    assert dialog.apply.text() == "Apply to 2 cores"
    assert dialog.table.item(0, 0).text() == "P1"
    assert dialog.table.item(1, 1).text() == "P1"
    assert "line 4 (Z-9: P3)" in dialog.rest.toPlainText()
    assert "A-2 has rows that disagree" in dialog.rest.toPlainText()
    assert session.grid()["A-1"].patient_id == ""
    dialog.apply.click()
    assert dialog.result() == QDialog.DialogCode.Accepted
    assert [core.patient_id for core in session.grid()] == ["P1", "", "", "", "", "P1", "", ""]
    session.watch.undo()
    assert all(core.patient_id == "" for core in session.grid())


def test_cells_are_pasted_and_what_is_no_map_is_said(opened, qtbot):
    _, widget = opened
    dialog = MapDialog(widget.editor)
    qtbot.addWidget(dialog)
    QApplication.clipboard().setText("P1\tP2\nP3\tP4\nP5\tP6\nP7\tP8")
    dialog.paste.click()
    # 4 x 2 on a grid of 2 x 4: it fits when it is turned over, and that is shown
    assert dialog.way.currentText() != "as it stands"
    assert [dialog.table.item(0, column).text() for column in range(4)] == ["P1", "P3", "P5", "P7"]
    QApplication.clipboard().setText("")
    dialog.paste.click()
    assert dialog.summary.text().endswith(".")
    assert not dialog.apply.isEnabled()


def test_a_slide_without_cores_offers_the_other_ways(make_viewer, add_widget):
    viewer = make_viewer()
    _, widget = add_widget(viewer)
    widget.cores_box.edit.click()
    page = widget.grid_page
    assert not page.check.isVisibleTo(widget)
    assert page.bring.draw.isEnabled()
    assert not page.bring.map.isEnabled()
    viewer.layers.clear()
    page.bring.draw.click()
    assert page.draw.drawing is None


def test_the_page_fits_beside_a_slide_at_1280x800(opened):
    _, widget = opened
    page = widget.grid_page
    assert widget.sizeHint().width() <= 320
    assert page.minimumSizeHint().width() <= 300
    assert page.minimumSizeHint().height() <= 640
    widget.grid_page.bring.draw.click()
    assert page.minimumSizeHint().width() <= 300
    page.draw.cancel.click()
