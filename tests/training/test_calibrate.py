from __future__ import annotations

import numpy as np
import pytest

from napari_her2.models import Calibration
from napari_her2.scoring import score_probabilities
from napari_her2.training.calibrate import JudgedCore, calibrate, expected_values


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
    from napari_her2.training.calibrate import _calibration, _numbers

    start = Calibration(level_weights=(1.0, 0.3, 0.1))
    again = _calibration(_numbers(start), start)
    assert np.allclose(again.cuts, start.cuts)
    assert np.allclose(again.level_weights, start.level_weights)
    assert again.emphasis == pytest.approx(start.emphasis)
