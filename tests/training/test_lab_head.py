"""A laboratory's head: fitted by the core's score, compared by patient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from labs import QUICK

from napari_her2.errors import CoresError
from napari_her2.models import Calibration, ScoringModel
from napari_her2.pooling import Pooling
from napari_her2.recalibrate import recalibrate
from napari_her2.training.lab_cuts import log_likelihood
from napari_her2.training.lab_head import Head, base_head, core_values, judge_features
from napari_her2.training.laboratory import (
    LEAST_CORES,
    LEAST_PATIENTS,
    Comparison,
    CoreFeatures,
    LabParams,
    cross_validate,
    fit_head,
    too_few,
)
from tiny_model import made_features


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), places=st.integers(1, 40), sharpness=st.floats(0.3, 4), width=st.floats(0.15, 1))
def test_pooling_in_torch_is_that_of_scoring(seed: int, places: int, sharpness: float, width: float):
    rng = np.random.default_rng(seed)
    calibration = Calibration(sharpness=sharpness, width=width, level_weights=(1.0, 0.4))
    head = Head(rng.normal(0, 1, (10, 96)).astype(np.float32), rng.normal(0, 1, 10).astype(np.float32))
    # cores of unlike numbers of places, some with none at one magnification
    cores = made_features(3, places=places, seed=seed) + made_features(2, places=2, seed=seed + 1)
    values = core_values(cores, head, calibration)
    for value, judged in zip(values, judge_features(cores, head), strict=True):
        weight = Pooling(judged.grade, judged.tumour, judged.level, calibration).weight
        assert value == pytest.approx(float(weight @ judged.grade), abs=1e-4)


@settings(deadline=None)
@given(score=st.integers(0, 3), value=st.floats(-1, 4))
def test_the_likelihood_is_that_of_the_score(score: int, value: float):
    from napari_her2.pooling import score_probabilities

    calibration = Calibration()
    log = log_likelihood(torch.tensor([value]), torch.tensor([score]), calibration, torch.zeros(4))
    assert float(torch.exp(log)) == pytest.approx(score_probabilities(value, calibration)[score], abs=1e-4)


def test_the_head_learns_what_the_model_does_not_know(comparison: Comparison):
    cores = made_features()
    assert comparison.new.figures["accuracy"].value > 0.8
    assert comparison.better
    assert "is better than recalibrating" in comparison.sentence
    assert comparison.folds == 3
    values = {core.line: core.value for core in comparison.new.cores}
    assert [values[core.line] for core in cores] == pytest.approx(comparison.values)
    assert comparison.recalibrated.figures["accuracy"].n == len(cores)


def test_labels_that_mean_nothing_are_not_called_better(tiny: ScoringModel):
    rng = np.random.default_rng(1)
    cores = made_features()
    mixed = [replace(core, score=int(score)) for core, score in zip(cores, rng.permutation(40) % 4, strict=True)]
    comparison = cross_validate(mixed, tiny, QUICK)
    assert not comparison.better
    assert comparison.new.figures["accuracy"].value < 0.6


def test_no_core_is_scored_by_a_head_that_saw_its_patient(tiny: ScoringModel, monkeypatch: pytest.MonkeyPatch):
    seen: list[set[str]] = []

    def spying(cores: list[CoreFeatures], base: ScoringModel, params: LabParams) -> tuple:
        seen.append({core.patient for core in cores})
        return base_head(base), base.calibration, []

    monkeypatch.setattr("napari_her2.training.lab_compare.fit_head", spying)
    cores = made_features()
    cross_validate(cores, tiny, QUICK)
    everyone = {core.patient for core in cores}
    left_out = [everyone - learned for learned in seen]
    assert all(left_out)
    assert sum(map(len, left_out)) == len(everyone)


def test_a_fit_is_the_same_again_and_another_with_another_seed(tiny: ScoringModel):
    cores = made_features(24)
    heads = [fit_head(cores, tiny, replace(QUICK, seed=seed))[0] for seed in (0, 0, 1)]
    assert np.array_equal(heads[0].weight, heads[1].weight)
    assert not np.array_equal(heads[0].weight, heads[2].weight)


def test_a_strong_pull_leaves_the_model_as_it_is(tiny: ScoringModel):
    cores, start = made_features(24), base_head(tiny)
    held, free = (fit_head(cores, tiny, replace(QUICK, pull=pull))[0] for pull in (1e6, 1e-3))
    assert np.abs(held.weight - start.weight).max() < 0.1 * np.abs(free.weight - start.weight).max()


def test_the_history_tells_both_losses_and_stops_when_it_gets_worse(tiny: ScoringModel):
    _, _, history = fit_head(made_features(noise=0.2), tiny, replace(QUICK, steps=200))
    assert [point.step for point in history[:3]] == [0, 10, 20]
    assert min(point.held_out for point in history) < history[0].held_out
    rng = np.random.default_rng(1)
    senseless = [replace(core, score=int(rng.integers(4))) for core in made_features()]
    _, _, history = fit_head(senseless, tiny, replace(QUICK, steps=200))
    assert history[-1].step < 200


def test_cut_points_stand_on_cores_not_seen(tiny: ScoringModel):
    cores = made_features()
    apart = np.array([core.score for core in cores]) + np.random.default_rng(0).normal(0, 0.1, len(cores))
    _, calibration, _ = fit_head(cores, tiny, QUICK, apart=apart)
    assert np.allclose(calibration.cuts, (0.5, 1.5, 2.5), atol=0.2)
    assert calibration.indeterminate_below > 0.5


def test_a_batch_of_the_base_model_is_not_trained_into_another(tiny: ScoringModel):
    cores = made_features(24)
    batch = recalibrate(tiny, [0.2, 1.4, 2.4, 3.0], [0, 1, 2, 3], "run 7")
    heads = [fit_head(cores, model, QUICK) for model in (tiny, batch)]
    assert np.array_equal(heads[0][0].weight, heads[1][0].weight)
    assert heads[0][1] == heads[1][1]


def test_too_few_says_how_many_are_needed():
    enough = [(k % 4, f"p{k}") for k in range(4 * LEAST_CORES)]
    assert too_few(enough) == ""
    assert too_few([(score, "") for score, _ in enough]) == ""
    few = [label for label in enough if label[0] != 2] + [(2, "p2")] * 3
    said = too_few(few)
    assert f"at least {LEAST_CORES} cores of each score" in said
    assert f"at least {LEAST_PATIENTS} patients" in said
    assert "2+ (3 of 1 patient)" in said
    assert "0 (" not in said
    assert "3+ (none)" in too_few([label for label in enough if label[0] < 3])
    assert "0 (8 of 1 patient)" in too_few([(score, "one") for score, _ in enough])


def test_one_patient_cannot_be_divided(tiny: ScoringModel):
    one = [replace(core, patient="one") for core in made_features(8)]
    with pytest.raises(CoresError, match="1 patients"):
        fit_head(one, tiny, QUICK)
