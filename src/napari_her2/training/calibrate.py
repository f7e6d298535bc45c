"""From judged places to scores: the few numbers of a `Calibration`, fitted to cores of known score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize

from napari_her2.models import Calibration
from napari_her2.pooling import Pooling, score_probabilities

__all__ = ["COVERAGE", "JudgedCore", "calibrate", "cut_numbers", "expected_values", "fit_cuts", "probabilities"]

#: Share of the cores calibrated on that is called determinate.
COVERAGE = 0.85


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
    return np.array([_value(core, calibration) for core in cores])


def _value(core: JudgedCore, calibration: Calibration) -> float:
    pooling = Pooling(core.grade, core.tumour, core.level, calibration)
    return float(pooling.weight @ pooling.grade)


def probabilities(cores: Sequence[JudgedCore], calibration: Calibration) -> npt.NDArray[np.float64]:
    """Probability of each score for each core; shape (len(cores), 4)."""
    values = expected_values(cores, calibration)
    return np.array([score_probabilities(float(v), calibration) for v in values]).reshape(-1, 4)


def calibrate(
    cores: Sequence[JudgedCore], start: Calibration | None = None, *, levels: int = 3, coverage: float = COVERAGE
) -> Calibration:
    """Fit a `Calibration` by maximum likelihood of the ordered scores; reach and least tumour are left as they are.

    The rule says a tenth, and a few dozen cores tell it no better: fitted freely, `reach` came out at 0.1 to 0.25.

    How the places are pooled is searched step by step; slope and cut points are fitted anew for each way of pooling. A
    weak pull toward `start` keeps the numbers sensible when the cores are few.

    Parameters
    ----------
    cores : sequence of JudgedCore
    start : Calibration, optional
    levels : int
        Number of magnifications.
    coverage : float
        Share of the cores whose confidence is to lie above `indeterminate_below`.

    Raises
    ------
    ValueError
        If a score from 0 to 3 has no core.
    """
    if {c.score for c in cores} != {0, 1, 2, 3}:
        raise ValueError("calibration needs at least one core of each score, 0 to 3")
    start = start or Calibration(level_weights=(1.0, 0.3, 0.1)[:levels], haze=0.5)
    sorted_cores = [_sorted(c) for c in cores]
    first = _pooling_numbers(start)

    def loss(numbers: npt.NDArray[np.float64]) -> float:
        guess = _pooling(numbers, start)
        return fit_cuts(sorted_cores, guess)[1] + 0.01 * float(np.sum((numbers - first) ** 2))

    # steps of their own: the method's are a share of the number, and the log of 1 is 0
    simplex = np.vstack([first, first + np.diag(np.where(np.arange(len(first)) == 2, 0.3, 0.7))])
    options = {"maxiter": 80 + 40 * levels, "xatol": 0.02, "fatol": 1e-4, "initial_simplex": simplex}
    found: Any = optimize.minimize(loss, first, method="Nelder-Mead", options=options)
    best = fit_cuts(sorted_cores, _pooling(found.x, start))[0]
    confidence = probabilities(sorted_cores, best).max(axis=1)
    return replace(best, indeterminate_below=float(np.quantile(confidence, 1 - coverage)))


def fit_cuts(cores: Sequence[JudgedCore], calibration: Calibration) -> tuple[Calibration, float]:
    """Fit slope and cut points alone, and return them with their mean negative log likelihood (with a weak pull)."""
    values = expected_values(cores, calibration)
    weight, truth = np.array([c.weight for c in cores]), np.array([c.score for c in cores])
    first = cut_numbers(calibration)
    every, top = np.arange(len(truth)), np.array([np.inf])

    def loss(numbers: npt.NDArray[np.float64]) -> float:
        guess = _with_cuts(numbers, calibration)
        bounds = np.concatenate([-top, guess.cuts, top])
        above = 1 / (1 + np.exp(-np.clip(guess.slope * (values[:, None] - bounds), -500, 500)))
        likely = above[every, truth] - above[every, truth + 1]
        fit = -(weight * np.log(np.maximum(likely, 1e-9))).sum() / weight.sum()
        return float(fit + 0.003 * np.sum((numbers - first) ** 2))

    found: Any = optimize.minimize(loss, first, method="L-BFGS-B")
    return _with_cuts(found.x, calibration), float(found.fun)


def _sorted(core: JudgedCore) -> JudgedCore:
    """The same core with its places in order of grade: sorting what is sorted is quick."""
    order = np.argsort(-core.grade, kind="stable")
    return replace(core, grade=core.grade[order], tumour=core.tumour[order], level=core.level[order])


def cut_numbers(calibration: Calibration) -> npt.NDArray[np.float64]:
    """Log of the slope, the first cut point, and the logs of the steps between cut points; shape (4,)."""
    cuts = np.asarray(calibration.cuts)
    return np.array([np.log(calibration.slope), cuts[0], *np.log(np.diff(cuts))])


def _with_cuts(numbers: npt.NDArray[np.float64], base: Calibration) -> Calibration:
    cuts = numbers[1] + np.concatenate([[0.0], np.cumsum(np.exp(np.clip(numbers[2:], -4, 2)))])
    slope = float(np.exp(np.clip(numbers[0], -2, 4)))
    return replace(base, slope=slope, cuts=(float(cuts[0]), float(cuts[1]), float(cuts[2])))


def _pooling_numbers(calibration: Calibration) -> npt.NDArray[np.float64]:
    """How the places are pooled: haze, and the logs of the rest; the first magnification's weight is 1."""
    rest = np.log(np.asarray(calibration.level_weights[1:]) / calibration.level_weights[0])
    return np.array([*np.log([calibration.width, calibration.sharpness]), calibration.haze, *rest])


def _pooling(numbers: npt.NDArray[np.float64], base: Calibration) -> Calibration:
    width, sharpness = np.exp(np.clip(numbers[:2], [-2.3, -1.5], [0.0, 2.3]))
    return replace(
        base,
        width=float(width),
        sharpness=float(sharpness),
        haze=float(np.clip(numbers[2], 0, 1)),
        level_weights=(1.0, *(float(w) for w in np.exp(np.clip(numbers[3:], -5, 1)))),
    )
