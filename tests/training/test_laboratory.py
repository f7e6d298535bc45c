"""A laboratory's head: encoded once, fitted by the core's score, compared by patient, saved without an ONNX library."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_her2.cores import CoreState
from napari_her2.engine import CompiledEngine, TorchEngine
from napari_her2.errors import CoresError, ModelError, OutputError
from napari_her2.models import DEFAULT_MODEL, Calibration, ScoringModel, installed_models, load_model
from napari_her2.pooling import place_weights, pool
from napari_her2.pyramid import sample
from napari_her2.recalibrate import recalibrate
from napari_her2.scoring import judge_places
from napari_her2.slide import Slide
from napari_her2.stain import QUPATH_DAB, QUPATH_HEMATOXYLIN, optical_density, white_point
from napari_her2.training import lab_features
from napari_her2.training.lab_cuts import log_likelihood
from napari_her2.training.lab_features import Encoder, open_encoder, restained
from napari_her2.training.lab_head import Head, base_head, core_values, judge_features
from napari_her2.training.laboratory import (
    LEAST_CORES,
    LEAST_PATIENTS,
    Comparison,
    CoreFeatures,
    LabParams,
    check_name,
    collect,
    cross_validate,
    fit_head,
    laboratory_card,
    save_laboratory_model,
    too_few,
)
from tiny_model import made_features, many_discs, write_tiny_model

QUICK = LabParams(folds=3, steps=60, draws=40, pull=1.0)
Fitted = tuple[Head, Calibration, dict[str, Any]]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ScoringModel:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAPARI_HER2_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


class Counting:
    """An encoder that counts what it is given."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder, self.runs = encoder, 0

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        self.runs += 1
        return self.encoder(pixels)


# -- features ---------------------------------------------------------------------------------------------------------


def test_what_is_kept_is_what_the_last_layer_gets(tiny: ScoringModel, monkeypatch: pytest.MonkeyPatch):
    """With all places kept, the layer on them gives the value that scoring gives with the same patches."""
    monkeypatch.setattr(lab_features, "_PATCHES", 1.0)
    monkeypatch.setattr(lab_features, "_PLACES", 10**6)
    picture, grid = many_discs(4)
    slide = Slide.from_arrays(picture, name="discs", mpp=1.0)
    cores = list(collect(slide, list(grid), tiny, device="cpu", versions=2))
    assert [core.score for core in cores] == [0, 1, 2, 3]
    engine = CompiledEngine(tiny)
    for calibration in (tiny.calibration, replace(tiny.calibration, haze=0.7)):
        values = core_values(cores, base_head(tiny), calibration)
        for core, value in zip(grid, values, strict=True):
            patches = sample(slide, core, tiny.spec, white=white_point(slide.overview()[0]))
            places, _ = judge_places(patches, engine.run(patches.pixels)[0], calibration)
            assert pool(places, calibration)[0] == pytest.approx(value, abs=2e-3)


def test_the_compiled_encoder_and_torch_agree(tiny: ScoringModel):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    compiled, plain = open_encoder(tiny, "cpu")(pixels), lab_features._on_device(tiny, "cpu")(pixels)
    assert compiled.shape == plain.shape
    assert compiled.shape[1] == 96
    np.testing.assert_allclose(compiled, plain, atol=1e-4)


def test_cores_are_encoded_once_and_damaged_files_made_again(tiny: ScoringModel, tmp_path: Path):
    picture, grid = many_discs(4)
    slide = Slide.from_arrays(picture, name="discs", mpp=1.0)
    encoder = Counting(open_encoder(tiny, "cpu"))
    made = [list(collect(slide, list(grid), tiny, cache=tmp_path, encoder=encoder)) for _ in range(2)]
    assert encoder.runs == 4 * lab_features.VERSIONS
    assert all(np.array_equal(a.hidden, b.hidden) for a, b in zip(*made, strict=True))
    assert not np.array_equal(made[0][0].hidden[0], made[0][0].hidden[1])
    files = sorted(tmp_path.glob("*.npz"))
    files[0].write_bytes(files[0].read_bytes()[:-200])
    files[1].write_bytes(b"")
    again = list(collect(slide, list(grid), tiny, cache=tmp_path, encoder=encoder))
    assert encoder.runs == 6 * lab_features.VERSIONS
    assert all(np.array_equal(a.hidden, b.hidden) for a, b in zip(made[0], again, strict=True))


