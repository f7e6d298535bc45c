"""CoreRun: cores judged one after the other in another thread, into the layers of their slide."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable
from contextlib import closing, suppress
from typing import Any, ClassVar, Generic, TypeVar

from napari.components import LayerList
from napari.layers import Image, Shapes
from napari.qt.threading import create_worker
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_her2.cores import Core
from napari_her2.errors import HER2Error
from napari_her2.export import Page
from napari_her2.measure import Measurement
from napari_her2.scores import CoreScore
from napari_her2.slide import Slide
from napari_her2.viewer.background import sentence

__all__ = ["CoreRun", "time_left"]

#: What is said of one core.
Result = TypeVar("Result", CoreScore, Measurement, Page)

#: Runs that go on; a run outlives the widget that began it until its last core is written.
_RUNNING: set[CoreRun[Any]] = set()
#: Seconds between two writings of the layers, at least; with many cores, four times as long as the last one took.
_FLUSH = 0.3


class CoreRun(Generic[Result]):
    """One run. It holds the layers themselves, so that renaming them or looking at another slide changes nothing.

    Cores that are done are gathered and written a few times a second; after `cancel` the core that is being judged
    is still finished, and everything finished is kept. What is done to a core is said by `judge`, and how it comes
    into the layer by `write`.

    Signals: `progressed()` after each core, `ended(message)` once, "" when all went well.
    """

    #: What happens to cores, and what that is called.
    doing: ClassVar[str]
    work: ClassVar[str]
    #: What is counted while it goes on, and what is told until the first core is done.
    counted: ClassVar[str] = "cores"
    preparing: ClassVar[str] = ""
    progressed = Signal()
    ended = Signal(str)

    def __init__(
        self, layers: LayerList, image: Image, cores_layer: Shapes | None, slide: Slide, cores: Iterable[Core]
    ) -> None:
        self.layers, self.image, self.cores_layer, self.slide = layers, image, cores_layer, slide
        self.cores = list(cores)
        self.done, self.failed, self.stale, self.running = 0, 0, 0, False
        self._pending: list[Result] = []
        self._message, self._stop = "", threading.Event()
        self._begun = time.monotonic()
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.flush)
        self._pause = _FLUSH

    # --- what each kind of run does for itself ---------------------------------------------------------------------

    def judge(self) -> Generator[Result, None, None]:
        """Core after core, in the thread; after `cancel` it is closed."""
        raise NotImplementedError

    def write(self, results: list[Result]) -> list[Result]:
        """Write into the layer of cores, which is there; those that were written, for cores still in their places.

        Raises
        ------
        HER2Error
            If the table was edited into something that is no grid.
        """
        raise NotImplementedError

    def draw(self, results: list[Result]) -> None:
        """Show what was written elsewhere, too."""

    def failed_on(self, result: Result) -> bool:
        """Whether nothing came of a core."""
        return not result.score

    # --- what they have in common ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; returns at once."""
        self.running, self._begun = True, time.monotonic()
        _RUNNING.add(self)
        worker = create_worker(self._work)
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
        return layer in (self.image, self.cores_layer)

    def progress_text(self) -> str:
        """As in "12 of 140 cores, about 1 min left"."""
        text = f"{self.done} of {len(self.cores)} {self.counted}"
        if self.cancelled:
            return f"{text}, stopping after this one"
        if not self.done:
            return f"{text}{self.preparing}"
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
                written = self.write(pending)
            except HER2Error as error:
                self.cancel(str(error))
                return
            self.stale += len(pending) - len(written)
        self.draw(written)
        self._pause = max(_FLUSH, 4 * (time.monotonic() - start))

    def _work(self) -> Generator[Result | Exception, None, None]:
        try:
            with closing(self.judge()) as results:
                for result in results:
                    yield result
                    if self.cancelled:
                        return
        except Exception as error:
            yield error

    def _receive(self, item: Result | Exception) -> None:
        if isinstance(item, Exception):
            self._message = sentence(item, self.work)
            return
        self.done += 1
        self.failed += self.failed_on(item)
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
