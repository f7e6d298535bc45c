"""How sure a figure is: intervals over patients, because cores of one patient resemble each other."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["all_or_none", "bootstrap", "numbered"]

Ints = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]

_NAN = float("nan")


def all_or_none(value: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a share that is 0 or 1 in n patients, where a bootstrap gives one of no width.

    References
    ----------
    Clopper & Pearson 1934, doi 10.1093/biomet/26.4.404.
    """
    if not n:
        return _NAN, _NAN
    bound = ((1 - level) / 2) ** (1 / n)
    return (bound, 1.0) if value == 1 else (0.0, 1 - bound)


def bootstrap(
    measure: Callable[[Ints], Floats],
    patients: Sequence[Hashable],
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[Floats, Floats]:
    """Intervals of figures: patients are drawn again with replacement, each with all cores.

    Cores of one patient resemble each other; drawing cores would make the interval too narrow.

    Parameters
    ----------
    measure : callable
        Given indices of cores, shape (m,), returns figures, shape (k,); NaN where there is nothing to measure.
    patients : sequence, length n
        Whose core it is.
    draws : int
    seed : int
        The same seed gives the same interval.
    level : float
        Share of the draws inside the interval; percentile method.

    Returns
    -------
    low, high : ndarray of float, shape (k,)
        NaN with a single patient, or where more than half of the draws had nothing to measure.

    References
    ----------
    Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13; clusters: Field & Welsh 2007,
    doi 10.1111/j.1467-9868.2007.00593.x.
    """
    who = numbered(patients)
    order = np.argsort(who, kind="stable")
    cores_of = np.split(order, np.cumsum(np.bincount(who))[:-1])
    if len(cores_of) < 2:
        nothing = np.full(len(measure(order)), _NAN)
        return nothing, nothing.copy()
    rng = np.random.default_rng(seed)
    found = np.array(
        [
            measure(np.concatenate([cores_of[k] for k in rng.integers(0, len(cores_of), len(cores_of))]))
            for _ in range(draws)
        ]
    )
    there = np.isfinite(found).mean(axis=0) > 0.5
    low, high = np.full(found.shape[1], _NAN), np.full(found.shape[1], _NAN)
    tail = 100 * (1 - level) / 2
    low[there], high[there] = np.nanpercentile(found[:, there], [tail, 100 - tail], axis=0)
    return low, high


def numbered(patients: Sequence[Hashable]) -> Ints:
    """Patients as 0, 1, 2, ... in order of appearance; shape (n,)."""
    number: dict[Hashable, int] = {}
    return np.array([number.setdefault(p, len(number)) for p in patients], np.intp)
