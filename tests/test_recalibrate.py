from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_her2.errors import ModelError, OutputError
from napari_her2.models import Calibration, ScoringModel
from napari_her2.pooling import score_probabilities
from napari_her2.recalibrate import (
    Recalibration,
    apply_recalibration,
    own_cuts,
    read_recalibration,
    recalibrate,
    refit_cuts,
    value_of_probabilities,
    write_recalibration,
)

OWN = Calibration()
controls = st.lists(st.tuples(st.floats(0, 3), st.integers(0, 3)), max_size=12)


def refitted(model: ScoringModel, batch: str = "run 7") -> ScoringModel:
    return recalibrate(model, [0.5, 1.3, 2.1, 3.0], [0, 1, 2, 3], batch)


@given(controls)
@settings(max_examples=60)
def test_cut_points_stay_in_order_whatever_the_controls(pairs: list[tuple[float, int]]):
    cuts = refit_cuts([v for v, _ in pairs], [s for _, s in pairs], OWN)
    assert np.isfinite(cuts).all()
    assert min(np.diff(cuts)) >= 0.1 - 1e-6
    assert np.abs(np.array(cuts) - OWN.cuts).max() < 4


@given(controls)
@settings(max_examples=30)
def test_the_order_of_the_controls_does_not_matter(pairs: list[tuple[float, int]]):
    there, back = (refit_cuts([v for v, _ in p], [s for _, s in p], OWN) for p in (pairs, pairs[::-1]))
    assert there == pytest.approx(back, abs=1e-3)


def test_without_controls_nothing_moves():
    assert refit_cuts([], [], OWN) == pytest.approx(OWN.cuts)


def test_a_batch_stained_stronger_moves_all_cut_points_together():
    cuts = np.array(refit_cuts([1.0, 1.6, 2.6], [0, 1, 2], OWN))
    moved = cuts - OWN.cuts
    assert (moved > 0.2).all()  # also the border to 3+, which no control shows
    assert np.ptp(moved) < 0.2


def test_many_controls_weigh_more_than_the_old_cut_points():
    rng = np.random.default_rng(0)
    wanted = replace(OWN, cuts=(0.9, 1.4, 2.6))
    values = rng.uniform(0, 3, 2000)
    scores = [rng.choice(4, p=score_probabilities(float(v), wanted)) for v in values]
    assert refit_cuts(values, scores, OWN) == pytest.approx(wanted.cuts, abs=0.05)


def test_a_few_controls_bring_back_most_of_what_a_batch_costs(mock_model: ScoringModel):
    rng = np.random.default_rng(0)

    def accuracy(cuts: tuple[float, ...]) -> float:
        return float((np.searchsorted(cuts, values) == scores).mean())

    gains = []
    for _ in range(20):
        scores = np.arange(400) % 4
        values = np.array([0.15, 0.9, 1.75, 2.7])[scores] + rng.normal(0.4, 0.2, 400)
        new = recalibrate(mock_model, values[:5].tolist(), scores[:5].tolist(), "b")
        gains.append((accuracy(OWN.cuts), accuracy(new.calibration.cuts)))
    before, after = np.mean(gains, axis=0)
    assert after > before + 0.15
    assert after > 0.85


def test_the_result_says_what_it_is(mock_model: ScoringModel):
    new = refitted(mock_model)
    assert replace(new, calibration=mock_model.calibration, recalibration={}) == mock_model
    assert replace(new.calibration, cuts=OWN.cuts) == OWN  # the cut points and nothing else
    known = Recalibration(**new.recalibration)
    assert (known.batch, known.n, known.controls) == ("run 7", 4, (1, 1, 1, 1))
    assert known.model_sha256 == mock_model.sha256
    assert known.right_after >= known.right_before
    assert "run 7: the cut points moved from 0.50 to" in known.sentence
    assert "4 control cores (1 of 0, 1 of 1+, 1 of 2+, 1 of 3+)" in known.sentence
    some = Recalibration(**recalibrate(mock_model, [0.1, 0.2, 1.0], [0, 0, 1], "b").recalibration)
    assert "No control showed 2+ or 3+" in some.sentence
    assert "look at the controls" not in some.sentence
    assert "look at the controls" in replace(some, right_before=3, right_after=2).sentence


