"""From judged places to scores: the few numbers of a `Calibration`, fitted to cores of known score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize

from napari_her2.models import Calibration
from napari_her2.scoring import place_weights, score_probabilities

__all__ = ["JudgedCore", "calibrate", "expected_values"]


@dataclass(frozen=True)
class JudgedCore:
    """A core of known score and what the network said of its places.

    Attributes
    ----------
    name : str
    score : int
        0 to 3.
    grade, tumour : ndarray of float32, shape (n,)
    level : ndarray of int, shape (n,)
    weight : float
        How much the core counts in the fit.
    """

    name: str
    score: int
    grade: npt.NDArray[np.float32]
    tumour: npt.NDArray[np.float32]
    level: npt.NDArray[np.intp]
    weight: float = 1.0


def expected_values(cores: Sequence[JudgedCore], calibration: Calibration) -> npt.NDArray[np.float64]:
    """Value S of each core; shape (len(cores),)."""
    return np.array([place_weights(c.grade, c.tumour, c.level, calibration) @ c.grade for c in cores])


def calibrate(cores: Sequence[JudgedCore], start: Calibration | None = None, *, levels: int = 3) -> Calibration:
    """Fit emphasis, sharpness, level weights, slope and cut points by maximum likelihood of the ordered scores.

    A weak pull toward `start` keeps the numbers sensible when the cores are few.

    Parameters
    ----------
    cores : sequence of JudgedCore
    start : Calibration, optional
    levels : int
        Number of magnifications.

    Raises
    ------
    ValueError
        If a score from 0 to 3 has no core.
    """
    if {c.score for c in cores} != {0, 1, 2, 3}:
        raise ValueError("calibration needs at least one core of each score, 0 to 3")
    start = start or Calibration(level_weights=(1.0, 0.3, 0.1)[:levels])
    weight = np.array([c.weight for c in cores])
    truth = np.array([c.score for c in cores])

    def loss(numbers: npt.NDArray[np.float64]) -> float:
        guess = _calibration(numbers, start)
        likely = [score_probabilities(v, guess)[t] for v, t in zip(expected_values(cores, guess), truth, strict=True)]
        pull = 0.02 * float(np.sum((numbers - first) ** 2))
        return float(-(weight * np.log(np.maximum(likely, 1e-9))).sum() / weight.sum()) + pull

    first = _numbers(start)
    found: Any = optimize.minimize(loss, first, method="Nelder-Mead", options={"maxiter": 1200, "adaptive": True})
    return _calibration(found.x, start)


def _numbers(calibration: Calibration) -> npt.NDArray[np.float64]:
    """Free numbers: logs of what must be positive, the first cut and the logs of the steps between cuts."""
    cuts = np.asarray(calibration.cuts)
    rest = np.log(np.asarray(calibration.level_weights[1:]) / calibration.level_weights[0])
    scale = [np.log(calibration.emphasis), np.log(calibration.sharpness), np.log(calibration.slope)]
    return np.array([*scale, cuts[0], *np.log(np.diff(cuts)), *rest])


def _calibration(numbers: npt.NDArray[np.float64], base: Calibration) -> Calibration:
    emphasis, sharpness, slope = np.exp(np.clip(numbers[:3], -3, 3))
    cuts = numbers[3] + np.concatenate([[0.0], np.cumsum(np.exp(np.clip(numbers[4:6], -4, 2)))])
    return replace(
        base,
        emphasis=float(emphasis),
        sharpness=float(sharpness),
        slope=float(slope),
        cuts=(float(cuts[0]), float(cuts[1]), float(cuts[2])),
        level_weights=(1.0, *(float(w) for w in np.exp(np.clip(numbers[6:], -4, 1)))),
    )
