"""Thresholds of measured staining fitted in the viewer: to control cores that the user read, for one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from napari_her2.cores import Core, CoreState
from napari_her2.errors import HER2Error, StainError
from napari_her2.finders import source_of
from napari_her2.measure import Measurement, measure_core
from napari_her2.membrane import RULES, RuleSet, Thresholds, classify
from napari_her2.membrane.batch import BatchThresholds, fit_batch, read_batch, write_batch
from napari_her2.viewer.measuring import Measuring

__all__ = [
    "LEAST_CONTROLS",
    "Fit",
    "fit_controls",
    "load_thresholds",
    "named",
    "read_cores",
    "save_thresholds",
    "why_not",
]

#: Control cores of known score that are needed.
LEAST_CONTROLS = 3
#: What a batch is called before it has a name.
_NAMELESS = "Thresholds"


@dataclass(frozen=True)
class Fit:
    """Thresholds before they are used, and what they make of the controls.

    Attributes
    ----------
    batch : BatchThresholds
    controls : list of (str, str, str, str)
        Core, its known score, what the default thresholds say, and what these do.
    left_out : list of str
        Why a core that was read is no control, a sentence each.
    """

    batch: BatchThresholds
    controls: list[tuple[str, str, str, str]]
    left_out: list[str]


def read_cores(measuring: Measuring) -> list[Core]:
    """Cores with tissue that have a reader's score: they can be controls."""
    return [c for c in measuring.session.grid() if c.reader_score and c.state is CoreState.TISSUE]


def why_not(measuring: Measuring, cores: Iterable[Core]) -> str:
    """Why thresholds cannot be fitted to these cores; "" when they can."""
    why, scores = measuring.why_not(), [core.reader_score for core in cores]
    if why:
        return why
    if len(scores) < LEAST_CONTROLS:
        return (
            f"{len(scores)} control core{'s have' if len(scores) != 1 else ' has'} a reader's score: at least "
            f"{LEAST_CONTROLS} are needed. Select cores of known score and press 0, 1, 2 or 3 in Review."
        )
    if all(score == "0" for score in scores):
        return f"All {len(scores)} control cores are 0: one that is 1+, 2+ or 3+ is needed to calibrate on."
    return ""


def fit_controls(measuring: Measuring, cores: list[Core], then: Callable[[Fit | HER2Error], None]) -> None:
    """Measure control cores, those that are not at hand, and fit the thresholds to them, in the background.

    `then` gets the fit, or the error that says why there is none; it is not called when the user cancels.
    """
    session, stains, rules = measuring.session, measuring.slide_stains.stains, RULES[measuring.rules]
    slide, params = session.slide, replace(measuring.params(), thresholds=Thresholds())
    if slide is None or stains is None:
        return
    places = measuring.places()
    known = {core.name: (measuring.cells_of(core.name), measuring.regions.on(core)) for core in cores}

    def work() -> Fit | HER2Error:
        try:
            found = [
                known[core.name][0]
                or measure_core(slide, core, stains, params, places=places.get(core.name), regions=known[core.name][1])
                for core in cores
            ]
            return _fit(cores, found, rules, str(source_of(params.finder)))
        except HER2Error as error:
            return error

    session.background("Measuring the control cores", work, then)


def _fit(cores: list[Core], found: list[Measurement], rules: RuleSet, nuclei: str) -> Fit:
    pairs = [(core, one) for core, one in zip(cores, found, strict=True) if one.score]
    left_out = [f"{core.name}: {one.sentence}" for core, one in zip(cores, found, strict=True) if not one.score]
    if len(pairs) < LEAST_CONTROLS:
        raise StainError(f"{len(pairs)} control cores are scorable, {LEAST_CONTROLS} are needed. {' '.join(left_out)}")
    scores = [core.reader_score for core, _ in pairs]
    batch = fit_batch([one for _, one in pairs], scores, _NAMELESS, rules, nuclei)

    def said(one: Measurement, thresholds: Thresholds) -> str:
        return rules.score(classify(one.rings, thresholds.for_rules(rules)).counts)[0]

    told = [(c.name, c.reader_score, said(one, Thresholds()), said(one, batch.thresholds)) for c, one in pairs]
    return Fit(batch, told, left_out)


def named(batch: BatchThresholds, name: str) -> BatchThresholds:
    """The same under another name.

    Raises
    ------
    StainError
        If the name is empty.
    """
    name = name.strip()
    if not name:
        raise StainError("The batch has no name: name it, so that its measurements can say what they were made with.")
    return replace(batch, batch=name, sentence=f"{name}{batch.sentence.removeprefix(batch.batch)}")


def load_thresholds(measuring: Measuring, path: Path) -> BatchThresholds:
    """Thresholds of a file, from here or from ``napari-her2 calibrate --measure``.

    Raises
    ------
    StainError
        If it is none, or was made by other rules than those chosen, or with other nuclei.
    """
    batch = read_batch(path)
    if batch.rules != measuring.rules:
        raise StainError(f"{path.name} was made by the rules {batch.rules}: choose these first.")
    if batch.nuclei != str(source_of(measuring.finder)):
        raise StainError(f"{path.name} was made with nuclei found by {batch.nuclei}: choose these first.")
    return batch


def save_thresholds(measuring: Measuring, batch: BatchThresholds, path: Path) -> None:
    """Write thresholds, for other slides of the batch and for ``napari-her2 measure --measure-calibration``."""
    try:
        write_batch(path, batch, overwrite=True)
    except HER2Error as error:
        measuring.session.said.emit(str(error), True)
        return
    measuring.session.said.emit(f"The thresholds of {batch.batch} were written to {path}.", False)
