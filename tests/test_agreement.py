from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_her2.agreement import (
    FIGURES,
    balanced_accuracy,
    brier_score,
    confusion,
    consensus,
    coverage_curve,
    expected_calibration_error,
    figures,
    grouped_agreement,
    kappa,
    off_by,
    predictive_values,
    reliability,
    sensitivities,
)
from napari_her2.intervals import bootstrap

scores = st.lists(st.integers(0, 3), min_size=1, max_size=40)


def sure(*said: int) -> np.ndarray:
    return np.eye(4)[list(said)]


@st.composite
def judged(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    truth = draw(scores)
    raw = draw(hnp.arrays(float, (len(truth), 4), elements=st.floats(0.01, 1)))
    return np.array(truth), raw / raw.sum(1, keepdims=True)


def test_the_table_has_truth_in_rows():
    table = confusion([0, 0, 2], [0, 1, 3])
    assert table[0].tolist() == [1, 1, 0, 0]
    assert table[2, 3] == 1
    assert table.sum() == 3
    for wrong in ([4], [-1]):
        with pytest.raises(ValueError, match="0 to 3"):
            confusion([0], wrong)
    with pytest.raises(ValueError, match="2 true scores"):
        confusion([0, 1], [0])


def test_kappa_by_hand():
    # Cohen's own two readers, two classes: observed 0.7, chance 0.5
    assert kappa([[20, 5], [10, 15]], "none") == pytest.approx(0.4)
    # 0 0 1 2 against 0 1 1 0: squares 0 1 0 4 of 4; by chance (4 + 2 + 8 + 2) / 4
    table = confusion([0, 0, 1, 2], [0, 1, 1, 0])
    assert kappa(table, "quadratic") == pytest.approx(1 - 5 / 4)
    assert kappa(table, "linear") == pytest.approx(1 - 3 / 3)


def test_shares_by_hand():
    table = confusion([0, 0, 1, 2, 3, 3], [0, 2, 1, 3, 3, 0])
    assert sensitivities(table).tolist() == [0.5, 1.0, 0.0, 0.5]
    assert predictive_values(table).tolist() == [0.5, 1.0, 0.0, 0.5]
    assert balanced_accuracy(table) == 0.5
    assert off_by(table, 2) == pytest.approx(2 / 6)
    assert grouped_agreement(table, 2) == pytest.approx(4 / 6)
    assert grouped_agreement(table, 1) == pytest.approx(4 / 6)


def test_nothing_to_measure_is_nan_not_an_error():
    empty = confusion([], [])
    measured = (kappa(empty), balanced_accuracy(empty), off_by(empty, 1), grouped_agreement(empty, 2))
    assert np.isnan(measured).all()
    assert np.isnan(kappa(confusion([1, 1], [1, 1])))
    assert np.isnan([brier_score([], np.empty((0, 4))), expected_calibration_error([], np.empty((0, 4)))]).all()
    assert coverage_curve([], np.empty((0, 4))) == []
    assert np.isnan(sensitivities(confusion([0], [0]))[1:]).all()


def test_calibration_by_hand():
    likely = np.array([[0.75, 0.25, 0, 0], [0.75, 0, 0.25, 0], [0, 0, 0.05, 0.95]])
    # two cores sure by 0.75, one right: gap 0.25; one sure by 0.95, right: gap 0.05
    assert expected_calibration_error([0, 1, 3], likely) == pytest.approx((2 * 0.25 + 0.05) / 3)
    # (0.25**2 + 0.25**2) + (0.75**2 + 1 + 0.25**2) + (0.05**2 + 0.05**2)
    assert brier_score([0, 1, 3], likely) == pytest.approx((0.125 + 1.625 + 0.005) / 3)
    bins = reliability([0, 1, 3], likely)
    assert [b.n for b in bins] == [0, 0, 0, 0, 0, 0, 0, 2, 0, 1]
    assert (bins[7].accuracy, bins[7].confidence) == (0.5, 0.75)
    assert np.isnan(bins[0].accuracy)


def test_the_surest_come_first_and_equals_come_together():
    likely = np.array([[0.9, 0.1, 0, 0], [0.4, 0.6, 0, 0], [0, 0.4, 0.6, 0], [0, 0, 0.2, 0.8]])
    curve = coverage_curve([0, 0, 2, 3], likely)
    assert [(p.n, p.accuracy) for p in curve] == [(1, 1.0), (2, 1.0), (4, 0.75)]
    assert [p.confidence for p in curve] == [0.9, 0.8, 0.6]
    assert curve[-1].coverage == 1


@given(judged())
def test_figures_keep_their_bounds(cores: tuple[np.ndarray, np.ndarray]):
    truth, likely = cores
    found = figures(truth, likely, range(len(truth)), draws=20)
    assert tuple(found) == FIGURES
    for name, figure in found.items():
        top = 2 if name == "brier" else 1
        assert np.isnan(figure.value) or -1 <= figure.value <= top
        if "kappa" not in name:
            assert np.isnan(figure.value) or figure.value >= 0
        assert np.isnan(figure.low) or figure.low <= figure.high
    assert found["accuracy"].value == pytest.approx(coverage_curve(truth, likely)[-1].accuracy)
    assert sum(found[f"sensitivity_{k}"].n for k in range(4)) == len(truth)
    assert sum(found[f"ppv_{k}"].n for k in range(4)) == len(truth)
    assert 1 - found["accuracy"].value >= found["off_by_two"].value - 1e-9


@given(scores, scores, st.sampled_from(["quadratic", "linear", "none"]))
def test_kappa_does_not_mind_who_is_who_nor_how_many(a: list[int], b: list[int], weights):
    n = min(len(a), len(b))
    table = confusion(a[:n], b[:n])
    assert kappa(table, weights) == pytest.approx(kappa(table.T, weights), nan_ok=True)
    assert kappa(table, weights) == pytest.approx(kappa(3 * table, weights), nan_ok=True)
    if len(set(a)) > 1:
        assert kappa(confusion(a, a), weights) == 1


def test_patients_are_drawn_not_cores():
    rng = np.random.default_rng(0)
    by_patient = rng.random(20)
    values = np.repeat(by_patient, 10)
    measure = lambda chosen: np.array([values[chosen].mean()])  # noqa: E731
    together = [b[0] for b in bootstrap(measure, np.repeat(np.arange(20), 10).tolist(), 400)]
    apart = [b[0] for b in bootstrap(measure, list(range(200)), 400)]
    # ten copies say no more than one: the standard error is that of 20 values
    assert together[1] - together[0] == pytest.approx(2 * 1.96 * by_patient.std() / np.sqrt(20), rel=0.2)
    assert apart[1] - apart[0] < 0.5 * (together[1] - together[0])


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(100):
        right = rng.random(60) < 0.7
        low, high = bootstrap(lambda chosen, r=right: np.array([r[chosen].mean()]), list(range(60)), 200, trial)
        hits += low[0] <= 0.7 <= high[0]
    assert 86 <= hits <= 99


def test_a_seed_gives_the_same_interval_and_one_patient_none():
    truth, likely = [0, 1, 2, 3, 3], sure(0, 1, 1, 3, 2)
    assert figures(truth, likely, "abcde", draws=50) == figures(truth, likely, "abcde", draws=50)
    alone = figures(truth, likely, "aaaaa")["accuracy"]
    assert (alone.value, alone.n) == (0.6, 5)
    assert np.isnan([alone.low, alone.high]).all()


def test_all_right_is_not_certainty():
    found = figures([0, 1, 2, 3], sure(0, 1, 2, 3), "abcd", draws=50)
    # 0.025 ** (1 / 4): with four patients all right, an accuracy of 0.4 is not excluded
    assert found["accuracy"].low == pytest.approx(0.3976, abs=1e-4)
    assert found["accuracy"].high == 1
    assert found["sensitivity_2"].low == pytest.approx(0.025)
    assert found["off_by_two"] == (0.0, 4, 0.0, pytest.approx(0.6024, abs=1e-4))
    assert np.isnan(found["quadratic_kappa"].low)


def test_figures_want_cores():
    with pytest.raises(ValueError, match="0 true scores"):
        figures([], np.empty((0, 4)), [])
    with pytest.raises(ValueError, match="2 patients"):
        figures([0], sure(0), "ab")


def test_consensus_of_readers():
    assert consensus([[0, 0, 3]]).tolist() == [0]
    assert consensus([[0, 2, 2, -1], [-1, -1, -1, -1], [3, -1, -1, -1]]).tolist() == [2, -1, 3]
    assert consensus([[1, 2]]).tolist() == [1]  # a tie goes down
    assert consensus([[0, 0, 2, 3, 3]]).tolist() == [3]  # the median of a tie decides


@given(hnp.arrays(int, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=st.integers(-1, 3)))
def test_consensus_is_what_somebody_said_and_order_does_not_matter(votes: np.ndarray):
    found = consensus(votes)
    assert all(score in row or (score == -1 and (row == -1).all()) for score, row in zip(found, votes, strict=True))
    assert np.array_equal(found, consensus(votes[:, ::-1]))
