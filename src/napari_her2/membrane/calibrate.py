"""calibrate: thresholds of a batch from its own control cores of known score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from napari_her2.errors import StainError
from napari_her2.membrane.classes import Thresholds, classify
from napari_her2.membrane.rings import Rings
from napari_her2.membrane.rules import BREAST, RuleSet
from napari_her2.scores import SCORES

__all__ = ["calibrate"]

#: Factors tried.
_FACTORS = np.geomspace(0.25, 4, 25)
#: How far batches are from the default, as the standard deviation of the factor's logarithm.
_BATCHES = 0.5
#: Likelihood of a control that contradicts the measurement wholly: it may be a reader's slip.
_SLIP = 1e-3


def calibrate(
    rings: Sequence[Rings], scores: Sequence[str], start: Thresholds | None = None, rules: RuleSet = BREAST
) -> tuple[Thresholds, str]:
    """One factor on the three densities, the likeliest one given the known scores of control cores.

    One factor and no more: a handful of cores cannot tell three thresholds apart. That a control is at least 1+, 2+ or
    3+ is the likelier, the more cells are: as likely as not where the rule asks for just so many. Far factors are held
    to be unlikely. Unless that puts more controls right, the default stays: it serves most batches well.

    Parameters
    ----------
    rings : sequence of Rings
        Of the counted cells of each control core (`Measurement.rings`).
    scores : sequence of str
        "0", "1+", "2+" or "3+" of each.
    start : Thresholds, optional
    rules : RuleSet

    Returns
    -------
    thresholds : Thresholds
    sentence : str
        What was found.

    Raises
    ------
    StainError
        If there is no control, a score is unknown, or all are 0 (nothing then tells how strong staining looks).
    """
    if not rings or len(rings) != len(scores):
        raise StainError("Calibration needs control cores, each with its known score.")
    if any(score not in SCORES for score in scores):
        raise StainError(f"The scores of control cores can be {', '.join(SCORES)}.")
    if not all(ring.peak.size for ring in rings):
        raise StainError("A control core without any counted cell tells nothing: leave it out.")
    if all(s == "0" for s in scores):
        raise StainError("All control cores are 0: one that is 1+, 2+ or 3+ is needed to calibrate on.")
    start = start or Thresholds()
    truth = np.array([SCORES.index(score) for score in scores])

    served = [_served(rings, truth, start.scaled(float(factor)), rules) for factor in _FACTORS]
    prior = -0.5 * (np.log(_FACTORS) / _BATCHES) ** 2
    best = int(np.argmax([likely for likely, _ in served] + prior))
    if served[best][1] <= _served(rings, truth, start, rules)[1]:
        return start, f"The thresholds stay: others put no more of the {len(scores)} control cores right."
    factor = float(_FACTORS[best])
    return start.scaled(factor), f"Thresholds times {factor:.2f}, by {len(scores)} control cores."


def _served(
    rings: Sequence[Rings], truth: npt.NDArray[np.intp], thresholds: Thresholds, rules: RuleSet
) -> tuple[float, int]:
    """Log likelihood of the known scores, and how many are measured so."""
    total, right = 0.0, 0
    for ring, known in zip(rings, truth, strict=True):
        counts = classify(ring, thresholds.for_rules(rules)).counts
        above = expit(rules.margins(counts))
        likely = np.append(1.0, above)[known] - np.append(above, 0.0)[known]
        total += float(np.log(max(likely, _SLIP)))
        right += rules.score(counts)[0] == SCORES[known]
    return total, right
