from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from discs import MockEngine
from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.engine import open_engine
from napari_her2.errors import ModelError, PixelSizeError
from napari_her2.familiar import LOOKS
from napari_her2.models import ScoringModel, load_model
from napari_her2.pooling import pool, score_probabilities
from napari_her2.pyramid import LevelSpec, PyramidSample, sample
from napari_her2.recalibrate import recalibrate
from napari_her2.sample import sample_slide
from napari_her2.scoring import judge_places, score_cores, slide_flags
from napari_her2.slide import Slide
from napari_her2.stain import MODEL_REFERENCE, Stains, normalise, on_white, white_point


def sample_core(slide: Path, name: str) -> Core:
    """A core of the embedded slide, where its truth says that it lies."""
    with slide.with_name(slide.name.replace(".ome.tif", ".truth.csv")).open() as file:
        row = next(row for row in csv.DictReader(file) if row["core"] == name)
    return Core(name, 0, 0, float(row["y"]), float(row["x"]), float(row["diameter"]))


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


def test_scores_carry_the_batch_they_were_calibrated_for(discs_slide, grid_of_discs, mock_model, mock_engine):
    calibrated = recalibrate(mock_model, [0.1, 1.0, 2.0], [0, 1, 2], "run 7")
    assert {s.batch for s in score_cores(discs_slide, grid_of_discs, calibrated)} == {"run 7"}
    assert {s.batch for s in score_cores(discs_slide, grid_of_discs, mock_model)} == {""}


BLUER = Stains(hematoxylin=(0.60, 0.60, 0.53), dab=(0.20, 0.52, 0.83))


class Watching(MockEngine):
    """Keeps what it is shown."""

    def run(self, pixels):
        self.shown = pixels.copy()
        return super().run(pixels)


def test_the_network_sees_the_colours_of_the_reference_and_the_flags_those_of_the_slide(
    discs_slide, grid_of_discs, mock_model
):
    flagging = {
        "mean": [0.0] * len(LOOKS),
        "precision": np.eye(len(LOOKS)).tolist(),
        "threshold": 0.1,
        "nuclear_threshold": 1,
    }
    model, engine = replace(mock_model, familiar=flagging), Watching(len(mock_model.spec.levels))
    core = [grid_of_discs["A-3"]]
    (seen,) = score_cores(discs_slide, core, model, engine=engine)
    own = engine.shown
    (changed,) = score_cores(discs_slide, core, model, engine=engine, normalise=BLUER)
    assert np.array_equal(engine.shown, normalise(own, on_white(BLUER), MODEL_REFERENCE))
    assert (seen.normalised, changed.normalised) == (False, True)
    assert changed.value != pytest.approx(seen.value, abs=0.01)
    assert changed.flags == seen.flags != ()
    same = {**replace(MODEL_REFERENCE, hematoxylin=BLUER.hematoxylin, dab=BLUER.dab).to_dict()}
    (kept,) = score_cores(discs_slide, core, replace(model, reference=same), engine=engine, normalise=BLUER)
    assert kept.value == pytest.approx(seen.value, abs=0.02)


def test_cut_points_of_one_setting_do_not_score_the_other(discs_slide, grid_of_discs, mock_model, mock_engine):
    for made in (False, True):
        calibrated = recalibrate(mock_model, [0.1, 1.0, 2.0], [0, 1, 2], "run 7", normalised=made)
        wrong, right = (None, BLUER) if made else (BLUER, None)
        with pytest.raises(ModelError, match=f"run 7 was made {'with' if made else 'without'} normalised colours"):
            next(score_cores(discs_slide, grid_of_discs, calibrated, normalise=wrong))
        assert next(score_cores(discs_slide, grid_of_discs, calibrated, normalise=right)).batch == "run 7"


