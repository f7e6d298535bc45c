"""Calibrating: the cut points of the model, refitted on cores that the user read; no network runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_her2.errors import HER2Error, ModelError
from napari_her2.models import ScoringModel
from napari_her2.scores import SCORES
from napari_her2.viewer import one_way
from napari_her2.viewer.recut import model_of_layer, recut, value_of
from napari_her2.viewer.session import Session

__all__ = [
    "Preview",
    "batch_of",
    "load_calibration",
    "preview",
    "read_cores",
    "save_calibration",
    "use_cuts",
    "use_own_cuts",
    "why_not",
]


@dataclass(frozen=True)
class Preview:
    """A calibration before it is applied: the model with its cut points, and what would change.

    Attributes
    ----------
    model : ScoringModel
    sentence : str
        What moved, on how many control cores, and how many were right before and are after.
    right : tuple of int
        Before, after, and of how many controls.
    changes : list of (str, str, str)
        Cores of the slide that would be called otherwise: name, score now, score then.
    """

    model: ScoringModel
    sentence: str
    right: tuple[int, int, int]
    changes: list[tuple[str, str, str]]


def batch_of(model: ScoringModel | None) -> str:
    """Name of the batch that the cut points of a model were fitted for; "" for its own."""
    return "" if model is None else str(model.recalibration.get("batch", ""))


def read_cores(session: Session) -> list[str]:
    """Names of the cores that have both a reader's score and one of the model: they can be controls."""
    scores = session.scores()
    return [c.name for c in session.grid() if c.reader_score and c.name in scores and scores[c.name].score]


def why_not(session: Session) -> str:
    """Why the cut points cannot be fitted to what was read here; "" when they can."""
    if session.cores_layer is None or session.model is None:
        return "Find and score the cores first."
    if session.working:
        return "Something is still running."
    if not read_cores(session):
        return "Read some scored cores first: select them and press 0, 1, 2 or 3."
    made_with = model_of_layer(session.cores_layer)
    if made_with is None:
        return "These scores come from a file that does not say which model made them: score the cores again."
    if not one_way.cuts_only(session):
        how = f"with {made_with.name}, at another pixel size, or with other colours shown to the model"
        return f"These scores were made {how}: score the cores again."
    return ""


def preview(session: Session, names: Iterable[str], batch: str) -> Preview:
    """Fit the cut points to the named cores, and say what would change.

    Raises
    ------
    ModelError
        If it cannot be done, they are too few or all of one score, or the batch has no name.
    """
    from napari_her2.recalibrate import Recalibration, recalibrate

    why = why_not(session)
    if why or session.model is None:
        raise ModelError(why)
    wanted, scores, grid = set(names), session.scores(), session.grid()
    made_with = _made_with(session)
    controls = [name for name in read_cores(session) if name in wanted]
    values = [value_of(scores[name], made_with.calibration) for name in controls]
    known = [SCORES.index(grid[name].reader_score) for name in controls]
    model = recalibrate(session.model, values, known, batch, normalised=session.normalise)
    told = Recalibration(**model.recalibration)
    return Preview(model, told.sentence, (told.right_before, told.right_after, told.n), _changes(session, model))


def use_cuts(session: Session, model: ScoringModel) -> None:
    """Score with the cut points of `model` from now on; scores that are there follow, and Undo takes them back."""
    batch = batch_of(model)
    said = f"Scores with the cut points of {batch}" if batch else "Scores with the model's own cut points"
    layer = session.cores_layer
    session.model = model
    if layer is not None and model_of_layer(layer) is not None and one_way.cuts_only(session):
        changed = session.watch.calibrate(f"calibration for {batch}" if batch else "own cut points", model)
        said += f"; {changed} of {sum(bool(s.score) for s in session.scores().values())} are other ones now"
    session.said.emit(f"{said}.", False)
    session.changed.emit()


def use_own_cuts(session: Session) -> None:
    """Back to the model's own cut points."""
    from napari_her2.recalibrate import own_cuts

    if session.model is not None:
        use_cuts(session, own_cuts(session.model))


def load_calibration(session: Session, path: Path) -> Preview:
    """The calibration of a file, before it is applied.

    Raises
    ------
    ModelError
        If it is none, or was made for another model, or for colours that are normalised where they are not here.
    """
    from napari_her2.recalibrate import apply_recalibration, read_recalibration

    if session.model is None:
        raise ModelError("Choose a model first.")
    found = read_recalibration(path)
    model = apply_recalibration(session.model, found)
    if why := model.why_not_scored(session.normalise):
        raise ModelError(why)
    return Preview(model, found.sentence, (found.right_before, found.right_after, found.n), _changes(session, model))


def save_calibration(session: Session, model: ScoringModel, path: Path) -> None:
    """Write a calibration, for other slides of the batch and for ``napari-her2 score --calibration``."""
    from napari_her2.recalibrate import Recalibration, write_recalibration

    known: dict[str, Any] = model.recalibration
    try:
        write_recalibration(path, Recalibration(**known), overwrite=True)
    except HER2Error as error:
        session.said.emit(str(error), True)
        return
    session.said.emit(f"The calibration {known['batch']} was written to {path}.", False)


def _made_with(session: Session) -> ScoringModel:
    """The model with the cut points that the scores on the slide were made with."""
    made_with = None if session.cores_layer is None else model_of_layer(session.cores_layer)
    if made_with is None:
        raise ModelError("Score the cores first.")
    return made_with


def _changes(session: Session, model: ScoringModel) -> list[tuple[str, str, str]]:
    layer = session.cores_layer
    if layer is None or model_of_layer(layer) is None or not one_way.cuts_only(session):
        return []
    old = _made_with(session).calibration
    pairs = [(name, s.score, recut(s, old, model).score) for name, s in session.scores().items() if s.score]
    return [(name, now, then) for name, now, then in pairs if now != then]
