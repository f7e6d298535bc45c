"""Scoring in the background: one run over some cores of one slide, into the layers of that slide."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from napari.components import LayerList
from napari.layers import Image, Shapes
from napari.qt.threading import create_worker
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_her2.cores import Core
from napari_her2.errors import HER2Error
from napari_her2.heatmap import Heatmap
from napari_her2.models import ScoringModel
from napari_her2.scores import CoreScore
from napari_her2.slide import Slide
from napari_her2.viewer.cores_scores import set_scores
from napari_her2.viewer.heatmap_layer import add_heatmap_layer, find_heatmap_layer, heatmap_of_layer, redraw

__all__ = ["ScoreRun", "sentence", "time_left"]

_LOG = logging.getLogger(__name__)
#: Runs that go on; a run outlives the widget that began it until its last core is written.
_RUNNING: set[ScoreRun] = set()
#: Seconds between two writings of the layers, at least; with many cores, four times as long as the last one took.
_FLUSH = 0.3


class ScoreRun:
    """One run. It holds the layers themselves, so that renaming them or looking at another slide changes nothing.

    Cores that are done are gathered and written a few times a second; after `cancel` the core that is being judged
    is still finished, and everything finished is kept.

    Signals: `progressed()` after each core, `ended(message)` once, "" when all went well.
    """

    #: What happens to cores, and what that is called.
    doing, work = "scored", "Scoring"
    progressed = Signal()
    ended = Signal(str)

    def __init__(
        self,
        layers: LayerList,
        image: Image,
        cores_layer: Shapes,
        slide: Slide,
        cores: Iterable[Core],
        model: ScoringModel,
        device: str,
    ) -> None:
        self.layers, self.image, self.cores_layer, self.slide = layers, image, cores_layer, slide
        self.cores, self.model, self.device = list(cores), model, device
        self.done, self.failed, self.stale, self.running = 0, 0, 0, False
        self._pending: list[CoreScore] = []
        self._message, self._stop = "", threading.Event()
        self.flags: tuple[str, ...] = ()
        self._heatmap_layer = find_heatmap_layer(layers, image)
        self._begun = time.monotonic()
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.flush)
        self._pause = _FLUSH

    def start(self) -> None:
        """Begin; returns at once."""
        self.running, self._begun = True, time.monotonic()
        _RUNNING.add(self)
        worker = create_worker(_work, self.slide, self.cores, self.model, self.device, self._stop)
        worker.yielded.connect(self._receive)
        worker.finished.connect(self._finish)
        worker.start()

    def cancel(self, why: str = "") -> None:
        """Stop after the core that is being judged; `why` is told at the end."""
        self._stop.set()
        self._message = self._message or why

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._stop.is_set()

    def uses(self, layer: Any) -> bool:
        """Whether the run reads or writes that layer."""
        return layer in (self.image, self.cores_layer, self._heatmap_layer)

    def progress_text(self) -> str:
        """As in "12 of 140 cores, about 1 min left"."""
        text = f"{self.done} of {len(self.cores)} cores"
        if self.cancelled:
            return f"{text}, stopping after this one"
        if not self.done:
            return f"{text}, the network is made ready"
        spent = time.monotonic() - self._begun
        return f"{text}, {time_left(spent / self.done * (len(self.cores) - self.done))}"

    def flush(self) -> None:
        """Write the cores that are done into the layers that are still there."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        start = time.monotonic()
        written = pending
        if self.cores_layer in self.layers:
            try:
                written = set_scores(self.cores_layer, self.slide, pending)
            except HER2Error as error:  # the table was edited into something that is no grid
                self.cancel(str(error))
                return
            self.stale += len(pending) - len(written)
        self._draw(written)
        self._pause = max(_FLUSH, 4 * (time.monotonic() - start))

    def _draw(self, scores: list[CoreScore]) -> None:
        if self._heatmap_layer is not None and self._heatmap_layer not in self.layers:
            return
        if self._heatmap_layer is None:
            if self.image not in self.layers or not any(s.places is not None for s in scores):
                return
            heatmap = Heatmap.of(self.slide)
            self._heatmap_layer = add_heatmap_layer(self.layers, self.image, self.cores_layer, heatmap)
        heatmap = heatmap_of_layer(self._heatmap_layer)
        for score in scores:
            heatmap.add(score)
        redraw(self._heatmap_layer)

    def _receive(self, item: CoreScore | tuple[str, ...] | Exception) -> None:
        if isinstance(item, Exception):
            self._message = sentence(item, "Scoring")
            return
        if isinstance(item, tuple):
            self.flags = item
            return
        self.done += 1
        self.failed += not item.score
        self._pending.append(item)
        if not self._timer.isActive():
            self._timer.start(int(1000 * self._pause))
        self.progressed.emit()

    def _finish(self) -> None:
        with suppress(RuntimeError):  # when the application ends, Qt may have taken the timer already
            self._timer.stop()
        self.flush()
        self.running = False
        _RUNNING.discard(self)
        self.ended.emit(self._message)


def _work(
    slide: Slide, cores: list[Core], model: ScoringModel, device: str, stop: threading.Event
) -> Generator[CoreScore | tuple[str, ...] | Exception, None, None]:
    try:
        # in this thread and not before: it may bring in torch or OpenVINO, which take seconds
        from napari_her2.scoring import score_cores, slide_flags

        scores, done = score_cores(slide, cores, model, device=device), list[CoreScore]()
        for score in scores:
            yield score
            done.append(replace(score, places=None))
            if stop.is_set():
                scores.close()  # type: ignore[attr-defined]
                return
        yield slide_flags(slide, done, model)
    except Exception as error:
        yield error


def sentence(error: BaseException, doing: str) -> str:
    """One sentence for the user; what is no error of theirs goes to the log in full."""
    if isinstance(error, HER2Error):
        return str(error)
    _LOG.error("%s failed", doing, exc_info=error)
    return f"{doing} stopped at an unexpected error ({type(error).__name__}: {error}); what is done is kept."


def time_left(seconds: float) -> str:
    """Rough words for a time.

    Examples
    --------
    >>> time_left(3), time_left(44), time_left(100), time_left(7300)
    ('a few seconds left', 'about 40 s left', 'about 2 min left', 'about 2 h left')
    """
    if seconds < 5:
        return "a few seconds left"
    if seconds < 55:
        return f"about {max(1, round(seconds / 10)) * 10} s left"
    return f"about {max(1, round(seconds / 60))} min left" if seconds < 5400 else f"about {seconds / 3600:.0f} h left"