def test_a_run_that_was_killed_goes_on(tiny: ScoringModel, tmp_path: Path):
    picture, grid = many_discs(4)
    slide = Slide.from_arrays(picture, name="discs", mpp=1.0)
    encoder = Counting(open_encoder(tiny, "cpu"))

    def killed(pixels: np.ndarray) -> np.ndarray:
        if encoder.runs == 4:  # in the middle of the second core
            raise KeyboardInterrupt
        return encoder(pixels)

    with pytest.raises(KeyboardInterrupt):
        list(collect(slide, list(grid), tiny, cache=tmp_path, encoder=killed))
    assert len(list(tmp_path.iterdir())) == 1
    encoder.runs = 0
    assert len(list(collect(slide, list(grid), tiny, cache=tmp_path, encoder=encoder))) == 4
    assert encoder.runs == 3 * lab_features.VERSIONS


def test_other_places_weights_or_pixels_are_not_taken_from_the_cache(tiny: ScoringModel, tmp_path: Path):
    picture, grid = many_discs(1)
    encoder = Counting(open_encoder(tiny, "cpu"))
    slide = Slide.from_arrays(picture, name="discs", mpp=1.0)

    def encoded(slide: Slide = slide, model: ScoringModel = tiny, shift: float = 0.0, seed: int = 0) -> int:
        before, core = encoder.runs, replace(grid.cores[0], y=grid.cores[0].y + shift)
        list(collect(slide, [core], model, cache=tmp_path, encoder=encoder, seed=seed))
        return encoder.runs - before

    assert encoded() > 0
    assert encoded() == 0
    darker = Slide.from_arrays(picture // 2 + 100, name="discs", mpp=1.0)
    for changed in (
        {"shift": 3.0},
        {"seed": 1},
        {"model": replace(tiny, weights_sha256="0" * 64)},
        {"slide": slide.with_mpp(0.9)},
        {"slide": darker},
    ):
        assert encoded(**changed) > 0, changed


def test_what_cannot_be_learned_from_is_told(tiny: ScoringModel):
    picture, grid = many_discs(4)
    first, second, third, fourth = grid
    cores = [
        replace(first, reader_score=""),
        replace(second, state=CoreState.EXCLUDED),
        replace(third, y=-400.0),
        replace(fourth, patient_id=""),
    ]
    told: list[str] = []
    slide = Slide.from_arrays(picture, name="discs", mpp=1.0)
    found = list(collect(slide, cores, tiny, device="cpu", versions=1, remark=told.append))
    assert [(core.name, core.patient) for core in found] == [("A-4", "discs A-4")]
    assert told == ["discs A-3 is not learned from: hardly any of it is tissue."]


def test_another_stain_changes_amounts_and_leaves_the_glass():
    blue, brown = np.array(QUPATH_HEMATOXYLIN), np.array(QUPATH_DAB)
    od = np.stack([0 * blue, 0.3 * blue, 0.4 * brown, 0.3 * blue + 0.2 * brown])
    picture = np.clip(np.rint(255 * 10**-od), 0, 255).astype(np.uint8)[None]
    assert np.array_equal(restained(picture, np.eye(3)), picture)
    changed = restained(picture, lab_features.other_stain(np.random.default_rng(3)))
    assert (changed[0, 0] == 255).all()
    gains = [optical_density(changed)[0, k].sum() / od[k].sum() for k in (1, 2)]
    assert all(0.6 < gain < 1.5 and abs(gain - 1) > 0.01 for gain in gains)


def test_a_design_without_a_dense_head_is_refused(tiny: ScoringModel):
    with pytest.raises(ModelError, match="no head to train"):
        open_encoder(replace(tiny, network={"design": "stacked"}))


# -- the fit ----------------------------------------------------------------------------------------------------------


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
        weight = place_weights(judged.grade, judged.tumour, judged.level, calibration)
        assert value == pytest.approx(float(weight @ judged.grade), abs=1e-4)


@settings(deadline=None)
@given(score=st.integers(0, 3), value=st.floats(-1, 4))
def test_the_likelihood_is_that_of_the_score(score: int, value: float):
    from napari_her2.pooling import score_probabilities

    calibration = Calibration()
    log = log_likelihood(torch.tensor([value]), torch.tensor([score]), calibration, torch.zeros(4))
    assert float(torch.exp(log)) == pytest.approx(score_probabilities(value, calibration)[score], abs=1e-4)


@pytest.fixture(scope="module")
def comparison(tiny: ScoringModel) -> Comparison:
    return cross_validate(made_features(), tiny, QUICK)


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


# -- too few ----------------------------------------------------------------------------------------------------------


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


# -- saving -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted(tiny: ScoringModel, comparison: Comparison) -> Fitted:
    cores = made_features()
    head, calibration, _ = fit_head(cores, tiny, QUICK, apart=comparison.values)
    return head, calibration, laboratory_card(tiny, cores, comparison, QUICK, "labels.csv")


def test_the_saved_model_is_installed_and_the_same_in_onnx_and_torch(
    tiny: ScoringModel, fitted: Fitted, own_models: Path
):
    head = fitted[0]
    model = save_laboratory_model("ours", tiny, *fitted)
    assert model.folder == own_models / "ours"
    assert "ours" in [m.name for m in installed_models()]
    read = load_model("ours")
    assert read == model
    read.verify()
    assert np.array_equal(base_head(read).weight, head.weight)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    compiled, plain, before = (
        e.run(pixels)[0] for e in (CompiledEngine(read), TorchEngine(read, "cpu"), CompiledEngine(tiny))
    )
    assert np.abs(compiled - plain).max() < 1e-4
    assert np.abs(compiled - before).max() > 0.01
    assert model.sha256 != tiny.sha256


def test_the_card_says_what_it_learned_from(tiny: ScoringModel, fitted: Fitted, own_models: Path):
    card = save_laboratory_model("ours", tiny, *fitted).card
    learned = card["learned from"]
    assert (learned["cores"], learned["patients"], learned["labels"]) == (40, 20, "labels.csv")
    assert learned["of each score"] == "10 of 0, 10 of 1+, 10 of 2+, 10 of 3+"
    assert card["base model"] == {"name": "tiny", "version": "1", "checksum": tiny.sha256}
    measured = card["cross-validated"]
    assert measured["on"] == "40 cores of 20 patients, 3 folds by patient"
    assert measured["new"].startswith("accuracy 1.000 (0.832 to 1.000)")
    assert {"recalibrated", "current"} <= set(measured)
    assert "p00" not in str(card)
    assert "Research use only" in card["intended use"]


def test_names_that_cannot_be_taken(tiny: ScoringModel, fitted: Fitted, own_models: Path):
    for name in ("", "../x", "a/b"):
        with pytest.raises(ModelError, match="cannot be called"):
            check_name(name)
    with pytest.raises(ModelError, match="came with the plugin"):
        check_name(DEFAULT_MODEL)
    save_laboratory_model("ours", tiny, *fitted)
    with pytest.raises(OutputError, match="a model ours already"):
        check_name("ours")
    assert check_name("ours", overwrite=True) == own_models / "ours"


def test_a_base_model_that_was_changed_is_not_copied(
    tiny: ScoringModel, fitted: Fitted, own_models: Path, tmp_path: Path
):
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in ("model.safetensors", "model.onnx"):
        (folder / file).write_bytes((tiny.folder / file).read_bytes())
    (folder / "model.onnx").write_bytes(b"x" + (folder / "model.onnx").read_bytes())
    with pytest.raises(ModelError, match="does not match its checksum"):
        save_laboratory_model("ours", load_model(folder), *fitted)
    assert not (own_models / "ours" / "model.safetensors").exists()


def test_numbers_that_stand_twice_are_not_exchanged():
    from napari_her2.training.lab_save import exchanged

    old, new = np.float32([1, 2]), np.float32([3, 4])
    assert exchanged(b"ab" + old.tobytes() + b"c", old, new, "m") == b"ab" + new.tobytes() + b"c"
    for file in (old.tobytes() * 2, b"nothing"):
        with pytest.raises(ModelError, match="last layer"):
            exchanged(file, old, new, "m")


def test_a_damaged_model_of_the_user_does_not_hide_the_others(tiny: ScoringModel, fitted: Fitted, own_models: Path):
    save_laboratory_model("ours", tiny, *fitted)
    (own_models / "bad").mkdir()
    (own_models / "bad" / "model.safetensors").write_bytes(b"no")
    assert [m.name for m in installed_models() if m.folder.parent == own_models] == ["ours"]
    with pytest.raises(ModelError, match="damaged"):
        load_model("bad")


def test_saving_needs_no_onnx_library():
    code = "import sys, napari_her2.training.laboratory; sys.exit(bool({'onnx', 'onnxscript'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
