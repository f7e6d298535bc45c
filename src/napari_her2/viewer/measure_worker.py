"""Measuring in the background: one run over some cores of one slide, into the features of its cores."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import suppress
from typing import Any

from napari.components import LayerList
from napari.layers import Image, Shapes
from napari.qt.threading import create_worker
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_her2.cores import Core
from napari_her2.errors import HER2Error
from napari_her2.measure import Measurement, MeasureParams, measure_cores
from napari_her2.regions import Region
from napari_her2.scores import Places
from napari_her2.slide import Slide
from napari_her2.stain import Stains
from napari_her2.viewer.cores_measured import set_measured
from napari_her2.viewer.score_worker import sentence, time_left

__all__ = ["MeasureRun"]

#: Runs that go on; a run outlives the widget that began it until its last core is written.
_RUNNING: set[MeasureRun] = set()
#: Seconds between two writings of the layer, at least; with many cores, four times as long as the last one took.
_FLUSH = 0.3


class MeasureRun:
    """One run; to the session it is a run like one of scoring, and goes where that goes.

    Cores that are done are gathered and written a few times a second; after `cancel` the core that is being measured
    is still finished, and everything finished is kept.

    `places`: where the network saw tumour, by core name. `regions`: all that were drawn on the slide. `keep` is given
    each measurement with its cells, and whether the network told which count.

    Signals: `progressed()` after each core, `ended(message)` once, "" when all went well.
    """

    #: What happens to cores, and what that is called.
    doing, work = "measured", "Measuring"
    progressed = Signal()
    ended = Signal(str)

    def __init__(
        self,
        layers: LayerList,
        image: Image,
        cores_layer: Shapes,
        slide: Slide,
        cores: Iterable[Core],
        stains: Stains,
        params: MeasureParams,
        places: Mapping[str, Places],
        regions: tuple[Region, ...],
        keep: Callable[[Measurement, bool], None],
    ) -> None:
        self.layers, self.image, self.cores_layer, self.slide = layers, image, cores_layer, slide
        self.cores, self.stains, self.params = list(cores), stains, params
        self.places, self.regions, self._keep = places, regions, keep
        self.done, self.failed, self.stale, self.running = 0, 0, 0, False
        self._pending: list[Measurement] = []
        self._message, self._stop = "", threading.Event()
        self._begun = time.monotonic()
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.flush)
        self._pause = _FLUSH

    def start(self) -> None:
        """Begin; returns at once."""
        self.running, self._begun = True, time.monotonic()
        _RUNNING.add(self)
        how = (self.stains, self.params, self.places, self.regions)
        worker = create_worker(_work, self.slide, self.cores, *how, self._stop)
        worker.yielded.connect(self._receive)
        worker.finished.connect(self._finish)
        worker.start()

    def cancel(self, why: str = "") -> None:
        """Stop after the core that is being measured; `why` is told at the end."""
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
        """As in "12 of 140 cores measured, about 1 min left"."""
        text = f"{self.done} of {len(self.cores)} cores measured"
        if self.cancelled:
            return f"{text}, stopping after this one"
        if not self.done:
            return text
        spent = time.monotonic() - self._begun
        return f"{text}, {time_left(spent / self.done * (len(self.cores) - self.done))}"

    def flush(self) -> None:
        """Write the cores that are done into the layer, if it is still there."""
        pending, self._pending = self._pending, []
        if not pending or self.cores_layer not in self.layers:
            return
        start = time.monotonic()
        try:
            written = set_measured(self.cores_layer, self.slide, pending, self.places)
        except HER2Error as error:  # the table was edited into something that is no grid
            self.cancel(str(error))
            return
        self.stale += len(pending) - len(written)
        self._pause = max(_FLUSH, 4 * (time.monotonic() - start))

    def _receive(self, item: Measurement | Exception) -> None:
        if isinstance(item, Exception):
            self._message = sentence(item, "Measuring")
            return
        self.done += 1
        self.failed += not item.score
        self._pending.append(item)
        self._keep(item, item.core is not None and item.core.name in self.places)
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
    slide: Slide,
    cores: list[Core],
    stains: Stains,
    params: MeasureParams,
    places: Mapping[str, Places],
    regions: tuple[Region, ...],
    stop: threading.Event,
) -> Generator[Measurement | Exception, None, None]:
    try:
        for measured in measure_cores(slide, cores, stains, params, places=places, regions=regions):
            yield measured
            if stop.is_set():
                return
    except Exception as error:
        yield error
