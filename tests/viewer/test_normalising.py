"""Colours normalised for the model: one table keeps to one setting, and so do calibrations."""

from __future__ import annotations

import json

import pytest

from napari_her2.errors import ModelError
from napari_her2.scores import SCORES
from napari_her2.stain import MODEL_REFERENCE, QUPATH_STAINS, Stains
from napari_her2.viewer import calibrating, one_way, results
from napari_her2.viewer.grid_editor import GridEditor
from napari_her2.viewer.reading import give_reading
from napari_her2.viewer.slide_stains import SlideStains
from napari_her2.viewer.stain_layers import keep_stains
from napari_her2.viewer.widgets.stain_box import StainBox

TOP = ["A-1", "A-2", "A-3", "A-4"]
BLUER = Stains((236.0, 236.0, 242.0), (0.60, 0.60, 0.53), (0.20, 0.52, 0.83), 1, 1, source="estimated")


@pytest.fixture
def known(found):
    """Cores found, the stains of the slide known, colours to be normalised."""
    keep_stains(found.image, BLUER)
    found.use_normalised(True)
    return found


def score(session, qtbot, names):
    session.score(names)
    qtbot.waitUntil(lambda: not session.working, timeout=20_000)


def test_scores_say_that_the_model_saw_other_colours_on_the_screen_and_in_the_files(known, qtbot, tmp_path):
    known.use_normalised(False)
    score(known, qtbot, ["A-3"])
    before = known.scores()["A-3"]
    known.use_normalised(True)
    score(known, qtbot, ["A-3"])
    after = known.scores()["A-3"]
    assert (before.normalised, after.normalised) == (False, True)
    assert before.value != pytest.approx(after.value, abs=0.01)
    assert list(known.cores_layer.features["normalised"][:4]) == ["", "", "yes", ""]
    results.export(known, tmp_path)
    qtbot.waitUntil(lambda: not known.busy, timeout=10_000)
    record = json.loads((tmp_path / "tma.run.json").read_text())
    assert record["normalised"] == {"stains": BLUER.to_dict(), "reference": MODEL_REFERENCE.to_dict()}
    assert "normalised to the model" in (tmp_path / "tma.report.html").read_text(encoding="utf-8")


def test_without_stains_nothing_is_scored(found):
    found.use_normalised(True)
    assert "stains of this slide are not known" in found.why_no_scoring()
    keep_stains(found.image, BLUER)
    assert found.why_no_scoring() == ""


def test_one_table_holds_one_setting(known, qtbot, answers):
    score(known, qtbot, TOP)
    assert known.rest() == ["B-1", "B-2", "B-3", "B-4"]
    known.use_normalised(False)
    assert len(known.rest()) == 8
    answers.append(False)
    known.score(["B-1"])
    assert "4 other cores were scored with mock at 2 µm per pixel in normalised colours." in answers.asked[-1]
    assert set(known.scores()) == set(TOP)
    known.use_normalised(True)
    keep_stains(known.image, QUPATH_STAINS)
    answers.append(True)
    score(known, qtbot, ["B-1"])
    assert "by other stains." in answers.asked[-1]
    assert set(known.scores()) == {"B-1"}


def test_a_slide_comes_back_with_its_setting(known, qtbot, viewer):
    first = known.image
    score(known, qtbot, TOP)
    viewer.add_image(known.image.data, rgb=True, name="second", scale=(2, 2), units=("um", "um"))
    assert known.normalise  # as on the slide before
    known.use_normalised(False)
    known.choose(first)
    assert known.normalise
    assert known.rest() == ["B-1", "B-2", "B-3", "B-4"]


def test_cut_points_keep_to_the_setting_they_were_made_with(known, qtbot, tmp_path):
    score(known, qtbot, known.rest())
    editor = GridEditor(known)
    for column in range(3):
        known.cores_layer.selected_data = {column}
        give_reading(editor, SCORES[column])
    known.use_normalised(False)
    assert "other colours shown to the model" in calibrating.why_not(known)
    known.use_normalised(True)
    fitted = calibrating.preview(known, calibrating.read_cores(known), "run 7").model
    assert fitted.recalibration["normalised"]
    calibrating.save_calibration(known, fitted, tmp_path / "c.json")
    calibrating.use_cuts(known, fitted)
    assert known.why_no_scoring() == ""
    assert all(score.normalised for score in known.scores().values())
    known.use_normalised(False)
    assert known.why_no_scoring().startswith("The calibration run 7 was made with normalised colours")
    with pytest.raises(ModelError, match="run 7 was made with normalised colours"):
        calibrating.load_calibration(known, tmp_path / "c.json")
    calibrating.use_own_cuts(known)
    assert known.why_no_scoring() == ""
    known.use_normalised(True)
    assert one_way.way(known)["batch"] == ""
    assert calibrating.load_calibration(known, tmp_path / "c.json").model.calibration == fitted.calibration


def test_the_box_of_stains_switches_it_and_follows(found, qtbot):
    box = StainBox(SlideStains(found))
    qtbot.addWidget(box)
    found.changed.connect(box.refresh)
    box.refresh()
    keep_stains(found.image, BLUER)
    box.refresh()
    assert not box.normalise.isChecked()
    box.normalise.click()
    assert found.normalise
    assert box.summary.text() == "estimated, normalised"
    found.use_normalised(False)
    assert not box.normalise.isChecked()
    assert box.summary.text() == "estimated"
