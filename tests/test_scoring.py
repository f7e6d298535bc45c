from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_her2.cores import CoreGrid, CoreState
from napari_her2.errors import PixelSizeError
from napari_her2.models import Calibration, ScoringModel
from napari_her2.scores import SCORES
from napari_her2.scoring import place_grades, place_weights, score_cores, score_probabilities
from napari_her2.slide import Slide


def test_each_disc_gets_the_score_of_its_brown(discs_slide, grid_of_discs, mock_model, mock_engine):
    scores = list(score_cores(discs_slide, grid_of_discs, mock_model))
    assert [s.score for s in scores] == ["0", "1+", "2+", "3+"] * 2
    assert [s.core.name for s in scores] == [c.name for c in grid_of_discs]
    for score in scores:
        assert sum(score.probabilities) == pytest.approx(1)
        assert score.confidence == max(score.probabilities)
        assert set(score.seconds) == {"read", "network"}


def test_the_value_is_the_sum_of_the_contributions(discs_slide, grid_of_discs, mock_model, mock_engine):
    for score in score_cores(discs_slide, grid_of_discs, mock_model):
        assert score.places is not None
        assert score.places.weight.sum() == pytest.approx(1, abs=1e-9)
        assert score.places.weight @ score.places.grade == pytest.approx(score.value, abs=1e-5)


def test_order_and_company_change_nothing(discs_slide, grid_of_discs, mock_model, mock_engine):
    forward = {s.core.name: s for s in score_cores(discs_slide, grid_of_discs, mock_model)}
    backward = {s.core.name: s for s in score_cores(discs_slide, reversed(list(grid_of_discs)), mock_model)}
    alone = next(iter(score_cores(discs_slide, [grid_of_discs["B-2"]], mock_model)))
    assert {n: s.value for n, s in forward.items()} == {n: s.value for n, s in backward.items()}
    assert alone.value == forward["B-2"].value
    assert alone.spread == forward["B-2"].spread


def test_missing_and_excluded_cores_are_passed_over(discs_slide, grid_of_discs, mock_model, mock_engine):
    grid = grid_of_discs.with_state(["A-1"], CoreState.MISSING).with_state(["A-2"], CoreState.EXCLUDED)
    assert [s.core.name for s in score_cores(discs_slide, grid, mock_model)][:2] == ["A-3", "A-4"]
    assert list(score_cores(discs_slide, CoreGrid(), mock_model)) == []


def test_glass_is_not_scorable(discs_slide, grid_of_discs, mock_model, mock_engine):
    nowhere = replace(grid_of_discs["A-1"], name="Z-1", y=20.0, x=20.0, diameter=30.0)
    score = next(score_cores(discs_slide, [nowhere], mock_model))
    assert score.score == ""
    assert "Not scorable" in score.reason
    assert not score.failed
    assert np.isnan(score.confidence)


def test_a_core_that_cannot_be_read_fails_alone(grid_of_discs, mock_model, mock_engine, discs_slide):
    picture = discs_slide.levels[0]

    class Damaged:
        shape, dtype, ndim = picture.shape, picture.dtype, 3

        def __getitem__(self, key):
            if isinstance(key, tuple) and key[1].start is not None and 140 <= key[1].start < 240:
                raise ValueError("corrupt tile")
            return picture[key]

    slide = Slide.from_arrays(Damaged(), name="damaged", mpp=2.0)
    scores = {s.core.name: s for s in score_cores(slide, grid_of_discs, mock_model)}
    assert len(scores) == 8
    assert scores["A-2"].score == ""
    assert scores["A-2"].failed
    assert "damaged there" in scores["A-2"].reason
    assert scores["A-4"].score == "3+"


def test_closing_the_generator_stops_the_work(discs_slide, grid_of_discs, mock_model, mock_engine):
    run = score_cores(discs_slide, grid_of_discs, mock_model)
    assert next(run).core.name == "A-1"
    run.close()
    assert list(run) == []


def test_pixel_size_is_demanded_before_any_work(discs_slide, grid_of_discs, mock_model):
    slide = replace(discs_slide, mpp=None)
    with pytest.raises(PixelSizeError, match="--pixel-size"):
        next(score_cores(slide, grid_of_discs, mock_model))


def test_little_tumour_is_indeterminate(discs_slide, grid_of_discs, mock_model: ScoringModel, mock_engine):
    strict = replace(mock_model, calibration=replace(mock_model.calibration, min_tumour_mm2=5.0))
    score = next(score_cores(discs_slide, grid_of_discs, strict))
    assert score.score == "0"
    assert score.indeterminate
    assert "Little tumour" in score.reason


@given(st.floats(-1, 4), st.floats(0.1, 20))
def test_probabilities_sum_to_one_and_follow_the_value(value: float, slope: float):
    calibration = Calibration(slope=slope)
    low, high = score_probabilities(value, calibration), score_probabilities(value + 0.2, calibration)
    assert low.sum() == pytest.approx(1)
    assert (low >= 0).all()
    assert low @ np.arange(4) <= high @ np.arange(4) + 1e-12


def test_far_from_the_cuts_the_score_is_certain():
    calibration = Calibration(slope=10, cuts=(0.5, 1.5, 2.5))
    for k, _ in enumerate(SCORES):
        assert np.argmax(score_probabilities(float(k), calibration)) == k


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0.01, 1), st.integers(0, 2)), min_size=1, max_size=60))
def test_weights_sum_to_one(places: list[tuple[float, float, int]]):
    grade, tumour, level = (np.array(column) for column in zip(*places, strict=True))
    weight = place_weights(grade, tumour, level, Calibration())
    assert weight.sum() == pytest.approx(1)
    assert (weight >= 0).all()


@pytest.mark.parametrize(("strong", "low", "high"), [(2, 0.0, 0.1), (20, 2.6, 3.0), (100, 2.99, 3.01)])
def test_the_value_is_the_grade_of_the_strongest_tenth(strong: int, low: float, high: float):
    grade = np.array([3.0] * strong + [0.0] * (100 - strong))
    level, tumour = np.zeros(100, int), np.ones(100)
    assert low <= place_weights(grade, tumour, level, Calibration(width=0.3)) @ grade <= high


def test_the_strongest_tenth_is_of_the_tumour_not_of_the_tissue():
    grade = np.array([3.0] * 20 + [0.0] * 980)
    tumour = np.array([1.0] * 100 + [0.0] * 900)
    assert place_weights(grade, tumour, np.zeros(1000, int), Calibration()) @ grade > 2.5


def test_a_place_with_hardly_any_tumour_has_hardly_a_grade():
    shares = np.zeros((1, 5, 1, 3), np.float32)
    shares[0, :, 0] = np.array([[0, 0, 0, 0, 1], [0.5, 0, 0, 0, 0.5], [0.99, 0, 0, 0, 0.01]]).T
    full, half, none = place_grades(shares)
    assert full == pytest.approx(3)
    assert 2.5 < half < full
    assert none < 0.3
