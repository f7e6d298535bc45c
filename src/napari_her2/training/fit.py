"""Fitting the network to tiles: every step is drawn from its own number, so that a killed run goes on as it was."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from napari_her2.files import writing
from napari_her2.networks import CLASSES, PlaceNetwork
from napari_her2.stain import divide_white
from napari_her2.training.bank import read_tile
from napari_her2.training.folded import encode
from napari_her2.training.render import Scanner, render
from napari_her2.training.staining import Laboratory
from napari_her2.training.tissue import IGNORE, UNSTAINED, Tissue

__all__ = ["FitParams", "fit"]

#: Steps between checkpoints.
SAVE_EVERY = 50

Views = list[list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]]]

#: Sides in pixels of the views of a tile: two at full resolution, one at half, one as if of a whole core.
_FULL, _HALF, _LOW = 256, 144, 96
#: Truth of a place: the share of each class, and of what is only known to be unstained.
_KNOWN = CLASSES + 1


@dataclass(frozen=True)
class FitParams:
    """How the network is fitted.

    Attributes
    ----------
    steps : int
        Optimiser steps.
    tiles : int
        Tiles a step; each is seen twice at full resolution, once at half and once as part of a whole core.
    rate : float
        Peak learning rate of the head; the encoder, which starts from ImageNet, takes a quarter.
    real_share : float
        Share of the tiles that comes from the bank of real tissue, when there is one.
    frozen : int
        Parts of the encoder, from the input on, that keep their ImageNet weights: stem, its normalisation, then blocks.
    seed : int
    """

    steps: int = 6000
    tiles: int = 3
    rate: float = 2e-3
    real_share: float = 0.4
    frozen: int = 0
    seed: int = 0


class StepViews(Dataset[list[tuple[torch.Tensor, torch.Tensor]]]):
    """The pictures and truths of each step, one batch for each magnification."""

    def __init__(self, generated: Sequence[Path], real: Sequence[Path], params: FitParams, stride: int) -> None:
        self.generated, self.real, self.params, self.stride = list(generated), list(real), params, stride

    def __len__(self) -> int:
        return self.params.steps

    def __getitem__(self, step: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        rng = np.random.default_rng((self.params.seed, step))
        tiles = []
        for _ in range(self.params.tiles):
            bank = self.real if self.real and rng.random() < self.params.real_share else self.generated
            tiles.append(tile_views(bank[int(rng.integers(len(bank)))], rng, self.stride))
        return [
            tuple(torch.from_numpy(np.stack([view[part] for t in tiles for view in t[k]])) for part in (0, 1))  # type: ignore[misc]
            for k in range(3)
        ]


def tile_views(path: Path, rng: np.random.Generator, stride: int) -> Views:
    """One tile, stained by a random laboratory, coloured by a random scanner, seen at three resolutions.

    Returns
    -------
    list of 3 lists of (picture, target)
        Pictures uint8 (y, x, 3); targets float32 (6, y / stride, x / stride): the share of each class at each place
        and of what is only known to be unstained, not summing to 1 where a part of the place is unknown.
    """
    tile = restained(read_tile(path), Laboratory.random(rng), float(np.exp(np.clip(rng.normal(0, 0.08), -0.2, 0.2))))
    scanner = Scanner.random(rng, wide=True)
    white = np.clip(np.array(scanner.white) * rng.normal(1, 0.008, 3), 150, 255)
    picture = divide_white(render(tile, scanner, rng), white)
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    picture, classes = (np.rot90(a[:, ::-1] if flip else a, turns) for a in (picture, tile.classes))

    def view(side: int, factor: float) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        used = min(round(side * factor), *picture.shape[:2])
        y, x = (int(rng.integers(0, n - used + 1)) for n in picture.shape[:2])
        part = (slice(y, y + used), slice(x, x + used))
        seen = np.ascontiguousarray(picture[part])
        if used != side:
            seen = np.asarray(Image.fromarray(seen).resize((side, side), Image.Resampling.BILINEAR))
        return seen, _shares(seen, classes[part], stride)

    # a whole core of 0.5 to 1.4 mm in 512 pixels, at 0.5 µm a pixel
    return [[view(_FULL, 1), view(_FULL, 1)], [view(_HALF, 2)], [view(_LOW, float(rng.uniform(2.2, 5.3)))]]


def restained(tile: Tissue, lab: Laboratory, zoom: float) -> Tissue:
    """The tile as another laboratory would have stained it, its pixels `zoom` times as many."""
    side = round(tile.dab.shape[0] * zoom)

    def resized(image: npt.NDArray[Any], how: Image.Resampling) -> npt.NDArray[Any]:
        return np.array(Image.fromarray(image).resize((side, side), how))

    blue, brown = lab.blue / tile.lab.blue, lab.brown / tile.lab.brown
    return Tissue(
        np.float32(blue) * resized(tile.hematoxylin, Image.Resampling.BILINEAR),
        np.float32(brown) * resized(tile.dab, Image.Resampling.BILINEAR),
        resized(tile.classes, Image.Resampling.NEAREST),
        tile.mpp,
        lab=lab,
    )


def _shares(picture: npt.NDArray[np.uint8], classes: npt.NDArray[np.uint8], stride: int) -> npt.NDArray[np.float32]:
    places = picture.shape[0] // stride
    at = np.arange(classes.shape[0]) * places // classes.shape[0]
    place = (at[:, None] * places + at).ravel()
    known = classes.ravel() != IGNORE
    kind = np.where(classes == UNSTAINED, CLASSES, classes).ravel()[known]
    counts = np.bincount(place[known] * _KNOWN + kind, minlength=places * places * _KNOWN)
    counts = counts.reshape(places, places, _KNOWN)
    total = np.bincount(place, minlength=places * places).reshape(places, places, 1)
    return np.moveaxis(counts / total, -1, 0).astype(np.float32)


def fit(
    network: PlaceNetwork,
    generated: Sequence[Path],
    real: Sequence[Path],
    params: FitParams,
    checkpoint: Path,
    *,
    device: str = "cpu",
    report: Callable[[int, float, float], None] | None = None,
) -> list[float]:
    """Fit the network to the tiles of two banks; goes on from `checkpoint` when it is there.

    Parameters
    ----------
    network : PlaceNetwork
        Changed in place.
    generated, real : sequence of Path
        Files of a `TileBank` each; there need be no real ones.
    params : FitParams
    checkpoint : Path
        Written every `SAVE_EVERY` steps.
    device : str
    report : callable, optional
        Called with step, mean loss since the last call, and seconds so far.

    Returns
    -------
    list of float
        Mean loss over each `SAVE_EVERY` steps, nats a place.
    """
    network.to(device)
    if params.frozen:
        network.encoder[: params.frozen].requires_grad_(False)
    groups = [
        {"params": [p for p in network.encoder.parameters() if p.requires_grad], "lr": params.rate / 4},
        {"params": network.head.parameters(), "lr": params.rate},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [params.rate / 4, params.rate], total_steps=params.steps, pct_start=0.1, cycle_momentum=False
    )
    start, history, recent = 0, list[float](), list[float]()
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        schedule.load_state_dict(saved["schedule"])
        start, history = saved["step"], saved["history"]
    network.to(memory_format=torch.channels_last)
    views = StepViews(generated, real, params, stride=16)
    loader = DataLoader(views, batch_size=None, sampler=range(start, params.steps), num_workers=1, prefetch_factor=3)
    clock = time.perf_counter()
    with _children_as_before():
        for step, batches in enumerate(loader, start + 1):
            recent.append(_step(network, batches, optimiser, device))
            schedule.step()
            if step % SAVE_EVERY == 0 or step == params.steps:
                history.append(float(np.mean(recent)))
                recent.clear()
                _save(checkpoint, network, optimiser, schedule, step, history)
                if report is not None:
                    report(step, history[-1], time.perf_counter() - clock)
    return history


@contextmanager
def _children_as_before() -> Iterator[None]:
    """Take back the handler that a DataLoader leaves for the ends of children.

    On CPUs with AMX the handler's frame can be larger than the signal stack that a library has set up, and then the end
    of any later child ends the program.
    """
    number = getattr(signal, "SIGCHLD", None)  # not on Windows
    if number is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(number)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_DFL if before is None else before)


def _step(network: PlaceNetwork, batches: Any, optimiser: torch.optim.Optimizer, device: str) -> float:
    network.eval()  # the ImageNet statistics stay: batches here are few tiles of like tissue
    optimiser.zero_grad(set_to_none=True)
    total = 0.0
    for level, (pixels, target) in enumerate(batches):
        inputs = network.inputs(pixels.to(device)).contiguous(memory_format=torch.channels_last)
        loss: Any = place_loss(network.head_logits(encode(network.encoder, inputs))[:, level], target.to(device))
        loss.backward()
        total += float(loss.detach())
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step()
    return total / len(batches)


def place_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean negative log likelihood of the places; shapes (n, 5, y, x) and (n, 6, y, x) -> ()."""
    likely = functional.log_softmax(logits, dim=1)
    unstained = torch.logsumexp(likely[:, :2], dim=1)
    total = (target[:, :CLASSES] * likely).sum() + (target[:, CLASSES] * unstained).sum()
    return -total / target.sum().clamp(min=1)


def _save(checkpoint: Path, network: Any, optimiser: Any, schedule: Any, step: int, history: list[float]) -> None:
    state = {
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "schedule": schedule.state_dict(),
        "step": step,
        "history": history,
    }
    with writing(checkpoint, overwrite=True) as temporary:
        torch.save(state, temporary)
