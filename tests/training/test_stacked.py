"""The published design from stacks to a saved model, on cores of brown squares and with tiny patches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_her2.engine import CompiledEngine, TorchEngine
from napari_her2.models import ScoringModel, load_model
from napari_her2.networks import StackedNetwork
from napari_her2.pyramid import LevelSpec, PyramidSpec
from napari_her2.scoring import score_cores
from napari_her2.slide import Slide
from napari_her2.training.evaluate import whole_picture
from napari_her2.training.save import save_model
from napari_her2.training.stacked import StackBank, calibrate_stacked, fit_stacked, stack_probabilities

SPEC = PyramidSpec(mpp=1.0, patch=32, levels=(LevelSpec(2, 1.0), LevelSpec(1, 0.0)))


def model() -> ScoringModel:
    return ScoringModel("stack", "0", SPEC, network={"design": "stacked", "patches": 3})


def core(number: int) -> Slide:
    picture = np.full((90, 90, 3), 240, np.uint8)
    picture[10:80, 10:80] = np.array([(190, 190, 220), (205, 180, 160), (180, 130, 90), (110, 60, 30)])[number % 4]
    return Slide.from_arrays(picture, name=f"core {number}", mpp=1.0)


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackBank:
    def slides(count: int, seed: int, *, blind: bool = False):
        for k in range(count):
            yield f"generated-{seed}-{k:04d}", k % 4, lambda k=k: core(k)

    monkeypatch.setattr("napari_her2.training.stacked.generated_slides", slides)
    bank = StackBank(tmp_path / "stacks", model(), seed=1)
    bank.fill(8)
    return bank


def test_it_learns_goes_on_after_a_kill_and_is_scored_from_disk(bank: StackBank, tmp_path: Path):
    torch.manual_seed(0)
    network = StackedNetwork(patches=3)
    history = fit_stacked(network, bank, 8, 20, tmp_path / "a.pt", rate=2e-3)
    assert history[-1] < 1.3  # log 4 is 1.39
    again = StackedNetwork(patches=3)
    assert fit_stacked(again, bank, 8, 20, tmp_path / "a.pt", rate=2e-3) == history
    before = stack_probabilities(network, bank, range(8))
    calibration = calibrate_stacked(network, bank, range(8))
    likely = stack_probabilities(network, bank, range(8))
    assert likely.sum(axis=1) == pytest.approx(np.ones(8))
    assert (likely.argmax(axis=1) == before.argmax(axis=1)).all()  # a temperature changes no class
    saved = save_model(replace(model(), calibration=calibration), network, tmp_path / "model")
    read = load_model(tmp_path / "model")
    read.verify()
    assert read.stacked
    pixels = bank.stack(3)
    for engine in (CompiledEngine(saved), TorchEngine(saved, "cpu")):
        shares, features = engine.run(pixels)
        assert shares == pytest.approx(likely[3:4], abs=1e-3)
        assert features.shape == (1, 1920)
    score = next(score_cores(core(3), [whole_picture(core(3))], read, device="cpu"))
    assert score.places is None
    assert sum(score.probabilities) == pytest.approx(1, abs=1e-5)
