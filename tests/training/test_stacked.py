"""The published design from stacks to a saved model, on cores of brown squares, with tiny patches and a small net."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_her2.engine import CompiledEngine, TorchEngine
from napari_her2.errors import OutputError
from napari_her2.models import ScoringModel, load_model
from napari_her2.networks import StackedNetwork
from napari_her2.pyramid import LevelSpec, PyramidSpec
from napari_her2.scoring import score_cores
from napari_her2.slide import Slide
from napari_her2.training import stacked
from napari_her2.training.evaluate import whole_picture
from napari_her2.training.save import save_model
from napari_her2.training.stack_calibrate import calibrate_stacked, familiar_stacks
from napari_her2.training.stacked import StackParams, fit_stacked, score_weights, stack_probabilities
from napari_her2.training.stacks import StackBank, generated_bank
from tiny_model import small_densenet

SPEC = PyramidSpec(mpp=1.0, patch=32, levels=(LevelSpec(2, 1.0), LevelSpec(1, 0.0)))


def core(number: int) -> Slide:
    picture = np.full((90, 90, 3), 240, np.uint8)
    picture[10:80, 10:80] = np.array([(190, 190, 220), (205, 180, 160), (180, 130, 90), (110, 60, 30)])[number % 4]
    return Slide.from_arrays(picture, name=f"core {number}", mpp=1.0)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    def slides(count: int, seed: int, *, blind: bool = False):
        for k in range(count):
            yield f"generated-{seed}-{k:04d}", k % 4, lambda k=k: core(k)

    monkeypatch.setattr("torchvision.models.densenet201", small_densenet)
    monkeypatch.setattr("napari_her2.training.stacks.generated_slides", slides)


@pytest.fixture
def bank(tmp_path: Path) -> StackBank:
    return generated_bank(tmp_path / "stacks", SPEC, 12, seed=1)


def network() -> StackedNetwork:
    torch.manual_seed(0)
    return StackedNetwork(patches=3)


def weights(of: StackedNetwork) -> np.ndarray:
    return np.concatenate([tensor.numpy().ravel() for tensor in of.state_dict().values()])


def test_it_learns_and_is_scored_from_disk(bank: StackBank, tmp_path: Path):
    learned, held = bank.of(range(8)), bank.of(range(8, 12))
    net = network()
    params = StackParams(60, rate=5e-3, look=10)
    history = fit_stacked(net, learned, params, tmp_path / "a.pt", held=held)
    assert [point.step for point in history] == [10, 20, 30, 40, 50, 60]
    assert history[-1].learned < 1.1  # log 4 is 1.39
    before = stack_probabilities(net, held)
    calibration = calibrate_stacked(net, held, coverage=0.5)
    likely = stack_probabilities(net, held)
    assert (likely.argmax(axis=1) == before.argmax(axis=1)).all()  # a temperature changes no class
    assert (likely.max(axis=1) >= calibration.indeterminate_below).sum() == 2
    model = ScoringModel("stack", "0", SPEC, calibration, {"design": "stacked", "patches": 3})
    saved = save_model(model, net, tmp_path / "model")
    read = load_model(tmp_path / "model")
    read.verify()
    assert read.stacked
    for engine in (CompiledEngine(saved), TorchEngine(saved, "cpu")):
        shares, _ = engine.run(held.stack(3))
        assert shares == pytest.approx(likely[3:4], abs=1e-3)
    score = next(score_cores(core(3), [whole_picture(core(3))], read, device="cpu"))
    assert score.places is None
    assert sum(score.probabilities) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("killed_in", [3, 5, 8])
def test_a_killed_fit_ends_with_the_weights_of_an_unbroken_one(
    bank: StackBank, tmp_path: Path, killed_in: int, monkeypatch: pytest.MonkeyPatch
):
    learned, held, params = bank.of(range(8)), bank.of(range(8, 12)), StackParams(9, look=4)
    unbroken = network()
    history = fit_stacked(unbroken, learned, params, tmp_path / "unbroken.pt", held=held)

    def stepped(step: int, loss: float, seconds: float) -> None:
        if step == killed_in:
            raise RuntimeError("killed")

    first = network()
    monkeypatch.setattr(stacked, "SAVE_SECONDS", 0.0)
    with pytest.raises(RuntimeError, match="killed"):
        fit_stacked(first, learned, params, tmp_path / "killed.pt", held=held, stepped=stepped)
    # whatever the network began with, the checkpoint holds all of it
    torch.manual_seed(7)
    second, steps = StackedNetwork(patches=3), list[int]()
    again = fit_stacked(
        second, learned, params, tmp_path / "killed.pt", held=held, stepped=lambda step, *_: steps.append(step)
    )
    assert steps == list(range(killed_in, 10))
    assert again == history
    assert np.array_equal(weights(second), weights(unbroken))
    # and what is done is not done again
    fit_stacked(second, learned, params, tmp_path / "killed.pt", held=held, stepped=lambda *_: pytest.fail("again"))


def test_asked_to_stop_it_keeps_the_step_it_was_at(bank: StackBank, tmp_path: Path):
    params, done = StackParams(6, look=6), list[int]()
    with pytest.raises(KeyboardInterrupt):
        fit_stacked(
            network(),
            bank,
            params,
            tmp_path / "a.pt",
            stepped=lambda step, *_: done.append(step),
            stop=lambda: len(done) > 1,
        )
    assert done == [1, 2]
    fit_stacked(network(), bank, params, tmp_path / "a.pt", stepped=lambda step, *_: done.append(step))
    assert done == [1, 2, 3, 4, 5, 6]


def test_it_stops_early_and_keeps_the_network_that_was_best(bank: StackBank, tmp_path: Path):
    learned = bank.of(range(8))
    # labels that cannot be learned: what is right for those learned from is wrong for those held out
    held = StackBank(bank.files[8:], 3 - bank.scores[8:])
    net = network()
    history = fit_stacked(net, learned, StackParams(400, rate=2e-2, look=5, patience=3), tmp_path / "a.pt", held=held)
    losses = [point.held_out for point in history]
    assert len(losses) < 80
    assert losses.index(min(losses)) == len(losses) - 4
    likely = stack_probabilities(net, held)[np.arange(4), held.scores]
    assert -np.log(likely).mean() == pytest.approx(min(losses))


def test_another_seed_is_another_fit(bank: StackBank, tmp_path: Path):
    nets = [network() for _ in range(3)]
    for k, (net, seed) in enumerate(zip(nets, (0, 0, 1), strict=True)):
        fit_stacked(net, bank, StackParams(3, seed=seed), tmp_path / f"{k}.pt")
    first, same, other = map(weights, nets)
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_every_core_comes_once_in_a_round_and_is_varied():
    params = StackParams(6, batch=4)
    drawn = [k for step in range(1, 4) for k in stacked._drawn(6, params, step)]
    assert sorted(drawn[:6]) == sorted(drawn[6:]) == list(range(6))
    assert drawn[:6] != drawn[6:]
    glass = torch.full((2, 8, 8, 3), 255, dtype=torch.uint8)
    assert (stacked._varied(glass, np.random.default_rng(0)) == 255).all()
    brown = torch.tensor([150, 110, 70], dtype=torch.uint8).expand(1, 8, 8, 3)
    colours = {tuple(stacked._varied(brown, np.random.default_rng(k))[0, 0, 0].tolist()) for k in range(8)}
    assert len(colours) == 8
    assert np.abs(np.array(list(colours)) - (150, 110, 70)).max() < 45
    half = glass.clone()
    half[:, :4] = 100
    corners = {
        tuple(stacked._varied(half, np.random.default_rng(k))[0, [0, 0, -1], [0, -1, 0], 0].tolist()) for k in range(8)
    }
    assert len({tuple(c == 255 for c in corner) for corner in corners}) > 2  # turned


def test_rare_scores_count_as_much_as_common_ones():
    bank = StackBank((Path(),) * 8, np.array([0, 0, 0, 0, 1, 1, 3, 3]))
    count = score_weights(bank)
    assert count[bank.scores].mean() == pytest.approx(1)
    assert count[[0, 1, 3]] * (4, 2, 2) == pytest.approx([8 / 3] * 3)


def test_a_damaged_checkpoint_is_one_sentence(bank: StackBank, tmp_path: Path):
    (tmp_path / "a.pt").write_bytes(b"no")
    with pytest.raises(OutputError, match=r"a\.pt is no checkpoint of this fit"):
        fit_stacked(network(), bank, StackParams(1), tmp_path / "a.pt")


def test_few_cores_cannot_tell_what_is_familiar(bank: StackBank):
    assert familiar_stacks(bank, SPEC) == {}


def test_it_is_trained_on_generated_cores_by_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from napari_her2.training import __main__ as module

    monkeypatch.setattr(module, "PyramidSpec", lambda: SPEC)
    monkeypatch.setattr(module, "StackedNetwork", StackedNetwork)
    monkeypatch.setattr(module, "ScoringModel", lambda *a, network: ScoringModel(*a, network=network | {"patches": 3}))
    sizes = ("--tiles", "8", "--cores", "8", "--steps", "3")
    monkeypatch.setattr(
        "sys.argv", ["training", str(tmp_path / "run"), "-o", str(tmp_path / "m"), "--design", "stacked", *sizes]
    )
    module.main()
    model = load_model(tmp_path / "m")
    assert model.card["measured on generated cores kept apart"]["n"] == 4
    assert replace(model, folder=None).stacked
