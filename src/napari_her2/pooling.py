"""From what the network says of places to the value of a core and the probability of each score: a few numbers, fitted.

It needs neither the network nor a slide: cut points can be moved, and scores follow, without either.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_her2.models import Calibration
from napari_her2.scores import Places

__all__ = [
    "FADE",
    "HAZE_AT",
    "HAZE_FADES",
    "place_grades",
    "pool",
    "score_probabilities",
    "weighed",
]

#: Tumour share of a place at which its grade is half believed.
FADE = 0.15
#: Share of the tumour, strongest first, at which haze is read; and the values between which it ceases to count.
HAZE_AT = 0.55
HAZE_FADES = (1.0, 2.0)


def place_grades(shares: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Grade (0..3) of the tumour at each place, drawn to 0 where there is hardly any; (n, 5, y, x) -> (n * y * x,)."""
    tumour = 1 - shares[:, 0]
    grade = (shares[:, 2] + 2 * shares[:, 3] + 3 * shares[:, 4]) * (1 + FADE) / (tumour + FADE)
    return np.asarray(grade.reshape(-1), np.float32)


def weighed(
    grade: npt.NDArray[np.floating],
    tumour: npt.NDArray[np.floating],
    level: npt.NDArray[np.intp],
    calibration: Calibration,
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.float64]]:
    """Grades less what all the tumour of the core shares, and the share of each place in the core's value.

    What is shared is brown of cytoplasm and background, and noise. ``haze * f * H`` is taken off every grade, none
    falling below 0. H is read as the core's value S is, but at `HAZE_AT` of the tumour instead of the strongest tenth;
    f falls from 1 to 0 as S goes through `HAZE_FADES`, since what is stained that strongly throughout is stained. Order
    and weights of the places stay as they are, and S falls by just that much. For the weights see `Calibration`.

    Parameters
    ----------
    grade, tumour : ndarray of float, shape (n,)
        Of all places of one core.
    level : ndarray of int, shape (n,)
        Magnification of each.
    calibration : Calibration

    Returns
    -------
    grade : ndarray of float, shape (n,)
    weight : ndarray of float64, shape (n,)
        Sums to 1.
    """
    if not len(grade):
        return grade, np.empty(0)
    ranks = _ranks(grade, tumour, level, calibration)
    weight = _weights(len(grade), ranks, calibration, calibration.reach)
    if calibration.haze:
        shared = float(_weights(len(grade), ranks, calibration, HAZE_AT) @ grade)
        off = np.float32(calibration.haze * _haze_counts(float(weight @ grade)) * shared)
        grade = np.asarray(np.maximum(grade - off, 0))
    return grade, weight


def _haze_counts(value: float) -> float:
    """How much haze counts in a core of this value, 1 to 0."""
    weak, strong = HAZE_FADES
    return float(np.clip((strong - value) / (strong - weak), 0, 1))


#: Of a magnification: its weight, and of its places, strongest first, which they are, mass, log of the rank.
_Rank = tuple[float, npt.NDArray[np.intp], npt.NDArray[np.float64], npt.NDArray[np.float64]]


def _ranks(
    grade: npt.NDArray[np.floating],
    tumour: npt.NDArray[np.floating],
    level: npt.NDArray[np.intp],
    calibration: Calibration,
) -> list[_Rank]:
    """Of each magnification that the core was seen at."""
    found = []
    for index, share in enumerate(calibration.level_weights):
        own = np.nonzero(level == index)[0]
        if not len(own):
            continue
        own = own[np.argsort(-grade[own], kind="stable")]
        mass = np.clip(tumour[own], 1e-6, 1).astype(np.float64) ** calibration.sharpness
        found.append((share, own, mass, np.log((np.cumsum(mass) - mass / 2) / mass.sum())))
    return found


def _weights(count: int, ranks: list[_Rank], calibration: Calibration, reach: float) -> npt.NDArray[np.float64]:
    weight = np.zeros(count)
    # each magnification speaks with its weight, however many places it has
    for share, own, mass, rank in ranks:
        far = (rank - np.log(reach)) ** 2
        # the nearest place counts however far off it is: a core may show few places
        counts = mass * np.exp(-0.5 * (far - far.min()) / calibration.width**2)
        weight[own] = share * counts / counts.sum()
    return np.asarray(weight / weight.sum())


def pool(places: Places, calibration: Calibration) -> tuple[float, npt.NDArray[np.float64]]:
    """The core's value and the calibrated probability of each score.

    Returns
    -------
    value : float
        ``sum(weight * grade)``.
    probabilities : ndarray of float64, shape (4,)
    """
    value = float(places.weight @ places.grade)
    return value, score_probabilities(value, calibration)


def score_probabilities(value: npt.ArrayLike, calibration: Calibration) -> npt.NDArray[np.float64]:
    """Cumulative logits with ordered cut points: P(score > k) = sigmoid(slope * (value - cuts[k])).

    Shape (4,) for one value; (..., 4) for an array of values.
    """
    at = np.asarray(value, np.float64)[..., None]
    above = 1 / (1 + np.exp(-np.clip(calibration.slope * (at - np.asarray(calibration.cuts)), -500, 500)))
    edge = np.ones_like(at)
    return np.asarray(-np.diff(np.concatenate([edge, above, 0 * edge], axis=-1), axis=-1))
