"""CoreScore: what one core was given, and which tissue it came from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from napari_her2.cores import Core

__all__ = ["SCORES", "CoreScore", "Places"]

SCORES: tuple[str, str, str, str] = ("0", "1+", "2+", "3+")

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Places:
    """The places on a core that the network judged, and the share of each in the core's value.

    Attributes
    ----------
    y, x : ndarray of float, shape (n,)
        Centre of each place in level-0 pixels of the slide.
    size : ndarray of float, shape (n,)
        Side of each place in level-0 pixels.
    grade : ndarray of float32, shape (n,)
        Expected score of the place, 0..3 (tissue that is not tumour counts as 0).
    tumour : ndarray of float32, shape (n,)
        Share of the place that is tumour, 0..1.
    weight : ndarray of float64, shape (n,)
        Share of the place in the core's value; the weights of a core sum to 1, and
        ``sum(weight * grade)`` is the core's `value`.
    """

    y: FloatArray
    x: FloatArray
    size: FloatArray
    grade: FloatArray
    tumour: FloatArray
    weight: FloatArray

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class CoreScore:
    """The HER2 score of one core.

    Attributes
    ----------
    core : Core
        The core that was scored, as it stood when it was scored.
    score : str
        ``"0"``, ``"1+"``, ``"2+"``, ``"3+"``, or ``""`` when the core could not be scored.
    probabilities : tuple of 4 float
        Calibrated probability of each score, in the order of `SCORES`; NaN when not scored.
    value : float
        The core's place on the ordered axis before the cut points; NaN when not scored.
    spread : float
        Standard deviation of `value` over other draws of the patches; see `pooling.Pooling.spread`.
    indeterminate : bool
        The confidence is below the model's threshold, or there is too little tumour to judge.
    failed : bool
        The core could not be read or judged, for the `reason` given; a core with too little tissue has not failed.
    reason : str
        Why the core is indeterminate or was not scored, as a sentence; empty otherwise.
    flags : tuple of str
        What makes the score doubtful though it was given, a sentence each.
    batch : str
        Name of the batch whose control cores the cut points were refitted on; "" with the model's own.
    normalised : bool
        The network saw the core in the colours of the model's reference, not in its own.
    places : Places or None
        Where the value came from; None when not scored, and with a model that judges cores as a whole.
    seconds : dict
        Wall seconds spent on this core by step ("read", "sample", "network").
    """

    core: Core
    score: str = ""
    probabilities: tuple[float, float, float, float] = (float("nan"),) * 4
    value: float = float("nan")
    spread: float = float("nan")
    indeterminate: bool = False
    failed: bool = False
    reason: str = ""
    flags: tuple[str, ...] = ()
    batch: str = ""
    normalised: bool = False
    places: Places | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def confidence(self) -> float:
        """Probability of the score given; NaN when the core was not scored."""
        return max(self.probabilities) if self.score else float("nan")
