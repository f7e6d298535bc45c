"""calibrate: thresholds of a batch from its own control cores of known score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_her2.errors import StainError
from napari_her2.membrane.classes import Thresholds, classify
from napari_her2.membrane.rings import Rings
from napari_her2.membrane.rules import BREAST, RuleSet

__all__ = ["calibrate"]

#: Factors tried: half to twice the densities of the default.
_FACTORS = np.geomspace(0.5, 2.0, 25)


def calibrate(
    rings: Sequence[Rings], scores: Sequence[str], start: Thresholds | None = None, rules: RuleSet = BREAST
) -> tuple[Thresholds, str]:
    """One factor on the three densities, so that control cores get the score they are known to have.

    One factor and no more: a handful of cores cannot tell three thresholds apart. Of factors that serve the controls
    equally well the middle one is taken, and with no reason to leave the default it stays.

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
        What was found, with how many controls agree before and after.

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

    def off(factor: float) -> float:
        found = []
        for ring in rings:
            cells = classify(ring, start.scaled(factor).for_rules(rules))
            found.append(known.index(rules.score(cells.counts)[0]))
        return float(((np.array(found) - truth) ** 2).sum())

    errors = np.array([off(f) for f in _FACTORS])
    best = np.flatnonzero(errors == errors.min())
    before = off(1.0)
    if before <= errors.min():
        return start, f"The thresholds stay: {len(scores)} control cores are served no better by others."
    factor = float(np.exp(np.log(_FACTORS[best]).mean()))
    if off(factor) > errors.min():  # the best factors are no single stretch
        factor = float(_FACTORS[best[np.abs(np.log(_FACTORS[best])).argmin()]])
    text = f"Thresholds times {factor:.2f}: squared error over {len(scores)} control cores {before:g} before, "
    return start.scaled(factor), text + f"{off(factor):g} after."
