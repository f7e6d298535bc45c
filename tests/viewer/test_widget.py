"""The real widget in a real viewer, driven as a user drives it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QLabel

from napari_her2.colours import SCORE_COLOURS
from napari_her2.dearray import find_cores
from napari_her2.engine import DEVICES
from napari_her2.export import read_cores
from napari_her2.scores import SCORES
from napari_her2.viewer import ask
from napari_her2.viewer.widgets.score_box import DEVICE_NAMES


def steps(widget) -> list[str]:
    return [card.property("step") for card in widget._cards]


def test_find_select_score_cancel_score_the_rest_export_close_reopen(
    make_viewer, add_widget, qtbot, slow, answers, tmp_path, monkeypatch
):
    viewer = make_viewer()
    dock_widget, widget = add_widget(viewer)
    session = widget.session
    assert steps(widget) == ["done", "next", "todo", "todo"]
    assert "Find cores" in widget.cores_box.hint.text()
    assert not widget.score_box.all.isEnabled()
    assert widget.score_box.why.text() == "Find the cores first."
    assert any("Research use only" in label.text() for label in widget.findChildren(QLabel))

    # find
    widget.cores_box.find.click()
    assert not widget.progress.isHidden()
    qtbot.waitUntil(lambda: not session.busy)
    assert widget.progress.isHidden()
    layer = viewer.layers["tma cores"]
    assert layer.nshapes == 8
    assert steps(widget) == ["done", "done", "next", "todo"]

    # select: a click as napari makes it, then the row
    layer.selected_data = {1}
    assert widget.cores_box.selected.text() == "1 of 8 cores selected"
    widget.cores_box.buttons["Row"].click()
    assert widget.cores_box.selected.text() == "4 of 8 cores selected"
    assert widget.score_box.selected.text() == "Score selected (4)"
    widget.cores_box.buttons["Column"].click()
    assert widget.cores_box.selected.text() == "8 of 8 cores selected"
    layer.selected_data = {0}
    widget.cores_box.buttons["Invert"].click()
    assert widget.cores_box.selected.text() == "7 of 8 cores selected"

    # score, cancel: two done, the third is finished
    slow.release(2)
    widget.score_box.selected.click()
    qtbot.waitUntil(lambda: session.run.done == 2 and slow.entered == 3)
    assert widget.progress.text.text().startswith("2 of 7 cores, ")
    assert widget.progress.bar.value() == 2
    assert not widget.score_box.selected.isEnabled()
    qtbot.waitUntil(lambda: "tma HER2 heatmap" in [la.name for la in viewer.layers])
    widget.progress.cancel.click()
    assert not widget.progress.cancel.isEnabled()
    slow.release()
    qtbot.waitUntil(lambda: not session.working)
    assert widget.progress.isHidden()
    assert widget.status.text() == "Cancelled: 3 of 7 cores of tma scored."
    assert list(layer.features["her2_score"]) == ["", "1+", "2+", "3+", "", "", "", ""]

    # score the rest
    slow.release(100)
    assert widget.score_box.all.text() == "Score the rest (5)"
    widget.score_box.all.click()
    qtbot.waitUntil(lambda: not session.working)
    assert list(layer.features["her2_score"]) == list(SCORES) * 2
    assert [chip.text() for chip in widget.results_box.chips.values()] == [f"{s}:  2" for s in SCORES]
    for score, chip in widget.results_box.chips.items():
        assert SCORE_COLOURS[score] in chip.styleSheet()
    assert steps(widget) == ["done", "done", "done", "next"]

    # export
    monkeypatch.setattr(ask, "folder", lambda *_: tmp_path)
    widget.results_box.export.click()
    qtbot.waitUntil(lambda: not session.busy)
    assert len(list(tmp_path.iterdir())) == 6
    assert len(read_cores(tmp_path / "tma.cores.csv")) == 8

    # close, and reopen: nothing is lost
    heat = viewer.layers["tma HER2 heatmap"].data.copy()
    viewer.window.remove_dock_widget(dock_widget)
    assert session.image is None
    _, again = add_widget(viewer)
    assert again is not widget
    assert steps(again) == ["done", "done", "done", "next"]
    assert [chip.text() for chip in again.results_box.chips.values()] == [f"{s}:  2" for s in SCORES]
    assert np.array_equal(viewer.layers["tma HER2 heatmap"].data, heat, equal_nan=True)
    assert answers.asked == []


def test_a_closed_dock_lets_go_of_everything(make_viewer, add_widget, qtbot, slow):
    viewer = make_viewer()
    dock_widget, widget = add_widget(viewer)
    widget.cores_box.find.click()
    qtbot.waitUntil(lambda: not widget.session.busy)
    slow.release(1)
    widget.score_box.all.click()
    run = widget.session.run
    qtbot.waitUntil(lambda: run.done == 1 and slow.entered == 2)
    viewer.window.remove_dock_widget(dock_widget)
    assert run.cancelled
    widget.deleteLater()
    slow.release(100)
    qtbot.waitUntil(lambda: not run.running)
    layer = viewer.layers["tma cores"]
    assert list(layer.features["her2_score"])[:3] == ["0", "1+", ""]
    layer.selected_data = {1}
    viewer.add_image(np.zeros((64, 64, 3), np.uint8), rgb=True)


def test_a_missing_pixel_size_is_asked_for(make_viewer, add_widget, qtbot):
    viewer = make_viewer(scale=(1, 1), units=None)
    _, widget = add_widget(viewer)
    box = widget.slide_box
    assert box.mpp.text() == ""
    assert box.mpp.property("asked") == "true"
    assert box.source.text() == "unknown: please type it"
    widget.cores_box.find.click()
    qtbot.waitUntil(lambda: not widget.session.busy)
    assert steps(widget) == ["next", "done", "todo", "todo"]
    assert widget.score_box.why.text() == "Give the pixel size in step 1 first."
    for text, words in (("0,5 um", "is no number"), ("72", "cannot be right")):
        box.mpp.clear()
        qtbot.keyClicks(box.mpp, text)
        box.mpp.editingFinished.emit()
        assert words in widget.status.text()
        assert widget.status.objectName() == "error"
        # napari tells it too, as a sentence and not as an exception with its traceback
        assert notification_manager.records[-1].message == widget.status.text()
        assert type(notification_manager.records[-1]).__name__ == "Notification"
    box.mpp.clear()
    qtbot.keyClicks(box.mpp, "2,0")
    box.mpp.editingFinished.emit()
    assert widget.session.slide.mpp == 2
    assert box.source.text() == "given by you"
    assert box.mpp.property("asked") == "false"
    assert widget.score_box.all.isEnabled()


def test_a_real_slide_without_pixel_size_makes_the_widget_ask(make_viewer, add_widget, real_data):
    viewer = make_viewer()
    viewer.open(str(real_data / "slides" / "tcga_small.svs"), plugin="napari-her2")
    _, widget = add_widget(viewer)
    assert widget.slide_box.layers.currentText() == "tcga_small"
    assert widget.slide_box.mpp.property("asked") == "true"


def test_the_widget_fits_beside_a_slide_at_1280x800(make_viewer, add_widget, qtbot):
    viewer = make_viewer()
    _, widget = add_widget(viewer)
    widget.cores_box.find.click()
    qtbot.waitUntil(lambda: not widget.session.busy)
    widget.session.score(widget.session.rest())
    qtbot.waitUntil(lambda: not widget.session.working)
    assert widget.sizeHint().width() <= 320
    assert widget.minimumSizeHint().width() <= 320
    needed = sum(card.sizeHint().height() for card in widget._cards)
    assert needed < 620


def test_with_no_slide_the_first_step_says_how_to_get_one(make_viewer, add_widget):
    viewer = make_viewer()
    _, widget = add_widget(viewer)
    viewer.layers.clear()
    assert steps(widget)[0] == "next"
    assert "Open Sample" in widget.slide_box.hint.text()
    assert not widget.cores_box.find.isEnabled()
    viewer.add_image(np.zeros((64, 64), np.uint8), name="grey")
    assert widget.slide_box.layers.currentText() == "No RGB image is open"


def test_a_model_file_that_is_a_pickle_is_refused(make_viewer, add_widget, tmp_path, monkeypatch):
    viewer = make_viewer()
    _, widget = add_widget(viewer)
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x04K\x01.")
    monkeypatch.setattr(ask, "model", lambda *_: tmp_path / "model.safetensors")
    box = widget.score_box.model
    box.setCurrentIndex(box.count() - 1)
    box.activated.emit(box.count() - 1)
    assert "pickle" in widget.status.text()
    assert box.currentText() == "mock 0"
    assert widget.session.model.name == "mock"


def test_every_device_of_the_engine_can_be_chosen():
    assert tuple(DEVICE_NAMES) == DEVICES


def test_opening_the_widget_imports_no_network_library():
    code = (
        "import sys; import napari_her2.viewer.widgets.her2_widget, napari_her2.viewer.reader; "
        "from qtpy.QtWidgets import QApplication; app = QApplication([]); "
        "from napari.components import ViewerModel; "
        "napari_her2.viewer.widgets.her2_widget.HER2Widget(ViewerModel()); "
        "print([m for m in ('torch', 'openvino', 'onnxruntime', 'napari_her2.engine') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_demo_finds_and_scores_the_sample(make_viewer, add_widget, qtbot, monkeypatch):
    from napari_her2.viewer.demo import show_demo

    viewer = make_viewer()
    viewer.layers.clear()
    monkeypatch.setattr("napari_her2.dearray.find_cores", find_cores)
    widget = show_demo(viewer)
    qtbot.waitUntil(lambda: widget.session.run is not None and not widget.session.working, timeout=60_000)
    assert [layer.name for layer in viewer.layers] == [
        *("sample_her2_tma", "sample_her2_tma HER2 heatmap", "sample_her2_tma cores")
    ]
    grid = widget.session.grid()
    assert len(grid) == 20
    assert set(widget.session.scores()) == {core.name for core in grid.scorable}
