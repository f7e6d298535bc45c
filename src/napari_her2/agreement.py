"""How well scores agree with what readers said: kappa, sensitivity, calibration, coverage.

Scores are integers from 0 to 3. Tables have the truth in rows and what was said in columns.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_her2.intervals import all_or_none, bootstrap, numbered
from napari_her2.scores import SCORES

__all__ = [
    "FIGURES",
    "CoveragePoint",
    "Figure",
    "ReliabilityBin",
    "balanced_accuracy",
    "brier_score",
    "confusion",
    "consensus",
    "coverage_curve",
    "expected_calibration_error",
    "figures",
    "grouped_agreement",
    "kappa",
    "off_by",
    "predictive_values",
    "reliability",
    "sensitivities",
]

Ints = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]
Weights = Literal["quadratic", "linear", "none"]

_N = len(SCORES)
_NAN = float("nan")


def confusion(truth: npt.ArrayLike, said: npt.ArrayLike) -> Ints:
    """Count how often each score was given for each true score.

    Parameters
    ----------
    truth, said : array-like of int, shape (n,)
        0 to 3.

    Returns
    -------
    ndarray of int, shape (4, 4)
        Rows: truth; columns: said.

    Raises
    ------
    ValueError
        If the lengths differ or a score is none of 0 to 3.
    """
    rows, columns = np.asarray(truth, int).reshape(-1), np.asarray(said, int).reshape(-1)
    if rows.shape != columns.shape:
        raise ValueError(f"{len(rows)} true scores and {len(columns)} given ones")
    if rows.size and not (min(rows.min(), columns.min()) >= 0 and max(rows.max(), columns.max()) < _N):
        raise ValueError(f"scores are 0 to {_N - 1}")
    return np.bincount(rows * _N + columns, minlength=_N * _N).reshape(_N, _N)


def kappa(table: npt.ArrayLike, weights: Weights = "quadratic") -> float:
    """Agreement beyond chance, ``1 - sum(w * observed) / sum(w * expected by chance)``.

    The disagreement of scores i and j weighs ``(i - j) ** 2`` (quadratic), ``|i - j|`` (linear) or 1 (none).

    Parameters
    ----------
    table : array-like of number, shape (k, k)
    weights : {"quadratic", "linear", "none"}

    Returns
    -------
    float
        1 for full agreement, 0 for chance; NaN when the table is empty or holds one score only.

    References
    ----------
    Cohen 1960, doi 10.1177/001316446002000104; weighted: Cohen 1968, doi 10.1037/h0026256.
    """
    counts = np.asarray(table, float)
    n = counts.sum()
    steps = np.abs(np.subtract.outer(np.arange(len(counts)), np.arange(len(counts)))).astype(float)
    cost = {"quadratic": steps**2, "linear": steps, "none": (steps > 0).astype(float)}[weights]
    chance = float((cost * np.outer(counts.sum(1), counts.sum(0))).sum())
    return 1 - float((cost * counts).sum()) * float(n) / chance if chance else _NAN


def sensitivities(table: npt.ArrayLike) -> Floats:
    """Share of each true score that was given that score; shape (k,), NaN where there is none of it."""
    counts = np.asarray(table, float)
    return _ratio(np.diag(counts), counts.sum(1))


def predictive_values(table: npt.ArrayLike) -> Floats:
    """Share of each given score that was right (PPV); shape (k,), NaN where it was never given."""
    counts = np.asarray(table, float)
    return _ratio(np.diag(counts), counts.sum(0))


def balanced_accuracy(table: npt.ArrayLike) -> float:
    """Mean sensitivity of the scores that occur in truth; NaN for an empty table.

    References
    ----------
    Brodersen et al. 2010, doi 10.1109/ICPR.2010.764.
    """
    each = sensitivities(table)
    return float(np.nanmean(each)) if np.isfinite(each).any() else _NAN


def off_by(table: npt.ArrayLike, steps: int) -> float:
    """Share of cores whose score is wrong by at least `steps`; NaN for an empty table."""
    counts = np.asarray(table, float)
    far = np.abs(np.subtract.outer(np.arange(len(counts)), np.arange(len(counts)))) >= steps
    return float(counts[far].sum() / counts.sum()) if counts.sum() else _NAN


def grouped_agreement(table: npt.ArrayLike, cut: int) -> float:
    """Share of cores that truth and model put on the same side of the border below score `cut`.

    ``cut=2`` is {0, 1+ | 2+, 3+}, ``cut=1`` is {0 | 1+, 2+, 3+}. NaN for an empty table.
    """
    counts = np.asarray(table, float)
    same = counts[:cut, :cut].sum() + counts[cut:, cut:].sum()
    return float(same / counts.sum()) if counts.sum() else _NAN


class ReliabilityBin(NamedTuple):
    """Cores whose confidence lies between two bounds: how many, how sure, and how often right."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def reliability(truth: npt.ArrayLike, likely: npt.ArrayLike, bins: int = 10) -> list[ReliabilityBin]:
    """Confidence against accuracy in bins of equal width; empty bins hold NaN.

    Parameters
    ----------
    truth : array-like of int, shape (n,)
    likely : array-like of float, shape (n, 4)
        Probability of each score; the largest is the confidence in the score given.
    bins : int
    """
    right, confidence = _right(truth, likely)
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    n = np.bincount(index, minlength=bins)
    sure = _ratio(np.bincount(index, confidence, bins), n)
    correct = _ratio(np.bincount(index, right.astype(float), bins), n)
    return [ReliabilityBin(k / bins, (k + 1) / bins, int(n[k]), float(sure[k]), float(correct[k])) for k in range(bins)]


