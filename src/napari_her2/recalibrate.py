"""Recalibration: the cut points of a model, and nothing else, refitted on control cores of known score of one batch."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import optimize

from napari_her2.errors import ModelError
from napari_her2.files import writing
from napari_her2.models import Calibration, ScoringModel
from napari_her2.pooling import score_probabilities
from napari_her2.scores import SCORES

__all__ = [
    "LEAST_CONTROLS",
    "Recalibration",
    "apply_recalibration",
    "own_cuts",
    "read_recalibration",
    "recalibrate",
    "refit_cuts",
    "value_of_probabilities",
    "write_recalibration",
]

Floats = npt.NDArray[np.float64]

#: Control cores under which nothing is refitted, and how many scores they must show between them.
LEAST_CONTROLS, LEAST_SCORES = 3, 2
#: Standard deviations, in units of the value (0..3), of what batches are expected to do: move all cut points together,
#: and each for itself. A batch is stained stronger or weaker as a whole; the few controls cannot tell more apart. In
#: simulation (values of 93 % accuracy, 60 trials each) a batch 0.3 off, 74 to 79 % right, came back to 88 to 92 % with
#: 3 to 8 controls, one 0.6 off from 41 % to 88 to 91 %; a batch that was right lost 1 to 4 points.
_TOGETHER, _APART = 0.5, 0.12
#: Two cut points are never nearer than this.
_GAP = 0.1


@dataclass(frozen=True)
class Recalibration:
    """Cut points for one batch, and where they come from.

    Attributes
    ----------
    batch : str
        What the laboratory calls it: run, day, scanner.
    cuts, old_cuts : tuple of 3 float
        Refitted, and those of the model.
    n : int
        Control cores they were refitted on.
    controls : tuple of 4 int
        How many of them had score 0, 1+, 2+, 3+.
    right_before, right_after : int
        Controls that the model scored as known, with the old cut points and with the new.
    model, model_sha256 : str
        They hold for this model only.
    when : str
        ISO 8601, UTC.
    normalised : bool
        The controls were scored with normalised colours; it holds for scores made that way only.
    """

    batch: str
    cuts: tuple[float, float, float]
    old_cuts: tuple[float, float, float]
    n: int
    controls: tuple[int, int, int, int]
    right_before: int
    right_after: int
    model: str
    model_sha256: str
    when: str
    normalised: bool = False

    @property
    def sentence(self) -> str:
        """What changed, and on how many cores it stands."""
        moved = " and ".join(
            f"{old:.2f} to {new:.2f}" for old, new in zip(self.old_cuts, self.cuts, strict=True)
        ).replace(" and ", ", ", 1)
        told = ", ".join(f"{k} of {s}" for k, s in zip(self.controls, SCORES, strict=True) if k)
        unseen = [s for k, s in zip(self.controls, SCORES, strict=True) if not k]
        rest = f" No control showed {' or '.join(unseen)}: borders there moved with the others." if unseen else ""
        rest += " It holds for normalised colours." if self.normalised else ""
        if self.right_after < self.right_before:
            rest += " It made fewer of them right: look at the controls whose score differs before you use it."
        return (
            f"{self.batch}: the cut points moved from {moved}, on {self.n} control cores ({told}); "
            f"{self.right_before} of them were right before, {self.right_after} are now.{rest}"
        )


def refit_cuts(values: npt.ArrayLike, scores: npt.ArrayLike, calibration: Calibration) -> tuple[float, float, float]:
    """The likeliest cut points, given the model's own and control cores.

    Minimises ``-sum(log P(score | value, cuts)) + d' C^-1 d / 2`` where d is how far each cut point moves and
    ``C = together**2 + apart**2 * I`` what batches are expected to do. It is convex, so there is one answer; without
    controls it is the model's own. The cut points stay in order.

    Parameters
    ----------
    values : array-like of float, shape (n,)
        `CoreScore.value` of each control.
    scores : array-like of int, shape (n,)
        Its known score, 0 to 3.
    calibration : Calibration
        Gives slope and old cut points.

    References
    ----------
    Cumulative logits: McCullagh 1980, J R Stat Soc B 42:109; convexity: Pratt 1981, doi 10.1080/01621459.1981.10477619.
    """
    at, known = np.asarray(values, float), np.asarray(scores, int)
    old = np.asarray(calibration.cuts)
    inverse = np.linalg.inv(_TOGETHER**2 + _APART**2 * np.eye(len(old)))

    def loss(cuts: Floats) -> float:
        logits = calibration.slope * (at[:, None] - cuts)
        edge = np.full((len(at), 1), np.inf)
        upper = np.hstack([edge, logits])[np.arange(len(at)), known]
        lower = np.hstack([logits, -edge])[np.arange(len(at)), known]
        # log(sigmoid(upper) - sigmoid(lower)) without cancellation
        apart = np.log(-np.expm1(np.clip(lower - upper, -700, -1e-9)))
        likely = -np.logaddexp(0, -upper) - np.logaddexp(0, lower) + apart
        moved = cuts - old
        return float(-likely.sum() + moved @ inverse @ moved / 2)

    ordered = [{"type": "ineq", "fun": lambda cuts, k=k: cuts[k + 1] - cuts[k] - _GAP} for k in range(len(old) - 1)]
    found = optimize.minimize(loss, old, method="SLSQP", constraints=ordered, options={"ftol": 1e-10, "maxiter": 300})
    cuts = np.asarray(found.x)
    return float(cuts[0]), float(cuts[1]), float(cuts[2])


def recalibrate(
    model: ScoringModel, values: Sequence[float], scores: Sequence[int], batch: str, *, normalised: bool = False
) -> ScoringModel:
    """The model with its cut points refitted on control cores.

    Parameters
    ----------
    model : ScoringModel
        Cut points that were refitted before are put back first: calibrations do not pile up.
    values : sequence of float
        `CoreScore.value` of each control; those that are NaN (not scorable) are passed over.
    scores : sequence of int
        Known score of each control, 0 to 3.
    batch : str
        Goes with every score made with it.
    normalised : bool
        Whether the controls were scored with normalised colours.

    Returns
    -------
    ScoringModel
        With `recalibration` filled: `Recalibration` as a dict.

    Raises
    ------
    ModelError
        If the controls are too few or all of one score, or the batch has no name.
    """
    if not batch.strip():
        raise ModelError("The batch has no name: name it, so that its scores can say which calibration made them.")
    pairs = [(float(v), int(s)) for v, s in zip(values, scores, strict=True) if math.isfinite(v)]
    kinds = len({s for _, s in pairs})
    if len(pairs) < LEAST_CONTROLS or kinds < LEAST_SCORES:
        there = f"{len(pairs)} scorable control core{'s' * (len(pairs) != 1)} of {kinds} score{'s' * (kinds != 1)}"
        raise ModelError(
            f"There are {there}: at least {LEAST_CONTROLS} of {LEAST_SCORES} different scores are needed "
            "to recalibrate, better 8 that show all four."
        )
    model = own_cuts(model)
    at, known = np.array([v for v, _ in pairs]), np.array([s for _, s in pairs])
    cuts = refit_cuts(at, known, model.calibration)
    new = replace(model.calibration, cuts=cuts)
    result = Recalibration(
        batch=batch.strip(),
        cuts=cuts,
        old_cuts=model.calibration.cuts,
        n=len(pairs),
        controls=tuple(int(k) for k in np.bincount(known, minlength=4)),  # type: ignore[arg-type]
        right_before=_right(at, known, model.calibration),
        right_after=_right(at, known, new),
        model=model.name,
        model_sha256=model.sha256,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        normalised=normalised,
    )
    return replace(model, calibration=new, recalibration=asdict(result))


def apply_recalibration(model: ScoringModel, recalibration: Recalibration) -> ScoringModel:
    """The model with the cut points of a batch.

    Raises
    ------
    ModelError
        If they were fitted for another model, or for other cut points of it.
    """
    model = own_cuts(model)
    if recalibration.model_sha256 != model.sha256:
        raise ModelError(
            f"The calibration {recalibration.batch} was made for another model ({recalibration.model}): "
            f"choose that one, or calibrate {model.name}."
        )
    if not np.allclose(recalibration.old_cuts, model.calibration.cuts, atol=1e-6):
        raise ModelError(
            f"The calibration {recalibration.batch} was made for another calibration of {model.name}: make it again."
        )
    calibration = replace(model.calibration, cuts=recalibration.cuts)
    return replace(model, calibration=calibration, recalibration=asdict(recalibration))


def own_cuts(model: ScoringModel) -> ScoringModel:
    """The model as it was before any recalibration."""
    if not model.recalibration:
        return model
    a, b, c = (float(cut) for cut in model.recalibration["old_cuts"])
    return replace(model, calibration=replace(model.calibration, cuts=(a, b, c)), recalibration={})


def write_recalibration(path: str | Path, recalibration: Recalibration, *, overwrite: bool = False) -> None:
    """Write it as JSON.

    Raises
    ------
    OutputError
        If the file exists and `overwrite` is False, or cannot be written.
    """
    content = {"napari_her2_recalibration": 1, **asdict(recalibration)}
    with writing(path, overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_recalibration(path: str | Path) -> Recalibration:
    """What `write_recalibration` wrote.

    Raises
    ------
    ModelError
        If there is no such file, or it is none of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"There is no calibration {path}: make one with napari-her2 calibrate.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("napari_her2_recalibration") != 1:
            raise ModelError(f"{path.name} was written by a newer napari-her2: update the plugin.")
        lists = {key: tuple(value) for key, value in content.items() if isinstance(value, list)}
        found = Recalibration(**content | lists)
        cuts = [float(c) for c in (*found.cuts, *found.old_cuts)]
        if len(cuts) != 6 or not all(map(math.isfinite, cuts)) or not cuts[0] < cuts[1] < cuts[2]:
            raise ValueError("cut points")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path.name} is no calibration of napari-her2: make one with napari-her2 calibrate."
        ) from error
    return found


def value_of_probabilities(probabilities: npt.ArrayLike, calibration: Calibration) -> float:
    """The value S that gives these probabilities; what `pooling.score_probabilities` undoes.

    Taken at the border where the probabilities are least extreme; rounded to 6 decimals, as in ``cores.csv``, it is
    right to 0.01 within two units of a cut point.

    Parameters
    ----------
    probabilities : array-like of float, shape (4,)
    calibration : Calibration
        With which they were made.
    """
    above = np.clip(1 - np.cumsum(np.asarray(probabilities, float))[:3], 1e-9, 1 - 1e-9)
    k = int(np.argmin(np.abs(above - 0.5)))
    return float(calibration.cuts[k] + math.log(above[k] / (1 - above[k])) / calibration.slope)


def _right(values: Floats, scores: npt.NDArray[np.intp], calibration: Calibration) -> int:
    said = [int(np.argmax(score_probabilities(float(v), calibration))) for v in values]
    return int((np.array(said) == scores).sum())
