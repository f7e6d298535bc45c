"""A model small enough to train on in a test: random weights, and a slide of discs that it can tell apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torchvision.models import DenseNet

from discs import DISC_COLOURS
from napari_her2.cores import Core, CoreGrid
from napari_her2.models import Calibration, ScoringModel
from napari_her2.networks import PlaceNetwork
from napari_her2.pyramid import LevelSpec, PyramidSpec
from napari_her2.training.laboratory import CoreFeatures
from napari_her2.training.save import save_model

NETWORK = {"encoder": "test_efficientnet", "blocks": 2, "levels": 2}
SPEC = PyramidSpec(mpp=1.0, patch=64, levels=(LevelSpec(7, 1.0), LevelSpec(1, 0.0)))


def write_tiny_model(folder: Path) -> ScoringModel:
    torch.manual_seed(0)
    network = PlaceNetwork(**NETWORK)
    calibration = Calibration(level_weights=(1.0, 0.3))
    card = {"intended use": "Tests."}
    return save_model(ScoringModel("tiny", "1", SPEC, calibration, NETWORK, card), network, folder)


def small_densenet(weights: None = None, num_classes: int = 1000) -> DenseNet:
    """Stands in for torchvision's densenet201: the same parts, few and thin."""
    return DenseNet(growth_rate=4, block_config=(1, 1), num_init_features=8, bn_size=2, num_classes=num_classes)


def made_features(
    n: int = 40, *, places: int = 60, channels: int = 96, levels: int = 2, noise: float = 0.5, seed: int = 0
) -> list[CoreFeatures]:
    """Cores whose score shows in the first channels, the stronger the higher; two cores a patient."""
    rng = np.random.default_rng(seed)
    cores = []
    for number in range(n):
        score = number % 4
        hidden = np.abs(rng.normal(0, noise, (2, places, channels)))
        hidden[:, :, :8] += 0.5 * score
        level = np.sort(rng.integers(0, levels, places))
        patient = f"p{number // 8}{number % 4}"
        cores.append(
            CoreFeatures("slide", f"c{number}", score, patient, level, hidden.astype(np.float16), line=number + 2)
        )
    return cores


def many_discs(n: int, *, pitch: int = 110, diameter: int = 96, seed: int = 0) -> tuple[np.ndarray, CoreGrid]:
    """A row-wise grid of n discs of the four scores in turn, uneven in colour; picture and labelled cores."""
    rng = np.random.default_rng(seed)
    columns = 8
    rows = -(-n // columns)
    y, x = np.mgrid[: rows * pitch + 40, : columns * pitch + 40]
    picture = np.full((*y.shape, 3), (236, 236, 242), np.int16)
    cores = []
    for number in range(n):
        row, column = divmod(number, columns)
        cy, cx = 20 + pitch * (row + 0.5), 20 + pitch * (column + 0.5)
        disc = np.hypot(y - cy, x - cx) < diameter / 2
        picture[disc] = DISC_COLOURS[number % 4] + rng.normal(0, 3, 3)
        core = Core(f"{'ABCDEFGH'[row]}-{column + 1}", row, column, cy, cx, diameter)
        label = ("0", "1+", "2+", "3+")[number % 4]
        cores.append(replace(core, reader_score=label, patient_id=f"p{number // 8}{number % 4}"))
    picture = picture + rng.normal(0, 2, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8), CoreGrid(tuple(cores))
