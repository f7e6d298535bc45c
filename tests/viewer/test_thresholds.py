"""Thresholds calibrated in the viewer: a slide of four stained cores, paler than the default thresholds expect."""

# ruff: noqa: F401, F811 (fixtures)

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import test_measuring
from qtpy.QtCore import Qt
from test_measuring import measured, measuring, ready, said

from napari_her2.cli.measure import measuring as cli_measuring
from napari_her2.cli.options import MeasureOptions
from napari_her2.cores import Core, CoreGrid
from napari_her2.membrane import Thresholds
from napari_her2.stain import QUPATH_STAINS
from napari_her2.stain_range import nuclear_warning
from napari_her2.viewer import ask, thresholds
from napari_her2.viewer.measuring import Measuring
from napari_her2.viewer.slide_stains import SlideStains
from napari_her2.viewer.widgets.measure_box import MeasureBox
from napari_her2.viewer.widgets.thresholds_dialog import ThresholdsDialog

BROWN = {"0": 0.0, "2+": 0.14, "3+": 0.26}  # 3+ stains like 2+ of elsewhere
READ = ("3+", "3+", "2+", "0")


def pale_cores() -> np.ndarray:
    pitch, glass = test_measuring.PITCH, np.array(test_measuring.GLASS)
    y, x = np.mgrid[:400, :1600]
    v, u = y % pitch - pitch / 2 + 0.5, x % pitch - pitch / 2 + 0.5
    h = 0.03 + 0.15 / (1 + np.exp((np.hypot(v, u) - 7) / 0.7))
    brown = np.array([BROWN[score] for score in READ])[x // 400]
    d = brown * np.exp(-(((pitch / 2 - np.maximum(abs(v), abs(u))) / 1.4) ** 2))
    tissue = np.hypot(y - 200, x % 400 - 200) < 190
    od = (h * tissue)[..., None] * np.array(QUPATH_STAINS.hematoxylin)
    od += (d * tissue)[..., None] * np.array(QUPATH_STAINS.dab)
    return np.clip(np.rint(glass * 10**-od), 0, 255).astype(np.uint8)


PICTURE = pale_cores()


@pytest.fixture
def grid_of_discs():
    cores = [Core(f"A-{k + 1}", 0, k, 200.0, 400.0 * k + 200, 380.0, reader_score=s) for k, s in enumerate(READ)]
    return CoreGrid(tuple(cores))


@pytest.fixture
def image(viewer):
    return viewer.add_image(PICTURE, rgb=True, name="tma", scale=(0.5, 0.5), units=("um", "um"))


@pytest.fixture
def dialog(ready, qtbot):
    dialog = ThresholdsDialog(ready)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    qtbot.addWidget(dialog)
    return dialog


@pytest.fixture
def fitted(dialog, ready, qtbot):
    qtbot.waitUntil(lambda: not ready.session.busy, timeout=20_000)
    assert dialog.found is not None, dialog.sentence.text()
    return dialog


def wait_for(measuring, qtbot):
    qtbot.waitUntil(lambda: not measuring.session.working, timeout=20_000)


def test_control_cores_bring_the_thresholds_to_the_batch_and_undo_brings_them_back(fitted, ready, qtbot):
    assert ready.params().thresholds == Thresholds()
    assert " of 4 with the default thresholds, 4 with these." in fitted.sentence.text()
    assert fitted.numbers.text().startswith(f"Faint from {Thresholds().faint:.3f} to 0.0")
    assert 1 <= fitted.controls.text().count("✗") <= 3  # all under Default
    fitted.batch.setText("")
    assert not fitted.apply.isEnabled()
    fitted.batch.setText("Run 7")
    fitted.apply.click()
    assert ready.params().thresholds.intense < Thresholds().intense
    assert said(ready)[0].startswith("Measuring with the thresholds of Run 7 from now on.")
    ready.measure(["A-1"])
    wait_for(ready, qtbot)
    assert ready.measured()["A-1"].score == "3+"
    assert ready.session.cores_layer.metadata["napari_her2"]["measured_with"]["batch"] == "Run 7"
    assert ready.undoes_batch == "the default thresholds"
    ready.undo_batch()
    assert ready.params().thresholds == Thresholds()
    assert ready.outdated


def test_measured_cores_stay_until_they_are_measured_again(fitted, ready, answers, qtbot):
    ready.measure(["A-1", "A-4"])
    wait_for(ready, qtbot)
    before = ready.measured()["A-1"]
    fitted.apply.click()
    assert ready.measured()["A-1"].score == before.score == "2+"
    assert "2 cores were measured with others: Measure all does so again." in said(ready)[0]
    assert ready.outdated
    answers[:] = [True]
    ready.measure(["A-1"])
    wait_for(ready, qtbot)
    assert {name: m.score for name, m in ready.measured().items()} == {"A-1": "3+"}


def test_a_file_goes_to_the_command_line_and_back(fitted, ready, tmp_path, monkeypatch):
    path = tmp_path / "run.thresholds.json"
    monkeypatch.setattr(ask, "save_calibration", lambda *_: path)
    monkeypatch.setattr(ask, "calibration_file", lambda *_: path)
    fitted.batch.setText("Run 7")
    fitted.save.click()
    found = cli_measuring(MeasureOptions(measure_calibration=path))
    assert (found.batch, found.params.thresholds) == ("Run 7", fitted.found.thresholds)
    fitted.batch.setText("other")
    fitted.open.click()
    assert fitted.batch.text() == "Run 7"
    fitted.apply.click()
    assert ready.batch_in_use == thresholds.load_thresholds(ready, path)
    ready.rules = list(thresholds.RULES)[1]
    assert ready.batch_in_use is None  # they hold for the rules they were made by
    fitted.open.click()
    assert "was made by the rules" in fitted.sentence.text()
    ready.rules = next(iter(thresholds.RULES))
    path.write_text(path.read_text().replace('"nuclei": "built-in"', '"nuclei": "stardist mine 0123456789ab"'))
    fitted.open.click()
    assert "with nuclei found by stardist mine 0123456789ab" in fitted.sentence.text()
    path.write_text("{}")
    fitted.open.click()
    assert "is no calibration" in fitted.sentence.text()
    assert not fitted.apply.isEnabled()


def test_what_was_chosen_lives_with_the_cores(fitted, ready, qtbot):
    fitted.batch.setText("Run 7")
    fitted.apply.click()
    again = Measuring(ready.session, SlideStains(ready.session))
    ready.session.changed.emit()
    assert again.batch == ready.batch


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        (("3+", "0", "", ""), "2 control cores have a reader's score: at least 3 are needed."),
        (("0", "", "", ""), "1 control core has a reader's score"),
        (("0",) * 4, "All 4 control cores are 0"),
    ],
)
def test_what_is_missing_is_said(ready, qtbot, scores, why):
    grid = ready.session.grid()
    ready.session.watch.edit(
        "reading", CoreGrid(tuple(replace(c, reader_score=s) for c, s in zip(grid, scores, strict=True)))
    )
    dialog = ThresholdsDialog(ready)
    qtbot.addWidget(dialog)
    assert dialog.sentence.text().startswith(why)
    assert not dialog.apply.isEnabled()
    assert not dialog.save.isEnabled()


