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

__all__ = ["calibrate"]

#: Factors tried, with 1 among them.
_FACTORS = np.geomspace(0.4, 2.5, 21)
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
    to be unlikely. Unless more controls are right then, the default stays: it serves most batches well.

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
    known = ["0", "1+", "2+", "3+"]
    if any(s not in known for s in scores):
        raise StainError(f"The scores of control cores can be {', '.join(known)}.")
    if not all(ring.peak.size for ring in rings):
        raise StainError("A control core without any counted cell tells nothing: leave it out.")
    if all(s == "0" for s in scores):
        raise StainError("All control cores are 0: one that is 1+, 2+ or 3+ is needed to calibrate on.")
    start = start or Thresholds()
    truth = np.array([known.index(s) for s in scores])

    posterior = [
        _likely(rings, truth, start.scaled(float(factor)), rules) - 0.5 * (np.log(factor) / _BATCHES) ** 2
        for factor in _FACTORS
    ]
    factor = float(_FACTORS[int(np.argmax(posterior))])
    if _right(rings, scores, start.scaled(factor), rules) <= _right(rings, scores, start, rules):
        return start, f"The thresholds stay: others put no more of the {len(scores)} control cores right."
    return start.scaled(factor), f"Thresholds times {factor:.2f}, by {len(scores)} control cores."


def _likely(rings: Sequence[Rings], truth: npt.NDArray[np.intp], thresholds: Thresholds, rules: RuleSet) -> float:
    """Log likelihood of the known scores."""
    total = 0.0
    for ring, known in zip(rings, truth, strict=True):
        above = expit(rules.margins(classify(ring, thresholds.for_rules(rules)).counts))
        likely = np.append(1.0, above)[known] - np.append(above, 0.0)[known]
        total += float(np.log(max(likely, _SLIP)))
    return total


def _right(rings: Sequence[Rings], scores: Sequence[str], thresholds: Thresholds, rules: RuleSet) -> int:
    said = [rules.score(classify(ring, thresholds.for_rules(rules)).counts)[0] for ring in rings]
    return sum(a == b for a, b in zip(said, scores, strict=True))
