"""Slope and cut points, from the value of a core to its score: as numbers that can be fitted, and fitted to values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from napari_her2.models import Calibration
from napari_her2.pooling import score_probabilities
from napari_her2.training.calibrate import JudgedCore, cut_numbers, fit_cuts
from napari_her2.training.lab_features import CoreFeatures

__all__ = ["calibrated", "likeliest_slope", "log_likelihood", "slope_and_cuts"]


def slope_and_cuts(calibration: Calibration, moved: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Slope, shape (), and the three cut points, when their `cut_numbers` are moved; kept from running away."""
    numbers = torch.from_numpy(cut_numbers(calibration)).float() + moved
    steps = torch.exp(numbers[2:].clamp(-4, 2))
    return torch.exp(numbers[0].clamp(-2, 4)), numbers[1] + torch.cat([torch.zeros(1), steps.cumsum(0)])


def log_likelihood(
    values: torch.Tensor, score: torch.Tensor, calibration: Calibration, moved: torch.Tensor
) -> torch.Tensor:
    """Log of the probability of the known score; shapes (cores,)."""
    slope, cuts = slope_and_cuts(calibration, moved)
    logits = slope * (values[:, None] - cuts)
    edge = torch.full((len(values), 1), 1e4)
    upper = torch.cat([edge, logits], 1).gather(1, score[:, None])[:, 0]
    lower = torch.cat([logits, -edge], 1).gather(1, score[:, None])[:, 0]
    # log(sigmoid(upper) - sigmoid(lower)) without cancellation
    apart = torch.log(-torch.expm1((lower - upper).clamp(-80, -1e-6)))
    return functional.logsigmoid(upper) + functional.logsigmoid(-lower) + apart


def likeliest_slope(values: npt.NDArray[np.float64], scores: Sequence[int], calibration: Calibration) -> float:
    """The likeliest slope for cores held out, drawn to the one that there is as if by four cores."""
    score, at = torch.tensor(scores), torch.from_numpy(values).float()
    factors = np.exp(np.linspace(-1.5, 0.7, 45))
    losses = []
    for factor in factors:
        moved = torch.tensor([float(np.log(factor)), 0.0, 0.0, 0.0])
        likely = float(log_likelihood(at, score, calibration, moved).sum())
        losses.append(-likely + 2.0 * float(np.log(factor)) ** 2)
    return calibration.slope * float(factors[int(np.argmin(losses))])


def calibrated(
    values: npt.NDArray[np.float64], cores: Sequence[CoreFeatures], start: Calibration, coverage: float
) -> Calibration:
    """Slope and cut points fitted to values of cores, and the least confidence for a coverage; shape (n,) of values."""
    none, one = np.zeros(1, np.intp), np.ones(1, np.float32)
    # a core of one place has the grade of that place as its value, whichever magnification has a say; haze is off it
    judged = [
        JudgedCore(c.name, c.score, np.array([v], np.float32), one, none, 1.0)
        for c, v in zip(cores, values, strict=True)
    ]
    fitted = fit_cuts(judged, replace(start, level_weights=(1.0,), haze=0.0))[0]
    confidence = [score_probabilities(float(v), fitted).max() for v in values]
    least = float(np.quantile(confidence, 1 - coverage))
    return replace(start, slope=fitted.slope, cuts=fitted.cuts, indeterminate_below=least)
