"""Fitting the network to tiles: every step is drawn from its own number, so that a killed run goes on as it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from napari_her2.files import writing
from napari_her2.networks import CLASSES, PlaceNetwork
from napari_her2.stain import divide_white
from napari_her2.training.bank import read_tile
from napari_her2.training.render import Scanner, render
from napari_her2.training.tissue import IGNORE

__all__ = ["FitParams", "fit"]

#: Steps between checkpoints.
SAVE_EVERY = 50

Views = list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]]


@dataclass(frozen=True)
class FitParams:
    """How the network is fitted.

    Attributes
    ----------
    steps : int
        Optimiser steps.
    tiles : int
        Tiles a step.
    crop : int
        Side in pixels of the full-resolution view of a tile; the half-resolution view shows 1.25 times as much
        tissue, the whole-core view the whole tile.
    rate : float
        Peak learning rate of the head; the encoder, which starts from ImageNet, takes a quarter.
    frozen : int
        Blocks of the encoder, from the input on, that keep their ImageNet weights: half the time of a step.
    seed : int
    """

    steps: int = 450
    tiles: int = 4
    crop: int = 256
    frozen: int = 2
    rate: float = 2e-3
    seed: int = 0


class StepViews(Dataset[list[tuple[torch.Tensor, torch.Tensor]]]):
    """The pictures and truths of each step, one batch for each magnification."""

    def __init__(self, paths: Sequence[Path], params: FitParams, stride: int) -> None:
        self.paths, self.params, self.stride = list(paths), params, stride

    def __len__(self) -> int:
        return self.params.steps

    def __getitem__(self, step: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        rng = np.random.default_rng((self.params.seed, step))
        chosen = rng.choice(len(self.paths), self.params.tiles, replace=len(self.paths) < self.params.tiles)
        low = float(rng.uniform(3.2, 5.6))  # a whole core of 0.6 to 1.4 mm in 512 pixels, at 0.5 µm a pixel
        tiles = [tile_views(self.paths[i], rng, self.params.crop, self.stride, low) for i in chosen]
        return [
            (torch.from_numpy(np.stack([t[k][0] for t in tiles])), torch.from_numpy(np.stack([t[k][1] for t in tiles])))
            for k in range(3)
        ]


def tile_views(path: Path, rng: np.random.Generator, crop: int, stride: int, low: float) -> Views:
    """One tile, coloured by a random scanner, seen at full, half and whole-core resolution.

    Returns
    -------
    list of 3 (picture, target)
        Pictures uint8 (y, x, 3); targets float32 (5, y / stride, x / stride): the share of each class at each place,
        not summing to 1 where a part of the place is unknown.
    """
    tile = read_tile(path)
    scanner = Scanner.random(rng)
    white = np.clip(np.array(scanner.white) * rng.normal(1, 0.008, 3), 150, 255)
    picture = divide_white(render(tile, scanner, rng), white)
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    picture, classes = (np.rot90(a[:, ::-1] if flip else a, turns).copy() for a in (picture, tile.classes))

    def part(side: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        y, x = rng.integers(0, picture.shape[0] - side + 1, 2)
        return picture[y : y + side, x : x + side], classes[y : y + side, x : x + side]

    wide = min(picture.shape[0], crop * 5 // 4)
    pairs = [part(crop), _smaller(*part(wide), 2.0, stride), _smaller(picture, classes, low, stride)]
    return [(np.ascontiguousarray(p), shares) for p, shares in ((p, _shares(p, c, stride)) for p, c in pairs)]


def _smaller(
    picture: npt.NDArray[np.uint8], classes: npt.NDArray[np.uint8], factor: float, stride: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The picture at a lower resolution, cut to whole places; its truth stays as fine as it was."""
    from PIL import Image

    side = int(picture.shape[0] / factor) // stride * stride
    used = round(side * factor)
    image = Image.fromarray(picture[:used, :used]).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(image), classes[:used, :used]


def _shares(picture: npt.NDArray[np.uint8], classes: npt.NDArray[np.uint8], stride: int) -> npt.NDArray[np.float32]:
    places = picture.shape[0] // stride
    at = np.arange(classes.shape[0]) * places // classes.shape[0]
    place = (at[:, None] * places + at).ravel()
    known = classes.ravel() != IGNORE
    pair = place[known] * CLASSES + classes.ravel()[known]
    counts = np.bincount(pair, minlength=places * places * CLASSES).reshape(places, places, CLASSES)
    total = np.bincount(place, minlength=places * places).reshape(places, places, 1)
    return np.moveaxis(counts / total, -1, 0).astype(np.float32)


def fit(
    network: PlaceNetwork,
    paths: Sequence[Path],
    params: FitParams,
    checkpoint: Path,
    *,
    device: str = "cpu",
    report: Callable[[int, float, float], None] | None = None,
) -> list[float]:
    """Fit the network to the tiles of a bank; goes on from `checkpoint` when it is there.

    Parameters
    ----------
    network : PlaceNetwork
        Changed in place.
    paths : sequence of Path
        Files of a `TileBank`.
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
    for module in (network.encoder.conv_stem, network.encoder.bn1, *network.encoder.blocks[: params.frozen]):
        module.requires_grad_(False)
    encoder = [p for p in network.encoder.parameters() if p.requires_grad]
    groups = [{"params": encoder, "lr": params.rate / 4}, {"params": network.head.parameters(), "lr": params.rate}]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [params.rate / 4, params.rate], total_steps=params.steps, pct_start=0.15, cycle_momentum=False
    )
    start, history, recent = 0, list[float](), list[float]()
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        schedule.load_state_dict(saved["schedule"])
        start, history = saved["step"], saved["history"]
    views = StepViews(paths, params, stride=16)
    loader = DataLoader(views, batch_size=None, sampler=range(start, params.steps), num_workers=1, prefetch_factor=3)
    clock = time.perf_counter()
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


def _step(network: PlaceNetwork, batches: Any, optimiser: torch.optim.Optimizer, device: str) -> float:
    network.train()
    for module in network.modules():  # the ImageNet statistics stay: batches here are few tiles of like tissue
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    optimiser.zero_grad(set_to_none=True)
    total = 0.0
    for level, (pixels, target) in enumerate(batches):
        logits = network.logits(pixels.to(device))[:, level]
        target = target.to(device)
        loss = -(target * functional.log_softmax(logits, dim=1)).sum() / target.sum().clamp(min=1)
        loss.backward()
        total += float(loss.detach())
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step()
    return total / len(batches)


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