def test_calibrations_do_not_pile_up(mock_model: ScoringModel):
    once = refitted(mock_model)
    twice = refitted(once)
    assert twice.calibration.cuts == once.calibration.cuts
    assert own_cuts(twice) == mock_model


@pytest.mark.parametrize(
    ("values", "scores", "says"),
    [
        ([1.0, 2.0], [1, 2], "2 scorable control cores of 2 scores: at least 3 of 2 different scores"),
        ([1.0, 1.1, 1.2, 1.3], [1, 1, 1, 1], "4 scorable control cores of 1 score:"),
        ([1.0, 2.0, float("nan")], [1, 2, 3], "2 scorable"),
        ([], [], "0 scorable"),
    ],
)
def test_too_few_controls_are_refused(mock_model: ScoringModel, values, scores, says: str):
    with pytest.raises(ModelError, match=says):
        recalibrate(mock_model, values, scores, "b")


def test_a_batch_has_a_name(mock_model: ScoringModel):
    with pytest.raises(ModelError, match="name it"):
        refitted(mock_model, " ")


def test_it_is_read_as_it_was_written_and_applied(tmp_path: Path, mock_model: ScoringModel):
    new = refitted(mock_model)
    known = Recalibration(**new.recalibration)
    write_recalibration(tmp_path / "c.json", known)
    assert read_recalibration(tmp_path / "c.json") == known
    assert apply_recalibration(mock_model, known) == new
    with pytest.raises(OutputError, match="exists already"):
        write_recalibration(tmp_path / "c.json", known)


def test_calibrations_from_before_there_were_normalised_colours_are_read(tmp_path: Path, mock_model: ScoringModel):
    new = recalibrate(mock_model, [0.5, 1.3, 2.1, 3.0], [0, 1, 2, 3], "run 7", normalised=True)
    write_recalibration(tmp_path / "c.json", Recalibration(**new.recalibration))
    assert read_recalibration(tmp_path / "c.json").normalised
    content = json.loads((tmp_path / "c.json").read_text())
    del content["normalised"]
    (tmp_path / "c.json").write_text(json.dumps(content))
    assert not read_recalibration(tmp_path / "c.json").normalised


def test_of_another_model(mock_model: ScoringModel):
    known = Recalibration(**refitted(mock_model).recalibration)
    with pytest.raises(ModelError, match=r"made for another model \(mock\)"):
        apply_recalibration(replace(mock_model, weights_sha256="cd" * 32), known)
    with pytest.raises(ModelError, match="another calibration"):
        apply_recalibration(replace(mock_model, calibration=replace(OWN, cuts=(0.1, 0.2, 0.3))), known)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"napari_her2_recalibration": 1}', '{"napari_her2_recalibration": 1, "cuts": "x"}']
)
def test_foreign_files(tmp_path: Path, content: str):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(ModelError, match="no calibration of napari-her2"):
        read_recalibration(tmp_path / "c.json")
    with pytest.raises(ModelError, match="There is no calibration"):
        read_recalibration(tmp_path / "absent.json")


def test_disordered_and_newer_files(tmp_path: Path, mock_model: ScoringModel):
    write_recalibration(tmp_path / "c.json", Recalibration(**refitted(mock_model).recalibration))
    content = json.loads((tmp_path / "c.json").read_text())
    (tmp_path / "c.json").write_text(json.dumps(content | {"cuts": [2, 1, 3]}))
    with pytest.raises(ModelError, match="no calibration"):
        read_recalibration(tmp_path / "c.json")
    (tmp_path / "c.json").write_text(json.dumps(content | {"napari_her2_recalibration": 2}))
    with pytest.raises(ModelError, match="newer"):
        read_recalibration(tmp_path / "c.json")


@given(st.floats(0, 3))
def test_the_value_comes_back_from_rounded_probabilities(value: float):
    rounded = np.round(score_probabilities(value, OWN), 6)
    assert value_of_probabilities(rounded, OWN) == pytest.approx(value, abs=0.01)