def expected_calibration_error(truth: npt.ArrayLike, likely: npt.ArrayLike, bins: int = 10) -> float:
    """Mean gap between confidence and accuracy over `reliability` bins, each counted by its cores; NaN without cores.

    References
    ----------
    Guo et al. 2017, arXiv 1706.04599, equation 3. With few cores it is biased upwards: n belongs beside it.
    """
    found = [b for b in reliability(truth, likely, bins) if b.n]
    n = sum(b.n for b in found)
    return sum(b.n * abs(b.accuracy - b.confidence) for b in found) / n if n else _NAN


def brier_score(truth: npt.ArrayLike, likely: npt.ArrayLike) -> float:
    """Mean squared distance of the probabilities from the truth, 0 (sure and right) to 2; NaN without cores.

    References
    ----------
    Brier 1950, Monthly Weather Review 78:1, equation 2: the sum over all scores, not the half of it.
    """
    rows, shares = np.asarray(truth, int), np.asarray(likely, float).reshape(-1, _N)
    return float(((shares - np.eye(_N)[rows]) ** 2).sum(1).mean()) if len(rows) else _NAN


class CoveragePoint(NamedTuple):
    """The surest cores: their share of all, how many they are, how often right, and the least confidence of them."""

    coverage: float
    n: int
    accuracy: float
    confidence: float


def coverage_curve(truth: npt.ArrayLike, likely: npt.ArrayLike) -> list[CoveragePoint]:
    """Accuracy of the surest cores, one point for each number of cores; cores of equal confidence come together.

    References
    ----------
    El-Yaniv & Wiener 2010, JMLR 11:1605 (the risk-coverage curve, here as accuracy).
    """
    right, confidence = _right(truth, likely)
    order = np.argsort(-confidence, kind="stable")
    right, confidence = right[order], confidence[order]
    n = len(right)
    last = np.append(confidence[1:] < confidence[:-1], True) if n else np.empty(0, bool)
    correct = np.cumsum(right)
    return [
        CoveragePoint((k + 1) / n, int(k + 1), float(correct[k] / (k + 1)), float(confidence[k]))
        for k in np.nonzero(last)[0]
    ]


def _accuracy_at(truth: npt.ArrayLike, likely: npt.ArrayLike, coverage: float) -> float:
    """Accuracy of the surest `coverage` of the cores; half a core rounds up."""
    right, confidence = _right(truth, likely)
    count = int(np.floor(coverage * len(right) + 0.5))
    return float(right[np.argsort(-confidence, kind="stable")[:count]].mean()) if count else _NAN


#: What `figures` measures, in its order; a share has an interval even where all cores agree.
FIGURES: tuple[str, ...] = (
    *("accuracy", "balanced_accuracy", "quadratic_kappa", "linear_kappa"),
    *(f"sensitivity_{k}" for k in range(_N)),
    *(f"ppv_{k}" for k in range(_N)),
    *("off_by_two", "agreement_01_23", "agreement_0_123"),
    *("ece", "brier", "accuracy_at_coverage"),
)
_NO_SHARE = frozenset(("balanced_accuracy", "quadratic_kappa", "linear_kappa", "ece", "brier"))


class Figure(NamedTuple):
    """A figure with what it stands on.

    Attributes
    ----------
    value : float
        NaN where there is nothing to measure.
    n : int
        Cores it was measured on: of that score for a sensitivity, given that score for a PPV.
    low, high : float
        Interval; NaN where none can be given.
    """

    value: float
    n: int
    low: float = _NAN
    high: float = _NAN


@dataclass(frozen=True)
class _Cores:
    truth: Ints
    likely: Floats
    said: Ints

    def of(self, chosen: Ints) -> _Cores:
        return _Cores(self.truth[chosen], self.likely[chosen], self.said[chosen])


