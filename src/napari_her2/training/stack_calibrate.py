"""From a fitted stacked network to one that knows how sure it is, and what it has seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import optimize

from napari_her2.familiar import LOOKS, core_look, fit_familiar
from napari_her2.models import Calibration
from napari_her2.networks import StackedNetwork
from napari_her2.pyramid import PyramidSpec
from napari_her2.training.calibrate import COVERAGE, JudgedCore, fit_cuts
from napari_her2.training.stacked import stack_probabilities
from napari_her2.training.stacks import StackBank

__all__ = ["calibrate_stacked", "familiar_stacks"]


def calibrate_stacked(network: StackedNetwork, held: StackBank, coverage: float = COVERAGE) -> Calibration:
    """Fold the temperature that makes the network's probabilities likeliest into its last layer.

    Parameters
    ----------
    network : StackedNetwork
        Changed in place.
    held : StackBank
        Cores that were not learned from.
    coverage : float
        Share of them that is to be called determinate.

    Returns
    -------
    Calibration
        With slope and cut points on the expected score, which count once a batch is calibrated on control cores; and
        the confidence that the share asked for exceeds.
    """
    logs = np.log(np.maximum(stack_probabilities(network, held), 1e-12))

    def loss(log_scale: float) -> float:
        scaled = logs * np.exp(log_scale)
        return float(np.mean(np.logaddexp.reduce(scaled, axis=1) - scaled[np.arange(len(held)), held.scores]))

    found: Any = optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded")
    with torch.no_grad():
        network.net.classifier.weight.mul_(float(np.exp(found.x)))
        network.net.classifier.bias.mul_(float(np.exp(found.x)))
    likely = stack_probabilities(network, held)
    one, none = np.ones(1, np.float32), np.zeros(1, np.intp)
    cores = [
        JudgedCore(str(k), int(score), np.float32(p @ np.arange(4)) * one, one, none)
        for k, (score, p) in enumerate(zip(held.scores, likely, strict=True))
    ]
    fitted = fit_cuts(cores, Calibration(level_weights=(1.0,)))[0]
    confident = float(np.quantile(likely.max(axis=1), 1 - coverage))
    return Calibration(slope=fitted.slope, cuts=fitted.cuts, indeterminate_below=round(confident, 4))


def familiar_stacks(bank: StackBank, spec: PyramidSpec) -> dict[str, Any]:
    """What the cores of a bank look like, see `familiar.fit_familiar`; empty where they are too few to tell."""
    looks = [core_look(bank.stack(k)[: spec.levels[0].count]) for k in range(len(bank))]
    known = [look for look in looks if np.isfinite(look).all()]
    return fit_familiar(known) if len(known) >= 2 * len(LOOKS) else {}
