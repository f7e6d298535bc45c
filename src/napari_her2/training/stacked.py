"""Fitting the published design: whole cores as stacks of patches, with the score of the core as the only truth.

Every step is drawn from its own number, so that a fit that was stopped goes on as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from napari_her2.errors import OutputError
from napari_her2.files import writing
from napari_her2.networks import StackedNetwork
from napari_her2.training.lab_features import other_stain
from napari_her2.training.laboratory import LearningPoint
from napari_her2.training.stacks import StackBank

__all__ = ["METHOD", "StackParams", "fit_stacked", "score_weights", "stack_probabilities"]

#: What a card says of the design.
METHOD = (
    "Selcuk et al. 2024, doi 10.34133/bmef.0048: 51 patches stacked into DenseNet-201, here without ImageNet weights"
)
#: Seconds between checkpoints; there is one at every look as well.
SAVE_SECONDS = 120.0


@dataclass(frozen=True)
class StackParams:
    """How a stacked network is fitted.

    Attributes
    ----------
    steps : int
        Optimiser steps, at most.
    batch : int
        Cores a step.
    rate : float
        Peak learning rate: reached after a tenth of the steps, then falling to 0 as a cosine.
    look : int
        Steps between two looks at the cores held out.
    patience : int
        How many looks without gain end the fit.
    seed : int
    """

    steps: int
    batch: int = 4
    rate: float = 1e-3
    look: int = 20
    patience: int = 8
    seed: int = 0


def fit_stacked(
    network: StackedNetwork,
    bank: StackBank,
    params: StackParams,
    checkpoint: Path,
    *,
    held: StackBank | None = None,
    device: str = "cpu",
    stepped: Callable[[int, float, float], None] = lambda step, loss, seconds: None,
    stop: Callable[[], bool] = lambda: False,
) -> list[LearningPoint]:
    """Fit by cross entropy of the cores' scores, rare scores as heavy together as common ones.

    Each time a core is seen it is turned or mirrored, and its stain a little changed. It goes on from `checkpoint` when
    that is there. In the end the network is as it was when the cores held out were judged best.

    Parameters
    ----------
    network : StackedNetwork
        Changed in place.
    bank : StackBank
        Cores to learn from.
    params : StackParams
    checkpoint : Path
        A fit with other parameters or cores wants another one.
    held : StackBank, optional
        Cores by which it is seen when to stop; without them all steps are taken, and the last is what counts.
    device : str
        As torch calls it.
    stepped : callable
        Called after each step with its number, its loss in nats a core, and its seconds.
    stop : callable
        Asked after each step: a fit that is to stop writes its checkpoint and raises KeyboardInterrupt.

    Returns
    -------
    list of LearningPoint
        At each look; the loss held out is NaN without such cores.

    Raises
    ------
    OutputError
        If the checkpoint is damaged or cannot be written.
    KeyboardInterrupt
        When it is to stop.
    """
    network.to(device)
    fit, saved = _Fit(network, params), time.monotonic()
    if checkpoint.exists():
        fit.load(checkpoint)
    weights = score_weights(bank)
    with _repeatable(device):
        while fit.step < params.steps and not fit.served(held):
            start = time.perf_counter()
            fit.take(bank, weights, device)
            stepped(fit.step, fit.recent[-1], time.perf_counter() - start)
            looked = fit.step % params.look == 0 or fit.step == params.steps
            if looked:
                fit.look(held, weights)
            if stop() or looked or time.monotonic() - saved > SAVE_SECONDS:
                fit.save(checkpoint)
                saved = time.monotonic()
            if stop():
                raise KeyboardInterrupt
    if held is not None and fit.best is not None:
        network.load_state_dict(fit.best)
    return fit.history


class _Fit:
    """A fit at one of its steps: what a checkpoint holds."""

    def __init__(self, network: StackedNetwork, params: StackParams) -> None:
        self.network, self.params = network, params
        self.optimiser = torch.optim.AdamW(network.parameters(), lr=params.rate, weight_decay=0.01)
        self.step = 0
        self.history: list[LearningPoint] = []
        self.recent: list[float] = []
        self.best: dict[str, torch.Tensor] | None = None

    def take(self, bank: StackBank, weights: npt.NDArray[np.float32], device: str) -> None:
        """One optimiser step."""
        self.step += 1
        for group in self.optimiser.param_groups:
            group["lr"] = _rate(self.step, self.params)
        rng = np.random.default_rng((self.params.seed, 3, self.step))
        numbers = _drawn(len(bank), self.params, self.step)
        pixels = torch.cat([_varied(torch.from_numpy(bank.stack(k)).to(device), rng) for k in numbers])
        truth = bank.scores[numbers]
        self.network.train()
        with _mixed(device):
            logits = self.network.logits(pixels)
        losses = functional.cross_entropy(logits.float(), torch.from_numpy(truth).to(device), reduction="none")
        loss: Any = (torch.from_numpy(weights[truth]).to(device) * losses).mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.recent.append(float(loss.detach()))

    def look(self, held: StackBank | None, weights: npt.NDArray[np.float32]) -> None:
        """See how the cores held out are judged now, and keep the network if that was never better."""
        apart = float("nan")
        if held is not None:
            likely = stack_probabilities(self.network, held)[np.arange(len(held)), held.scores]
            apart = float(-(weights[held.scores] * np.log(np.maximum(likely, 1e-12))).mean())
        self.history.append(LearningPoint(self.step, float(np.mean(self.recent)), apart))
        self.recent.clear()
        if held is not None and apart <= min(point.held_out for point in self.history):
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()}

    def served(self, held: StackBank | None) -> bool:
        """Whether the last looks brought no gain."""
        if held is None or not self.history:
            return False
        losses = [point.held_out for point in self.history]
        return len(losses) - 1 - losses.index(min(losses)) >= self.params.patience

    def save(self, path: Path) -> None:
        """Write all of it."""
        state = {
            "step": self.step,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "history": [tuple(point) for point in self.history],
            "recent": self.recent,
            "best": self.best,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing(path, overwrite=True) as temporary:
            torch.save(state, temporary)

    def load(self, path: Path) -> None:
        """Take up what `save` wrote."""
        try:
            saved = torch.load(path, weights_only=True, map_location="cpu")
            self.network.load_state_dict(saved["network"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.step, self.recent, self.best = saved["step"], list(saved["recent"]), saved["best"]
            self.history = [LearningPoint(*point) for point in saved["history"]]
        except Exception as error:  # pickle, zipfile and torch have errors of their own for a file that is damaged
            raise OutputError(f"{path} is no checkpoint of this fit, or damaged: delete it to begin anew.") from error


def score_weights(bank: StackBank) -> npt.NDArray[np.float32]:
    """How much a core of each score counts, shape (4,): mean 1 over the cores, rare scores as much as common ones."""
    count = np.bincount(bank.scores, minlength=4)
    return np.asarray(len(bank) / (np.count_nonzero(count) * np.maximum(count, 1)), np.float32)


def stack_probabilities(network: StackedNetwork, bank: StackBank) -> npt.NDArray[np.float64]:
    """Probability of each score for each core of a bank, by the network as it is; shape (len(bank), 4)."""
    where = next(network.parameters()).device
    network.eval()
    with torch.inference_mode():
        found = [network(torch.from_numpy(bank.stack(k)).to(where))[0].cpu().double().numpy() for k in range(len(bank))]
    return np.concatenate(found)


def _rate(step: int, params: StackParams) -> float:
    rising = max(1, params.steps // 10)
    if step <= rising:
        return params.rate * step / rising
    return params.rate * (0.5 + 0.5 * float(np.cos(np.pi * (step - rising) / (params.steps - rising + 1))))


def _drawn(count: int, params: StackParams, step: int) -> list[int]:
    """The cores of a step: all in turn, in an order that each round draws anew."""
    rounds = [divmod(k, count) for k in range((step - 1) * params.batch, step * params.batch)]
    orders = {r: np.random.default_rng((params.seed, 5, r)).permutation(count) for r, _ in rounds}
    return [int(orders[r][at]) for r, at in rounds]


def _varied(stack: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """A stack (n, y, x, 3), uint8, as another hand, another run and another day of staining would have made it."""
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    matrix = torch.from_numpy(other_stain(rng)).float().to(stack.device)
    turned = torch.rot90(stack.flip(1) if flip else stack, turns, (1, 2))
    density = -torch.log10(turned.float().clamp(min=1) / 255) @ matrix.T
    return (255 * torch.pow(10.0, -density)).round_().clamp_(0, 255).to(torch.uint8)


def _mixed(device: str) -> Any:
    """Half precision on CUDA where it needs no scaling of the loss; elsewhere it is slower or not exact enough."""
    if device == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


@contextmanager
def _repeatable(device: str) -> Iterator[None]:
    """The same numbers each time, also where cuDNN would choose its algorithms by how quick they are just now."""
    if device != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        yield