def figures(
    truth: npt.ArrayLike,
    likely: npt.ArrayLike,
    patients: Sequence[Hashable],
    *,
    coverage: float = 0.85,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Figure]:
    """Every figure of `FIGURES`, with n and an interval over patients.

    Parameters
    ----------
    truth : array-like of int, shape (n,)
    likely : array-like of float, shape (n, 4)
        Probability of each score; the score given is the likeliest.
    patients : sequence, length n
        Whose core it is; cores of one patient are drawn together.
    coverage : float
        Share of the cores, the surest first, of ``accuracy_at_coverage``; 0..1.
    draws, seed, level
        See `intervals.bootstrap`.

    Raises
    ------
    ValueError
        If there is no core or the lengths differ.
    """
    rows, shares = np.asarray(truth, int), np.asarray(likely, float).reshape(-1, _N)
    if not len(rows) or not len(rows) == len(shares) == len(patients):
        raise ValueError(f"{len(rows)} true scores, {len(shares)} given ones and {len(patients)} patients")
    cores = _Cores(rows, shares, shares.argmax(axis=1))
    values = _measure(cores, coverage)
    low, high = bootstrap(lambda chosen: _measure(cores.of(chosen), coverage), patients, draws, seed, level)
    units = _units(cores, patients, coverage)
    counts = _counts(cores, coverage)
    out = {}
    for k, name in enumerate(FIGURES):
        bounds = (float(low[k]), float(high[k]))
        if name not in _NO_SHARE and values[k] in (0.0, 1.0):
            bounds = all_or_none(float(values[k]), units[k], level)
        elif bounds[0] == bounds[1]:
            bounds = (_NAN, _NAN)  # every draw was the same: it says nothing
        out[name] = Figure(float(values[k]), counts[k], *bounds)
    return out


def _measure(cores: _Cores, coverage: float) -> Floats:
    table = confusion(cores.truth, cores.said)
    return np.array(
        [
            1 - off_by(table, 1),
            balanced_accuracy(table),
            kappa(table),
            kappa(table, "linear"),
            *sensitivities(table),
            *predictive_values(table),
            off_by(table, 2),
            grouped_agreement(table, 2),
            grouped_agreement(table, 1),
            expected_calibration_error(cores.truth, cores.likely),
            brier_score(cores.truth, cores.likely),
            _accuracy_at(cores.truth, cores.likely, coverage),
        ]
    )


def _subsets(cores: _Cores, coverage: float) -> list[npt.NDArray[np.bool_]]:
    """Which cores each of `FIGURES` stands on."""
    every = np.ones(len(cores.truth), bool)
    surest = np.zeros(len(every), bool)
    order = np.argsort(-cores.likely.max(axis=1), kind="stable")
    surest[order[: int(np.floor(coverage * len(every) + 0.5))]] = True
    true, given = ([scores == k for k in range(_N)] for scores in (cores.truth, cores.said))
    return [*[every] * 4, *true, *given, *[every] * 5, surest]


def _counts(cores: _Cores, coverage: float) -> list[int]:
    return [int(chosen.sum()) for chosen in _subsets(cores, coverage)]


def _units(cores: _Cores, patients: Sequence[Hashable], coverage: float) -> list[int]:
    """How many patients each of `FIGURES` stands on."""
    who = numbered(patients)
    return [len(np.unique(who[chosen])) for chosen in _subsets(cores, coverage)]


def consensus(readers: npt.ArrayLike) -> Ints:
    """One score for each core from several readers: what most say; in a tie, the tied score nearest the median.

    Two tied scores equally near the median give the lower, so that nobody is called positive by a tie.

    Parameters
    ----------
    readers : array-like of int, shape (n, readers)
        0 to 3; -1 where a reader did not score the core.

    Returns
    -------
    ndarray of int, shape (n,)
        -1 where nobody scored the core.
    """
    votes = np.asarray(readers, int)
    out = np.full(len(votes), -1, np.intp)
    for index, row in enumerate(votes):
        given = row[row >= 0]
        if not len(given):
            continue
        count = np.bincount(given, minlength=_N)
        tied = np.nonzero(count == count.max())[0]
        out[index] = tied[np.argmin(np.abs(tied - np.median(given)))]
    return out


def _right(truth: npt.ArrayLike, likely: npt.ArrayLike) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Whether each score given is right, and the confidence in it; shapes (n,)."""
    shares = np.asarray(likely, float).reshape(-1, _N)
    return shares.argmax(axis=1) == np.asarray(truth, int), shares.max(axis=1)


def _ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> Floats:
    """Part by whole, NaN where the whole is 0."""
    top, bottom = np.asarray(part, float), np.asarray(whole, float)
    return np.asarray(np.divide(top, bottom, out=np.full(len(top), _NAN), where=bottom > 0))
