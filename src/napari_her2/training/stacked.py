"""Fitting the published design: whole cores as stacks of patches, with the score of the core as the only truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import optimize
from torch.nn import functional

from napari_her2.familiar import core_look
from napari_her2.files import writing
from napari_her2.models import Calibration, ScoringModel
from napari_her2.networks import StackedNetwork
from napari_her2.pyramid import sample
from napari_her2.stain import white_point
from napari_her2.training.calibrate import COVERAGE, JudgedCore, fit_cuts
from napari_her2.training.evaluate import generated_slides, whole_picture

__all__ = ["StackBank", "calibrate_stacked", "fit_stacked", "stack_probabilities", "stacked_looks"]

#: Steps between checkpoints.
SAVE_EVERY = 20


class StackBank:
    """Stacks of generated cores on disk, made when they are first asked for; the four scores come in turn.

    Parameters
    ----------
    folder : Path
    model : ScoringModel
        Says what patches a core gives.
    seed : int
    blind : bool
        Of laboratories and scanners that no training core has.
    """

    def __init__(self, folder: Path, model: ScoringModel, seed: int, *, blind: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.model, self.seed, self.blind = folder, model, seed, blind

    def fill(self, count: int) -> None:
        """Make the stacks numbered 0 to `count` - 1 that are not there yet."""
        for name, _, make in generated_slides(count, self.seed, blind=self.blind):
            path = self.folder / f"{name}.npy"
            if path.exists():
                continue
            slide = make()
            patches = sample(slide, whole_picture(slide), self.model.spec, white=white_point(slide.overview()[0]))
            with writing(path, overwrite=True) as temporary, temporary.open("wb") as file:
                np.save(file, patches.pixels)

    def stack(self, number: int) -> npt.NDArray[np.uint8]:
        """The patches of one core, uint8 (n, y, x, 3)."""
        found: npt.NDArray[np.uint8] = np.load(self.folder / f"generated-{self.seed}-{number:04d}.npy")
        return found


def fit_stacked(
    network: StackedNetwork,
    bank: StackBank,
    count: int,
    steps: int,
    checkpoint: Path,
    *,
    batch: int = 4,
    rate: float = 1e-3,
    seed: int = 0,
    device: str = "cpu",
    report: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Fit by cross entropy of the cores' scores; goes on from `checkpoint` when it is there.

    Every step is drawn from its own number. Stacks are mirrored and turned, all patches of a core alike.

    Parameters
    ----------
    network : StackedNetwork
        Changed in place.
    bank : StackBank
        With `count` stacks.
    count, steps, batch, rate, seed
        Cores to learn from, optimiser steps, cores a step, peak learning rate, and the seed of the draws.
    checkpoint : Path
    device : str
    report : callable, optional
        Called with step and mean loss every `SAVE_EVERY` steps.

    Returns
    -------
    list of float
        Mean loss over each `SAVE_EVERY` steps.
    """
    network.to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    start, history, recent = 0, list[float](), list[float]()
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        for part, name in ((network, "network"), (optimiser, "optimiser"), (schedule, "schedule")):
            part.load_state_dict(saved[name])
        start, history = saved["step"], saved["history"]
    network.train()
    for step in range(start + 1, steps + 1):
        rng = np.random.default_rng((seed, 3, step))
        numbers = rng.choice(count, batch, replace=count < batch)
        pixels = np.concatenate([_turned(bank.stack(int(k)), rng) for k in numbers])
        logits = network.logits(torch.from_numpy(pixels).to(device))
        loss: Any = functional.cross_entropy(logits, torch.from_numpy(numbers % 4).to(device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        recent.append(float(loss.detach()))
        if step % SAVE_EVERY == 0 or step == steps:
            history.append(float(np.mean(recent)))
            recent.clear()
            parts: dict[str, Any] = {"network": network, "optimiser": optimiser, "schedule": schedule}
            state = {name: part.state_dict() for name, part in parts.items()} | {"step": step, "history": history}
            with writing(checkpoint, overwrite=True) as temporary:
                torch.save(state, temporary)
            if report is not None:
                report(step, history[-1])
    return history


def _turned(stack: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    turned = np.rot90(stack, int(rng.integers(4)), axes=(1, 2))
    return np.ascontiguousarray(turned[:, ::-1] if rng.integers(2) else turned)


def stack_probabilities(network: StackedNetwork, bank: StackBank, numbers: range) -> npt.NDArray[np.float64]:
    """Probability of each score for some cores of a bank; shape (len(numbers), 4)."""
    network.eval()
    with torch.inference_mode():
        found = [network(torch.from_numpy(bank.stack(k)))[0].double().numpy() for k in numbers]
    return np.concatenate(found)


def calibrate_stacked(network: StackedNetwork, bank: StackBank, numbers: range) -> Calibration:
    """Fold the temperature that makes the network's probabilities likeliest into its last layer.

    Parameters
    ----------
    network : StackedNetwork
        Changed in place.
    bank : StackBank
    numbers : range
        Cores that were not learned from, of all four scores.

    Returns
    -------
    Calibration
        With slope and cut points on the expected score, which count once a batch is calibrated on control cores; and
        the confidence that 85 % of the cores exceed.
    """
    truth = np.array(numbers) % 4
    logs = np.log(np.maximum(stack_probabilities(network, bank, numbers), 1e-12))

    def loss(log_scale: float) -> float:
        scaled = logs * np.exp(log_scale)
        return float(np.mean(np.logaddexp.reduce(scaled, axis=1) - scaled[np.arange(len(truth)), truth]))

    found: Any = optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded")
    with torch.no_grad():
        network.net.classifier.weight.mul_(float(np.exp(found.x)))
        network.net.classifier.bias.mul_(float(np.exp(found.x)))
    likely = stack_probabilities(network, bank, numbers)
    one, none = np.ones(1, np.float32), np.zeros(1, np.intp)
    cores = [
        JudgedCore(str(k), int(t), np.float32(p @ np.arange(4)) * one, one, none)
        for k, t, p in zip(numbers, truth, likely, strict=True)
    ]
    fitted = fit_cuts(cores, Calibration(level_weights=(1.0,)))[0]
    confident = float(np.quantile(likely.max(axis=1), 1 - COVERAGE))
    return Calibration(slope=fitted.slope, cuts=fitted.cuts, indeterminate_below=round(confident, 4))


def stacked_looks(bank: StackBank, numbers: range) -> list[npt.NDArray[np.float64]]:
    """What the cores of a bank look like, see `familiar.core_look`."""
    fine = bank.model.spec.levels[0].count
    return [core_look(bank.stack(k)[:fine]) for k in numbers]
