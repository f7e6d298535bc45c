from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_her2.models import ScoringModel
from napari_her2.slide import Slide
from napari_her2.training.evaluate import agreement, generated_core, judged


def sure(*said: int) -> np.ndarray:
    return np.eye(4)[list(said)]


def test_agreement_is_what_it_says():
    perfect = agreement([0, 1, 2, 3], sure(0, 1, 2, 3))
    assert perfect["accuracy"] == perfect["quadratic_kappa"] == perfect["accuracy_at_85"] == 1
    assert perfect["ece"] == perfect["off_by_two"] == 0
    other = agreement([0, 0, 2, 3], sure(0, 2, 2, 2))
    assert other["accuracy"] == 0.5
    assert other["ece"] == 0.5
    assert other["off_by_two"] == 0.25
    assert other["sensitivity"] == [0.5, None, 1.0, 0.0]
    assert np.sum(other["table"]) == other["n"] == 4


def test_the_unsure_are_left_out_first():
    likely = np.array([[0.9, 0.1, 0, 0], [0.1, 0.8, 0.1, 0], [0.0, 0.6, 0.4, 0.0], [0, 0, 0.1, 0.9]])
    result = agreement([0, 1, 2, 3], likely, coverage=0.75)
    assert result["accuracy"] == 0.75
    assert result["accuracy_at_75"] == 1
    assert result["ece"] == pytest.approx((0.1 + 0.2 + 0.6 + 0.1) / 4, abs=0.051)


def test_cores_are_judged_once(mock_model: ScoringModel, mock_engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("napari_her2.training.evaluate.open_engine", lambda model, device: mock_engine)
    picture = np.full((260, 260, 3), 236, np.uint8)
    picture[30:230, 30:230] = (180, 110, 60)
    cores = [("one", 3, lambda: Slide.from_arrays(picture, name="one", mpp=1.0))]
    first = judged(mock_model, cores, tmp_path)
    runs = mock_engine.runs
    again = judged(mock_model, cores, tmp_path)
    assert mock_engine.runs == runs == 1
    assert np.array_equal(first[0].grade, again[0].grade)
    assert first[0].score == 3
    assert np.median(first[0].grade[first[0].level == 0]) > 2


def test_a_generated_core_is_the_same_again_and_has_its_score():
    one, other = (generated_core((5, 1), 2, blind=True)[0] for _ in range(2))
    assert one.score == 2
    assert np.array_equal(one.dab, other.dab)
