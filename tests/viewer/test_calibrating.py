"""Cut points refitted on the cores that were read: scores follow without the network, and Undo takes them back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_her2.errors import ModelError
from napari_her2.pooling import score_probabilities
from napari_her2.scores import SCORES
from napari_her2.viewer import calibrating
from napari_her2.viewer.grid_editor import GridEditor
from napari_her2.viewer.reading import give_reading
from napari_her2.viewer.recut import recut
from napari_her2.viewer.session import Session


@pytest.fixture
def scored(found, qtbot):
    """All discs scored: values near 0, 1, 2, 3; read as one more than the model says, up to 3+."""
    found.score(found.rest())
    qtbot.waitUntil(lambda: not found.working)
    editor = GridEditor(found)
    for column in range(3):
        names = [f"A-{column + 1}", f"B-{column + 1}"]
        found.cores_layer.selected_data = {
            i for i, name in enumerate(found.cores_layer.features["core"]) if name in names
        }
        give_reading(editor, SCORES[column + 1])
    return found


def given(session) -> dict[str, str]:
    return {name: s.score for name, s in session.scores().items()}


def test_a_calibration_moves_scores_without_the_network_and_can_be_undone(scored, mock_engine, viewer):
    before, values, runs = given(scored), {n: s.value for n, s in scored.scores().items()}, mock_engine.runs
    heat = next(la for la in viewer.layers if "heatmap" in la.name).data.copy()
    seen = calibrating.preview(scored, calibrating.read_cores(scored), "run 7")
    assert seen.right == (0, seen.right[1], 6)
    assert seen.right[1] > 3
    assert given(scored) == before
    calibrating.use_cuts(scored, seen.model)
    assert mock_engine.runs == runs
    after = given(scored)
    assert {(n, before[n], after[n]) for n in after if after[n] != before[n]} == set(seen.changes)
    assert seen.changes
    for name, score in scored.scores().items():
        assert score.value == values[name]
        assert score.probabilities == pytest.approx(tuple(score_probabilities(score.value, seen.model.calibration)))
    assert calibrating.batch_of(scored.model) == "run 7"
    assert scored.cores_layer.metadata["napari_her2"]["scored_with"]["batch"] == "run 7"
    assert set(scored.cores_layer.features["batch"]) == {"run 7"}
    assert scored.rest() == []
    assert np.array_equal(next(la for la in viewer.layers if "heatmap" in la.name).data, heat, equal_nan=True)
    scored.watch.undo()
    assert given(scored) == before
    assert calibrating.batch_of(scored.model) == ""
    assert scored.rest() == []
    scored.watch.redo()
    assert given(scored) == after
    assert calibrating.batch_of(scored.model) == "run 7"
    calibrating.use_own_cuts(scored)
    assert given(scored) == before
    assert scored.watch.undoes == "own cut points"


def test_edits_before_and_after_a_calibration_undo_to_the_scores_of_their_time(scored):
    editor, before = GridEditor(scored), given(scored)
    editor.renumber("bottom-right")
    renamed = given(scored)
    calibrating.use_cuts(scored, calibrating.preview(scored, calibrating.read_cores(scored), "x").model)
    after = given(scored)
    scored.cores_layer.selected_data = {0}
    give_reading(editor, "0")
    scored.watch.undo()
    assert given(scored) == after
    scored.watch.undo()
    assert given(scored) == renamed
    scored.watch.undo()
    assert given(scored) == before
    for _ in range(3):
        scored.watch.redo()
    assert given(scored) == after


def test_calibrations_do_not_pile_up(scored):
    once = calibrating.preview(scored, calibrating.read_cores(scored), "a")
    calibrating.use_cuts(scored, once.model)
    twice = calibrating.preview(scored, calibrating.read_cores(scored), "b")
    assert twice.model.calibration.cuts == pytest.approx(once.model.calibration.cuts, abs=1e-3)
    assert twice.right == once.right
    assert twice.changes == []


def test_a_second_slide_keeps_the_batch_and_going_back_brings_the_cuts_of_each(scored, viewer, image, qtbot):
    first = scored.image
    calibrating.use_cuts(scored, calibrating.preview(scored, calibrating.read_cores(scored), "run 7").model)
    second = viewer.add_image(image.data, rgb=True, name="second", scale=(2, 2), units=("um", "um"))
    assert scored.image is second
    scored.find()
    qtbot.waitUntil(lambda: not scored.busy)
    scored.score(scored.rest())
    qtbot.waitUntil(lambda: not scored.working)
    calibrated = given(scored)
    assert calibrating.batch_of(scored.model) == "run 7"
    calibrating.use_own_cuts(scored)
    assert given(scored) != calibrated
    scored.choose(first)
    assert calibrating.batch_of(scored.model) == "run 7"
    assert given(scored) == calibrated


def test_a_calibration_outlives_the_widget(scored, viewer, mock_model):
    calibrating.use_cuts(scored, calibrating.preview(scored, calibrating.read_cores(scored), "run 7").model)
    after = given(scored)
    scored.close()
    again = Session(viewer)
    again.model = mock_model
    again.open()
    assert given(again) == after
    assert calibrating.batch_of(again.model) == "run 7"
    again.close()


def test_what_is_missing_is_said(found, scored, tmp_path):
    with pytest.raises(ModelError, match="at least 3 of 2 different scores"):
        calibrating.preview(scored, ["A-1"], "x")
    with pytest.raises(ModelError, match="no name"):
        calibrating.preview(scored, calibrating.read_cores(scored), " ")
    scored.model = replace(scored.model, weights_sha256="cd" * 32, name="other")
    assert calibrating.why_not(scored).startswith("These scores were made with mock")
    scored.cores_layer.metadata["napari_her2"].pop("model")
    assert "does not say which model" in calibrating.why_not(scored)


def test_nothing_read_cannot_calibrate(found, qtbot):
    assert calibrating.why_not(found).startswith("Read some scored cores first")


def test_a_calibration_is_saved_and_opened(scored, tmp_path):
    seen = calibrating.preview(scored, calibrating.read_cores(scored), "run 7")
    path = tmp_path / "run 7.calibration.json"
    calibrating.save_calibration(scored, seen.model, path)
    again = calibrating.load_calibration(scored, path)
    assert again.model.calibration == seen.model.calibration
    assert again.changes == seen.changes
    scored.model = replace(scored.model, weights_sha256="cd" * 32)
    with pytest.raises(ModelError, match="another model"):
        calibrating.load_calibration(scored, path)


def test_little_tumour_stays_the_reason_and_between_follows_the_cut_points(mock_model, score_of, grid_of_discs):
    score = replace(score_of(grid_of_discs["A-2"], "1+"), value=1.31, indeterminate=True)
    near = recut(replace(score, reason="Between 2+ and 1+: confidence 0.51."), mock_model.calibration, mock_model)
    assert near.score == "2+"
    sure = replace(mock_model, calibration=replace(mock_model.calibration, cuts=(0.1, 0.7, 2.4)))
    clear = recut(near, mock_model.calibration, sure)
    assert (clear.score, clear.indeterminate, clear.reason) == ("2+", False, "")
    little = recut(replace(score, reason="Little tumour: about 0.001 mm²."), mock_model.calibration, sure)
    assert little.indeterminate
    assert little.reason.startswith("Little tumour")
