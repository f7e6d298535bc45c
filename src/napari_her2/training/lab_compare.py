"""A laboratory's head against the model it comes from, on the same cores, each scored without having been seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from napari_her2.agreement import Figure, confusion, kappa
from napari_her2.evaluate import EvaluatedCore, Evaluation, evaluate
from napari_her2.intervals import bootstrap
from napari_her2.models import Calibration, ScoringModel
from napari_her2.pooling import score_probabilities
from napari_her2.recalibrate import own_cuts, refit_cuts
from napari_her2.scores import SCORES
from napari_her2.training.lab_features import CoreFeatures
from napari_her2.training.lab_folds import folds_by_patient
from napari_her2.training.lab_head import Head, LabParams, base_head, core_values, fit_head

__all__ = ["Comparison", "compare_judged", "compare_on", "cross_validate"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """How well three judges agree with the known scores of the same cores.

    Attributes
    ----------
    new : Evaluation
        The laboratory's head; no core was seen by the head that scored it.
    recalibrated : Evaluation
        The current model with cut points refitted on the same cores that the head learned from.
    current : Evaluation
        The current model as it is.
    values : ndarray of float64, shape (cores,)
        Value of each core from a head that had not seen it, in the order in which the cores were given.
    gains : dict of str to Figure
        "accuracy" and "quadratic_kappa": new less recalibrated, over the same draws of patients.
    folds : int
        Heads that were fitted to measure this; 0 where cores of patients kept apart were scored.
    name : str
        What `new` is of, as a user reads it.
    """

    new: Evaluation
    recalibrated: Evaluation
    current: Evaluation
    values: Floats
    gains: dict[str, Figure]
    folds: int
    name: str = "trained head"

    @property
    def judges(self) -> dict[str, Evaluation]:
        """The three by the names that a user reads."""
        return {
            self.name: self.new,
            "current model, recalibrated": self.recalibrated,
            "current model": self.current,
        }

    @property
    def better(self) -> bool:
        """Whether the gain in quadratic kappa over recalibrating is more than chance would give."""
        return self.gains["quadratic_kappa"].low > 0

    @property
    def sentence(self) -> str:
        """What the comparison says, and how surely."""
        n, people = len(self.new.scored), self.new.patients
        gain = self.gains["quadratic_kappa"]
        kappas = ", ".join(f"{name} {e.figures['quadratic_kappa'].value:.2f}" for name, e in self.judges.items())
        interval = f"{gain.low:+.2f} to {gain.high:+.2f}" if np.isfinite(gain.low) else "no interval"
        if self.better:
            verdict = f"The {self.name} is better than recalibrating."
        elif gain.high < 0:
            verdict = f"The {self.name} is worse than recalibrating: recalibrate instead."
        else:
            verdict = f"That does not show the {self.name} to be better than recalibrating: more labels would tell."
        return (
            f"Quadratic kappa on {n} cores of {people} patients not learned from: {kappas}. "
            f"Gain over recalibrating {gain.value:+.2f} (95 % interval {interval}). {verdict}"
        )


def cross_validate(
    cores: Sequence[CoreFeatures],
    base: ScoringModel,
    params: LabParams | None = None,
    *,
    start: ScoringModel | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Comparison:
    """Score every core by a head fitted on other patients, and compare with the current model on the same cores.

    Parameters
    ----------
    cores : sequence of CoreFeatures
    base : ScoringModel
        The current model, with the cut points of a batch where it has them.
    params : LabParams, optional
    start : ScoringModel, optional
        What the heads start from, where it is not the current model but one magnification of it.
    progress : callable
        Called with the number of folds that are done, and of all.

    Raises
    ------
    CoresError
        If there are fewer patients than folds.
    """
    params = params or LabParams()
    names = [str(k) for k in range(params.folds)]
    parts = np.array(folds_by_patient(cores, dict.fromkeys(names, 1.0), params.seed))
    values, likely, other = np.full(len(cores), np.nan), np.zeros((len(cores), 4)), np.zeros((len(cores), 4))
    before = core_values(cores, base_head(base), base.calibration)
    truth = np.array([core.score for core in cores])
    progress(0, params.folds)
    for done, name in enumerate(names, 1):
        own, rest = np.nonzero(parts == name)[0], np.nonzero(parts != name)[0]
        head, calibration, _ = fit_head([cores[int(k)] for k in rest], start or base, params)
        values[own] = core_values([cores[int(k)] for k in own], head, calibration)
        likely[own] = _probabilities(values[own], calibration)
        other[own] = _probabilities(before[own], _recalibrated(before[rest], truth[rest], base))
        progress(done, params.folds)
    least = float(np.quantile(likely.max(axis=1), 1 - params.coverage))
    new = _evaluation(cores, values, likely, least, params)
    return _comparison(cores, base, new, before, other, values, params, params.folds)


def compare_on(
    cores: Sequence[CoreFeatures],
    learned: Sequence[CoreFeatures],
    base: ScoringModel,
    head: Head,
    calibration: Calibration,
    params: LabParams | None = None,
) -> Comparison:
    """The same on cores kept apart, of a head fitted to the cores `learned`, whose scores also refit the cut points.

    Raises
    ------
    CoresError
        If there is no core.
    """
    values = core_values(cores, head, calibration) if cores else np.empty(0)
    likely = _probabilities(values, calibration)
    return compare_judged(cores, learned, base, values, likely, calibration.indeterminate_below, params)


def compare_judged(
    cores: Sequence[CoreFeatures],
    learned: Sequence[CoreFeatures],
    base: ScoringModel,
    values: Floats,
    likely: Floats,
    least: float,
    params: LabParams | None = None,
    *,
    name: str = "trained head",
) -> Comparison:
    """The same of any judge that has said what it thinks of the cores kept apart.

    Parameters
    ----------
    cores, learned : sequence of CoreFeatures
        Kept apart, and those whose scores refit the cut points of `base`.
    base : ScoringModel
        The current model.
    values : ndarray of float64, shape (len(cores),)
    likely : ndarray of float64, shape (len(cores), 4)
        Probability of each score.
    least : float
        Confidence under which the judge calls a core indeterminate.
    params : LabParams, optional
    name : str
        What the judge is.

    Raises
    ------
    CoresError
        If there is no core.
    """
    params = params or LabParams()
    new = _evaluation(cores, values, likely, least, params)
    start = base_head(base)
    before, of_learned = (core_values(some, start, base.calibration) for some in (cores, learned))
    cuts = _recalibrated(of_learned, np.array([core.score for core in learned]), base)
    found = _comparison(cores, base, new, before, _probabilities(before, cuts), values, params, 0)
    return replace(found, name=name)


def _comparison(
    cores: Sequence[CoreFeatures],
    base: ScoringModel,
    new: Evaluation,
    before: Floats,
    recalibrated: Floats,
    values: Floats,
    params: LabParams,
    folds: int,
) -> Comparison:
    least = base.calibration.indeterminate_below
    other = _evaluation(cores, before, recalibrated, least, params)
    current = _evaluation(cores, before, _probabilities(before, base.calibration), least, params)
    return Comparison(new, other, current, values, _gains(new, other, params), folds)


def _recalibrated(values: Floats, scores: npt.NDArray[np.int_], base: ScoringModel) -> Calibration:
    own = own_cuts(base).calibration
    return replace(own, cuts=refit_cuts(values, scores, own))


def _probabilities(values: Floats, calibration: Calibration) -> Floats:
    return np.array([score_probabilities(float(v), calibration) for v in values]).reshape(-1, 4)


def _evaluation(
    cores: Sequence[CoreFeatures], values: Floats, likely: Floats, least: float, params: LabParams
) -> Evaluation:
    said = [
        EvaluatedCore(
            line=core.line or k,
            image=core.image,
            core=core.name,
            patient=core.patient,
            truth=core.score,
            score=SCORES[int(p.argmax())],
            probabilities=(float(p[0]), float(p[1]), float(p[2]), float(p[3])),
            value=float(value),
            indeterminate=bool(p.max() < least),
            y=core.y,
            x=core.x,
            diameter=core.diameter,
        )
        for k, (core, value, p) in enumerate(zip(cores, values, likely, strict=True), 1)
    ]
    return evaluate(said, coverage=params.coverage, draws=params.draws, seed=params.seed)


def _gains(new: Evaluation, other: Evaluation, params: LabParams) -> dict[str, Figure]:
    truth = np.array([core.truth for core in new.cores])
    said = [np.array([SCORES.index(core.score) for core in e.cores]) for e in (new, other)]

    def measure(chosen: npt.NDArray[np.intp]) -> Floats:
        right = [float((s[chosen] == truth[chosen]).mean()) for s in said]
        agree = [kappa(confusion(truth[chosen], s[chosen])) for s in said]
        return np.array([right[0] - right[1], agree[0] - agree[1]])

    patients = [core.patient for core in new.cores]
    low, high = bootstrap(measure, patients, params.draws, params.seed)
    values = measure(np.arange(len(truth)))
    names = ("accuracy", "quadratic_kappa")
    return {name: Figure(float(values[k]), len(truth), float(low[k]), float(high[k])) for k, name in enumerate(names)}
