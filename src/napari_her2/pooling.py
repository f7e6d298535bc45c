"""From what the network says of places to the value of a core and the probability of each score: a few numbers, fitted.

It needs neither the network nor a slide: cut points can be moved, and scores follow, without either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_her2.models import Calibration
from napari_her2.scores import Places

__all__ = [
    "FADE",
    "HAZE_AT",
    "HAZE_FADES",
    "Pooling",
    "place_grades",
    "pool",
    "score_probabilities",
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


class Pooling:
    """The places of one core, the strongest first: their share in the core's value, and how sure that value is.

    What all the tumour of the core shares is taken off the grades: brown of cytoplasm and background, and noise.
    ``haze * f * H`` is taken off every grade, none falling below 0. H is read as the core's value S is, but at
    `HAZE_AT` of the tumour instead of the strongest tenth; f falls from 1 to 0 as S goes through `HAZE_FADES`, since
    what is stained that strongly throughout is stained. Order and weights of the places stay as they are, and S falls
    by just that much. For the weights see `Calibration`.

    Parameters
    ----------
    grade, tumour : ndarray of float, shape (n,)
        Of all places of one core.
    level : ndarray of int, shape (n,)
        Magnification of each.
    calibration : Calibration

    Attributes
    ----------
    grade : ndarray of float, shape (n,)
        Less the haze.
    weight : ndarray of float64, shape (n,)
        Sums to 1.
    """

    def __init__(
        self,
        grade: npt.NDArray[np.floating],
        tumour: npt.NDArray[np.floating],
        level: npt.NDArray[np.intp],
        calibration: Calibration,
    ) -> None:
        self._seen, self._calibration = grade, calibration
        self._ranks = _ranks(grade, tumour, level, calibration)
        self.weight = _weights(len(grade), self._ranks, calibration, calibration.reach)
        self._value = float(self.weight @ grade)  # S and H of the grades as they were
        self._shared = 0.0
        self.grade = grade
        if calibration.haze and len(grade):
            self._shared = float(_weights(len(grade), self._ranks, calibration, HAZE_AT) @ grade)
            off = np.float32(calibration.haze * _haze_counts(self._value) * self._shared)
            self.grade = np.asarray(np.maximum(grade - off, 0))

    def spread(self, patch: npt.NDArray[np.intp], patch_level: npt.NDArray[np.intp]) -> float:
        """Standard deviation of the value, had other patches been drawn.

        How much each patch pulls at the value, by the influence function of a weighted mean of ordered values (Huber &
        Ronchetti, *Robust Statistics*, section 3.3); and since a patch is drawn from each stretch of the tissue, the
        variance is that of the differences between patches that follow each other (Wolter, *Introduction to Variance
        Estimation*, section 8.2).

        Parameters
        ----------
        patch : ndarray of int, shape (n,)
            Which patch each place lies on.
        patch_level : ndarray of int, shape (patches,)
            Magnification of each patch, in the order in which they were drawn.
        """
        if not len(self._seen):
            return float("nan")
        pull = self._pulls(patch, len(patch_level), self._calibration.reach)
        if self._calibration.haze:
            weak, strong = HAZE_FADES
            slope = -1 / (strong - weak) if weak < self._value < strong else 0.0
            pull *= 1 - self._calibration.haze * slope * self._shared
            counts = self._calibration.haze * _haze_counts(self._value)
            pull -= counts * self._pulls(patch, len(patch_level), HAZE_AT)
        variance = 0.0
        for level in np.unique(patch_level):
            own = pull[patch_level == level]
            if len(own) > 1:
                variance += len(own) / (2 * (len(own) - 1)) * float((np.diff(own) ** 2).sum())
        return float(np.sqrt(variance))

    def _pulls(self, patch: npt.NDArray[np.intp], patches: int, reach: float) -> npt.NDArray[np.float64]:
        """Influence of each patch on the value that is read at `reach`; those of a magnification sum to 0."""
        found = np.zeros(patches)
        total = sum(rank.share for rank in self._ranks)
        for rank in self._ranks:
            at_or_above = np.cumsum(rank.mass) / rank.mass.sum()
            kernel = rank.kernel(np.log(at_or_above[:-1]), reach, self._calibration.width)
            step = kernel * -np.diff(self._seen[rank.own].astype(np.float64))
            # a place lifts the share of tumour above every grade that is less than its own
            lifts = np.append(np.cumsum(step[::-1])[::-1], 0.0) - at_or_above[:-1] @ step
            heft = rank.mass / (rank.mass @ rank.kernel(rank.log_rank, reach, self._calibration.width))
            found += rank.share / total * np.bincount(patch[rank.own], heft * lifts, minlength=patches)
        return found


def _haze_counts(value: float) -> float:
    """How much haze counts in a core of this value, 1 to 0."""
    weak, strong = HAZE_FADES
    return float(np.clip((strong - value) / (strong - weak), 0, 1))


@dataclass(frozen=True)
class _Rank:
    """Places of one magnification, strongest first: which they are, their mass, the log of their rank in it (0..1)."""

    share: float
    own: npt.NDArray[np.intp]
    mass: npt.NDArray[np.float64]
    log_rank: npt.NDArray[np.float64]

    def kernel(self, log_rank: npt.NDArray[np.float64], reach: float, width: float) -> npt.NDArray[np.float64]:
        """How much places of such ranks count; the nearest counts wholly however far off: a core may show few."""
        nearest = float(((self.log_rank - np.log(reach)) ** 2).min())
        return np.asarray(np.exp(-0.5 * ((log_rank - np.log(reach)) ** 2 - nearest) / width**2))


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
        found.append(_Rank(share, own, mass, np.log((np.cumsum(mass) - mass / 2) / mass.sum())))
    return found


def _weights(count: int, ranks: list[_Rank], calibration: Calibration, reach: float) -> npt.NDArray[np.float64]:
    weight = np.zeros(count)
    # each magnification speaks with its weight, however many places it has
    for rank in ranks:
        counts = rank.mass * rank.kernel(rank.log_rank, reach, calibration.width)
        weight[rank.own] = rank.share * counts / counts.sum()
    return np.asarray(weight / weight.sum()) if ranks else weight


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
