from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_her2.models import Calibration
from napari_her2.pooling import Pooling, place_grades, score_probabilities
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
    weight = Pooling(grade, tumour, level, Calibration()).weight
    assert weight.sum() == pytest.approx(1)
    assert (weight >= 0).all()


@pytest.mark.parametrize(("strong", "low", "high"), [(2, 0.0, 0.1), (20, 2.6, 3.0), (100, 2.99, 3.01)])
def test_the_value_is_the_grade_of_the_strongest_tenth(strong: int, low: float, high: float):
    grade = np.array([3.0] * strong + [0.0] * (100 - strong))
    level, tumour = np.zeros(100, int), np.ones(100)
    assert low <= Pooling(grade, tumour, level, Calibration(width=0.3)).weight @ grade <= high


def test_the_strongest_tenth_is_of_the_tumour_not_of_the_tissue():
    grade = np.array([3.0] * 20 + [0.0] * 980)
    tumour = np.array([1.0] * 100 + [0.0] * 900)
    assert Pooling(grade, tumour, np.zeros(1000, int), Calibration()).weight @ grade > 2.5


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
    pooling = Pooling(grade, tumour, level, calibration)
    return float(pooling.weight @ pooling.grade)


@given(PLACES)
def test_haze_changes_neither_order_nor_sign(places: list[tuple[float, float, int]]):
    grade, tumour, level = (np.array(column) for column in zip(*places, strict=True))
    hazy, plain = (Pooling(grade, tumour, level, c) for c in (HAZY, Calibration()))
    cleared = hazy.grade
    assert (cleared >= 0).all()
    assert (cleared <= grade).all()
    order = np.argsort(grade, kind="stable")
    assert (np.diff(cleared[order]) >= 0).all()
    assert np.array_equal(plain.grade, grade)
    assert hazy.weight == pytest.approx(plain.weight)


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


def drawn(rng: np.random.Generator, patches: int, tilt: float) -> tuple[np.ndarray, np.ndarray]:
    """Grades of 60 places on each of so many patches of a tissue that stains more from one end to the other."""
    where = np.arange(patches) + rng.random(patches)
    typical = 0.5 + tilt * where / patches + 0.15 * rng.standard_normal(patches)
    grade = np.abs(np.repeat(typical, 60) + 0.3 * rng.standard_normal(60 * patches))
    return grade, np.repeat(np.arange(patches), 60)


@pytest.mark.parametrize("calibration", [Calibration(width=0.4), Calibration(width=0.4, haze=0.6)])
@pytest.mark.parametrize("tilt", [0.0, 0.8])
def test_the_spread_is_that_over_other_draws(calibration: Calibration, tilt: float):
    rng = np.random.default_rng(5)
    values, spreads = [], []
    for _ in range(150):
        grade, patch = drawn(rng, 17, tilt)
        level = np.zeros(len(grade), int)
        pooling = Pooling(grade, np.ones(len(grade)), level, calibration)
        values.append(pooling.weight @ pooling.grade)
        spreads.append(pooling.spread(patch, np.zeros(17, int)))
    assert 0.75 < np.median(spreads) / np.std(values) < 1.35


def test_one_patch_tells_no_spread_and_no_place_none_at_all():
    grade, level = np.array([0.2, 1.0, 2.0]), np.zeros(3, int)
    assert Pooling(grade, np.ones(3), level, HAZY).spread(level, np.zeros(1, int)) == 0
    nothing = np.empty(0)
    assert np.isnan(Pooling(nothing, nothing, level[:0], HAZY).spread(level[:0], level[:0]))
