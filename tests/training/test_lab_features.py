"""What is kept of a laboratory's cores: encoded once, as the last layer gets it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_her2.cores import CoreState
from napari_her2.engine import CompiledEngine
from napari_her2.errors import ModelError
from napari_her2.models import ScoringModel
from napari_her2.pooling import pool
from napari_her2.pyramid import sample
from napari_her2.scoring import judge_places
from napari_her2.slide import Slide
from napari_her2.stain import QUPATH_DAB, QUPATH_HEMATOXYLIN, optical_density, white_point
from napari_her2.training import lab_features
from napari_her2.training.lab_features import Encoder, open_encoder, restained
from napari_her2.training.lab_head import base_head, core_values
from napari_her2.training.laboratory import collect
from tiny_model import many_discs


class Counting:
    """An encoder that counts what it is given."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder, self.runs = encoder, 0

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        self.runs += 1
        return self.encoder(pixels)


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
            places, *_ = judge_places(patches, engine.run(patches.pixels)[0], calibration)
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