def test_a_core_of_another_kind_is_flagged_and_scored_all_the_same(discs_slide, grid_of_discs, mock_model, mock_engine):
    familiar = {
        "mean": [0.0] * len(LOOKS),
        "precision": np.eye(len(LOOKS)).tolist(),
        "threshold": 0.1,
        "nuclear_threshold": 1,
    }
    plain = list(score_cores(discs_slide, grid_of_discs, mock_model))
    flagged = list(score_cores(discs_slide, grid_of_discs, replace(mock_model, familiar=familiar)))
    assert [s.score for s in flagged] == [s.score for s in plain]
    assert all(s.flags == () for s in plain)
    assert all(s.flags[0].startswith("Unfamiliar") for s in flagged)
    assert slide_flags(discs_slide, plain, mock_model) == ()
    (told,) = slide_flags(discs_slide, flagged[:5] + plain[5:], mock_model)
    assert told.startswith("Unfamiliar: 5 of 8 cores")
    assert slide_flags(discs_slide, flagged[:4] + plain[4:], mock_model) == ()
    pale = replace(mock_model, stain_range={"blue": [0.0, 9.0], "brown": [0.0, 0.01]})
    (told,) = slide_flags(discs_slide, plain, pale)
    assert "calibrate on control cores" in told


def test_a_model_of_whole_cores_gives_probabilities_and_no_places(discs_slide, grid_of_discs, mock_model):
    class Whole:
        device = "mock"

        def run(self, pixels):
            return np.array([[0.1, 0.2, 0.6, 0.1]], np.float32), np.zeros((1, 3), np.float32)

    model = replace(mock_model, network={"design": "stacked"})
    score = next(score_cores(discs_slide, grid_of_discs, model, engine=Whole()))
    assert (score.score, score.places) == ("2+", None)
    assert score.value == pytest.approx(1.7)
    assert score.confidence == pytest.approx(0.6)
    moved = recalibrate(model, [1.8, 1.9, 0.1], [1, 1, 0], "run 7")
    again = next(score_cores(discs_slide, grid_of_discs, moved, engine=Whole()))
    assert again.probabilities == pytest.approx(score_probabilities(again.value, moved.calibration))


def without(patches: PyramidSample, gone: np.ndarray) -> PyramidSample:
    kept = np.setdiff1d(np.arange(len(patches.pixels)), gone)
    return replace(
        patches,
        pixels=patches.pixels[kept],
        level=patches.level[kept],
        y=patches.y[kept],
        x=patches.x[kept],
        size=patches.size[kept],
    )


@pytest.mark.parametrize("name", ["A-2", "A-3"])
def test_the_patches_that_count_are_those_the_score_hangs_on(name: str):
    """With the shipped weights: the contributions are the value, and taking away the largest moves it most."""
    model, truth = load_model(), sample_slide()
    slide = Slide.open(truth)
    core = sample_core(truth, name)
    spec = replace(model.spec, levels=(LevelSpec(12, 1.0), LevelSpec(4, 2.0), LevelSpec(1, 0.0)))
    patches = sample(slide, core, spec, white=white_point(slide.overview()[0]))
    shares = open_engine(model, "cpu").run(patches.pixels)[0]
    places, patch, _ = judge_places(patches, shares, model.calibration)
    value, _ = pool(places, model.calibration)
    share = np.bincount(patch, places.weight * places.grade, minlength=len(patches.pixels))
    assert share.sum() == pytest.approx(value, abs=1e-5)

    def moved(gone: np.ndarray) -> float:
        kept = np.setdiff1d(np.arange(len(shares)), gone)
        rest, *_ = judge_places(without(patches, gone), shares[kept], model.calibration)
        return abs(pool(rest, model.calibration)[0] - value)

    rng, fine = np.random.default_rng(0), np.nonzero(patches.level == 0)[0]
    top = fine[np.argsort(-share[fine])[:4]]
    assert moved(top) > np.mean([moved(rng.choice(fine, 4, replace=False)) for _ in range(20)])
