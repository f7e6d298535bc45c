"""Training on what the user read: one run in the background over the labels of all open slides."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.qt.threading import create_worker
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_her2.cores import Core, CoreState
from napari_her2.errors import CoresError, HER2Error
from napari_her2.models import ScoringModel
from napari_her2.scores import SCORES
from napari_her2.slide import Slide
from napari_her2.viewer.background import sentence
from napari_her2.viewer.cores_layer import find_cores_layer, grid_of_layer
from napari_her2.viewer.session import Session
from napari_her2.viewer.slide_layer import slide_of_layer

if TYPE_CHECKING:
    from napari_her2.models import Calibration
    from napari_her2.training.laboratory import Comparison, CoreFeatures, Head, LabParams, LearningPoint

__all__ = ["Labels", "Trained", "TrainingRun", "labels_of", "save_trained", "start_training", "why_not"]

#: Runs that go on; a run outlives the dialog that began it until its thread has ended.
_RUNNING: set[TrainingRun] = set()
_LOOK_MS = 200


@dataclass(frozen=True)
class Labels:
    """The cores that were read, slide by slide; only slides with a pixel size can be learned from."""

    slides: tuple[tuple[Slide, tuple[Core, ...]], ...]

    @property
    def cores(self) -> list[Core]:
        """All of them."""
        return [core for _, cores in self.slides for core in cores]

    @property
    def pairs(self) -> list[tuple[int, str]]:
        """Score and patient of each core, as `too_few` wants them; a core without a patient stands for one."""
        return [
            (SCORES.index(core.reader_score), core.patient_id or f"{slide.name} {core.name}")
            for slide, cores in self.slides
            for core in cores
        ]

    @property
    def sentence(self) -> str:
        """How many there are of each score, and of how many patients."""
        pairs = self.pairs
        if not pairs:
            return "No core was read yet: select cores and press 0, 1, 2 or 3."
        told = ", ".join(f"{sum(k == score for k, _ in pairs)} of {name}" for score, name in enumerate(SCORES))
        without = sum(not core.patient_id for core in self.cores)
        people = f"{len({patient for _, patient in pairs})} patients"
        if without:
            people += f" ({without} cores without a patient stand for one each: give a TMA map if that is wrong)"
        slides = f" on {len(self.slides)} slides" if len(self.slides) > 1 else ""
        return f"You read {len(pairs)} cores{slides}: {told}; of {people}."


@dataclass(frozen=True)
class Trained:
    """A fitted head, what it learned from, and how it compares; `source` names the slides."""

    base: ScoringModel
    head: Head
    calibration: Calibration
    history: list[LearningPoint]
    learned: list[CoreFeatures]
    comparison: Comparison
    params: LabParams
    source: str
    remarks: tuple[str, ...] = ()


def labels_of(session: Session) -> Labels:
    """What was read on all open slides."""
    slides = []
    for image in session.slides():
        try:
            layer = find_cores_layer(session.viewer.layers, image)
            grid = None if layer is None else grid_of_layer(layer)
            slide = slide_of_layer(image)
        except HER2Error:  # told where that slide is worked on
            continue
        cores = [c for c in grid or () if c.reader_score and c.state is CoreState.TISSUE]
        if cores and slide.mpp is not None:
            slides.append((slide, tuple(cores)))
    return Labels(tuple(slides))


def why_not(session: Session, labels: Labels) -> str:
    """Why nothing can be learned now; "" when it can."""
    from napari_her2.training.lab_folds import too_few  # not by way of `laboratory`, which brings in torch

    if session.model is None:
        return "No scoring model is installed: choose a model file."
    if session.working:
        return "Something is still running."
    return too_few(labels.pairs) if labels.pairs else labels.sentence


class TrainingRun:
    """One run; to the session it is a run like one of scoring, and goes where that goes.

    Signals: `progressed()` a few times a second, `ended(message)` once, "" when all went well: `trained` is then there.
    """

    progressed = Signal()
    ended = Signal(str)
    doing = "trained on"

    def __init__(self, session: Session, labels: Labels, base: ScoringModel, params: LabParams | None = None) -> None:
        self.image, self.slide, self.cores_layer = session.image, labels.slides[0][0], None
        self.labels, self.base, self.device, self.params = labels, base, session.device, params
        self.cores = labels.cores
        self.images = session.slides()
        self.trained: Trained | None = None
        self.running, self.failed, self.stale = False, 0, 0
        #: What is being done, how much of it is done, and how much there is; the thread writes, the timer reads.
        self.state: tuple[str, int, int] = ("Reading cores", 0, len(self.cores))
        self._message, self._stop, self._seen = "", threading.Event(), self.state
        self._timer = QTimer()
        self._timer.timeout.connect(self._look)

    @property
    def done(self) -> int:
        """Cores read."""
        return self.state[1] if self.state[0] == "Reading cores" else len(self.cores)

    def start(self) -> None:
        """Begin; returns at once."""
        self.running = True
        _RUNNING.add(self)
        self._timer.start(_LOOK_MS)
        worker = create_worker(_work, self)
        worker.yielded.connect(self._receive)
        worker.finished.connect(self._finish)
        worker.start()

    def cancel(self, why: str = "") -> None:
        """Stop at the next core or fold; what was read of the cores is kept for the next time."""
        self._stop.set()
        self._message = self._message or why.replace("Scoring", "Training", 1) or "Training was cancelled."

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._stop.is_set()

    def uses(self, layer: Any) -> bool:
        """Whether the run reads that layer."""
        return any(layer is image for image in self.images)

    def progress_text(self) -> str:
        """As in "Reading cores: 12 of 40"."""
        what, done, total = self.state
        return f"{what}: {done} of {total}" + (", stopping" if self.cancelled else "")

    def tell(self, what: str, done: int, total: int) -> None:
        """Called in the thread; ends it when the user wants so."""
        if self._stop.is_set():
            raise _CancelledError
        self.state = (what, done, total)

    def _look(self) -> None:
        if self.state != self._seen:
            self._seen = self.state
            self.progressed.emit()

    def _receive(self, item: Trained | Exception) -> None:
        if isinstance(item, Exception):
            self._message = self._message or sentence(item, "Training")
        else:
            self.trained = item

    def _finish(self) -> None:
        with suppress(RuntimeError):  # when the application ends, Qt may have taken the timer already
            self._timer.stop()
        self.running = False
        _RUNNING.discard(self)
        self.ended.emit(self._message)


class _CancelledError(Exception):
    """The user does not want it any more."""


def _work(run: TrainingRun) -> Generator[Trained | Exception, None, None]:
    try:
        yield _train(run)
    except _CancelledError:
        return
    except Exception as error:
        yield error


def _train(run: TrainingRun) -> Trained:
    # in this thread and not before: it brings in torch, which takes seconds
    from napari_her2.training import laboratory

    params = run.params or laboratory.LabParams()
    remarks: list[str] = []
    learned = list(_features(run, laboratory.collect, laboratory.default_cache(), remarks.append))
    why = laboratory.too_few([(core.score, core.patient) for core in learned])
    if why:
        raise CoresError(" ".join([*remarks, why]))
    comparison = laboratory.cross_validate(
        learned, run.base, params, progress=lambda done, total: run.tell("Trying it on other patients", done, total)
    )
    run.tell("Fitting to all cores", 0, 1)
    head, calibration, history = laboratory.fit_head(learned, run.base, params, apart=comparison.values)
    run.tell("Fitting to all cores", 1, 1)
    source = ", ".join(slide.name for slide, _ in run.labels.slides)
    return Trained(run.base, head, calibration, history, learned, comparison, params, source, remarks=tuple(remarks))


def _features(
    run: TrainingRun, collect: Callable[..., Any], cache: Path, remark: Callable[[str], None]
) -> Generator[CoreFeatures, None, None]:
    """Features of all labelled cores; the encoder is opened once, and only when a core is not cached."""
    from napari_her2.training.laboratory import open_encoder

    opened: list[Any] = []

    def encoder(pixels: Any) -> Any:
        if not opened:
            opened.append(open_encoder(run.base, run.device))
        return opened[0](pixels)

    done = 0
    for slide, cores in run.labels.slides:
        for core in cores:
            run.tell("Reading cores", done, len(run.cores))
            yield from collect(slide, [core], run.base, cache=cache, device=run.device, encoder=encoder, remark=remark)
            done += 1


def start_training(session: Session, labels: Labels, params: LabParams | None = None) -> TrainingRun | None:
    """Begin a run on labels, from the model that is chosen; None, with the reason told, when it cannot be."""
    why = why_not(session, labels)
    if why or session.model is None:
        session.said.emit(why, True)
        return None
    run = TrainingRun(session, labels, session.model, params)
    session.run = run  # type: ignore[assignment]  # the same to the session as a run of scoring

    def progressed() -> None:
        if session.is_open:
            session.changed.emit()

    def ended(message: str) -> None:
        if session.is_open:
            session.said.emit(message, bool(message) and not run.cancelled)
            session.changed.emit()

    run.progressed.connect(progressed)
    run.ended.connect(ended)
    run.start()
    session.said.emit("", False)
    session.changed.emit()
    return run


def save_trained(session: Session, trained: Trained, name: str, *, use: bool) -> ScoringModel:
    """Write the model among the user's own; `use` makes it the one that scores.

    Raises
    ------
    ModelError, OutputError
        If the name cannot be taken, or the model cannot be written.
    """
    from napari_her2.training.laboratory import laboratory_card, save_laboratory_model

    card = laboratory_card(trained.base, trained.learned, trained.comparison, trained.params, trained.source)
    model = save_laboratory_model(name, trained.base, trained.head, trained.calibration, card)
    session.learned.emit(model)
    if use:
        session.model = model
    session.said.emit(f"The model {name} was saved" + (" and is chosen." if use else ": choose it in step 3."), False)
    session.changed.emit()
    return model
