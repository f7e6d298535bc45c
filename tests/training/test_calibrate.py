from __future__ import annotations

import numpy as np
import pytest

from napari_her2.models import Calibration
from napari_her2.pooling import score_probabilities
from napari_her2.training.calibrate import (
    JudgedCore,
    _pooling,
    _pooling_numbers,
    _with_cuts,
    calibrate,
    cut_numbers,
    expected_values,
    probabilities,
)


def cores(n: int, seed: int) -> list[JudgedCore]:
    rng = np.random.default_rng(seed)
    made = []
    for number in range(n):
        score = number % 4
        grade = np.clip(rng.normal(0.3 + 0.6 * score, 0.3, 200), 0, 3).astype(np.float32)
        level = np.repeat([0, 1, 2], [160, 35, 5])
        made.append(JudgedCore(str(number), score, grade, np.full(200, 0.8, np.float32), level))
    return made


def test_cuts_are_ordered_and_fit_cores_apart():
    calibration = calibrate(cores(24, 0))
    assert list(calibration.cuts) == sorted(calibration.cuts)
    assert calibration.level_weights[0] == 1
    apart = cores(40, 1)
    said = [int(np.argmax(score_probabilities(v, calibration))) for v in expected_values(apart, calibration)]
    assert np.mean([s == c.score for s, c in zip(said, apart, strict=True)]) >= 0.95


def test_every_score_is_needed():
    with pytest.raises(ValueError, match="each score"):
        calibrate([c for c in cores(12, 0) if c.score != 2])


def test_a_calibration_survives_its_own_numbers():
    start = Calibration(level_weights=(1.0, 0.3, 0.1), haze=0.6)
    again = _with_cuts(cut_numbers(start), _pooling(_pooling_numbers(start), Calibration()))
    assert np.allclose(again.cuts, start.cuts)
    assert np.allclose(again.level_weights, start.level_weights)
    assert again.reach == pytest.approx(start.reach)
    assert again.haze == pytest.approx(start.haze)
    assert again.slope == pytest.approx(start.slope)


def test_the_coverage_asked_for_is_kept():
    made = cores(40, 2)
    calibration = calibrate(made, coverage=0.75)
    confidence = probabilities(made, calibration).max(axis=1)
    assert np.mean(confidence >= calibration.indeterminate_below) == pytest.approx(0.75, abs=0.05)


def test_more_than_a_tenth_is_what_counts():
    """Cores that differ only in whether 5 % or 20 % of their places are strong."""
    level, tumour = np.zeros(400, int), np.ones(400, np.float32)
    shares = [(0.05, 0), (0.2, 1), (0.05, 0), (0.2, 1)]
    made = [
        JudgedCore(str(i), base + step, np.repeat([base + 1.0, base], [n := int(400 * s), 400 - n]), tumour, level)
        for base in (0, 2)
        for i, (s, step) in enumerate(shares)
    ]
    calibration = calibrate(made, levels=1)
    assert (probabilities(made, calibration).argmax(axis=1) == [c.score for c in made]).all()


def test_haze_that_misleads_is_taken_off():
    """Cores of 0 whose brown is even, and of 1+ whose brown is as strong in a fifth of the cells only."""
    rng = np.random.default_rng(3)
    level, tumour = np.zeros(200, int), np.ones(200, np.float32)
    made = []
    for number in range(32):
        score, height = number % 4, rng.uniform(0.4, 0.9)
        shape = {0: [1.0, 1.0], 1: [1.0, 0.1]}.get(score, [1.0, 0.6])
        grade = (height if score < 2 else score) * np.repeat(shape, [40, 160])
        made.append(JudgedCore(str(number), score, np.float32(np.clip(grade, 0, 3)), tumour, level))
    calibration = calibrate(made, levels=1)
    assert calibration.haze > 0.4
    right = [probabilities(made, c).argmax(axis=1) == [m.score for m in made] for c in (calibration, Calibration())]
    assert np.mean(right[0]) > np.mean(right[1])
