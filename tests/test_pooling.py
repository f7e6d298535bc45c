from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_her2.models import Calibration
from napari_her2.pooling import place_grades, score_probabilities, weighed
from napari_her2.scores import SCORES


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
    _, weight = weighed(grade, tumour, level, Calibration())
    assert weight.sum() == pytest.approx(1)
    assert (weight >= 0).all()


@pytest.mark.parametrize(("strong", "low", "high"), [(2, 0.0, 0.1), (20, 2.6, 3.0), (100, 2.99, 3.01)])
def test_the_value_is_the_grade_of_the_strongest_tenth(strong: int, low: float, high: float):
    grade = np.array([3.0] * strong + [0.0] * (100 - strong))
    level, tumour = np.zeros(100, int), np.ones(100)
    assert low <= weighed(grade, tumour, level, Calibration(width=0.3))[1] @ grade <= high


def test_the_strongest_tenth_is_of_the_tumour_not_of_the_tissue():
    grade = np.array([3.0] * 20 + [0.0] * 980)
    tumour = np.array([1.0] * 100 + [0.0] * 900)
    assert weighed(grade, tumour, np.zeros(1000, int), Calibration())[1] @ grade > 2.5


def test_a_place_with_hardly_any_tumour_has_hardly_a_grade():
    shares = np.zeros((1, 5, 1, 3), np.float32)
    shares[0, :, 0] = np.array([[0, 0, 0, 0, 1], [0.5, 0, 0, 0, 0.5], [0.99, 0, 0, 0, 0.01]]).T
    full, half, none = place_grades(shares)
    assert full == pytest.approx(3)
    assert 2.5 < half < full
    assert none < 0.3


HAZY = Calibration(haze=0.7)
PLACES = st.lists(st.tuples(st.floats(0, 3), st.floats(0.01, 1), st.integers(0, 2)), min_size=1, max_size=60)


def value(grade: np.ndarray, calibration: Calibration) -> float:
    level, tumour = np.zeros(len(grade), int), np.ones(len(grade))
    cleared, weight = weighed(grade, tumour, level, calibration)
    return float(weight @ cleared)


@given(PLACES)
def test_haze_changes_neither_order_nor_sign(places: list[tuple[float, float, int]]):
    grade, tumour, level = (np.array(column) for column in zip(*places, strict=True))
    cleared, weight = weighed(grade, tumour, level, HAZY)
    assert (cleared >= 0).all()
    assert (cleared <= grade).all()
    order = np.argsort(grade, kind="stable")
    assert (np.diff(cleared[order]) >= 0).all()
    plain, same = weighed(grade, tumour, level, Calibration())
    assert np.array_equal(plain, grade)
    assert weight == pytest.approx(same)


def test_brown_that_all_cells_share_counts_less_than_the_same_brown_in_a_tenth():
    everywhere, some = np.full(100, 0.6), np.repeat([0.6, 0.0], [25, 75])
    plain, hazy = (np.array([value(g, c) for g in (everywhere, some)]) for c in (Calibration(), HAZY))
    assert plain == pytest.approx([0.6, 0.6], abs=0.05)
    assert hazy[0] == pytest.approx(0.3 * 0.6, abs=0.01)
    assert hazy[1] == pytest.approx(plain[1], abs=0.05)


def test_what_is_strong_throughout_is_stained():
    assert value(np.full(100, 2.5), HAZY) == pytest.approx(2.5)
    # and between the two no core falls behind a weaker one
    rising = [value(np.full(50, grade), HAZY) for grade in np.linspace(0, 3, 200)]
    assert (np.diff(rising) > 0).all()