def test_cancel_is_taken_note_of(dialog, ready):
    ready.session.cancel()
    assert dialog.sentence.text().startswith("Cancelled.")
    dialog.reject()


def test_the_box_names_the_batch_and_warns_of_pale_nuclei(fitted, ready, qtbot, monkeypatch):
    monkeypatch.setattr(Measuring, "base", replace(Measuring.base, nuclear_od=(0.3, 0.4)))
    box = MeasureBox(ready)
    qtbot.addWidget(box)
    ready.measure(["A-1"])
    wait_for(ready, qtbot)
    box.refresh()
    assert box.sentence.text().startswith("Nuclear haematoxylin is weaker on this slide")
    assert "Nuclear haematoxylin is weaker" in said(ready)[0]
    assert box.thresholds.text() == "Thresholds…"
    fitted.batch.setText("Run 7 of November")
    fitted.apply.click()
    box.refresh()
    assert box.thresholds.text() == "Run 7 of No…"
    assert "Run 7 of November: " in box.thresholds.toolTip()
    assert not box.sentence.text().startswith("Nuclear")


def test_the_middle_of_the_cores_tells():
    assert nuclear_warning([0.1, 0.1, 0.5, float("nan")], (0.06, 0.25)) == ""
    assert nuclear_warning([], (0.06, 0.25)) == ""
    told = nuclear_warning([0.3], (0.06, 0.25))
    assert "stronger on this slide" in told
    assert "OD 0.30, median of 1 core; 0.06 to 0.25" in told
