"""Autosave: the cores of a slide, written a moment after each change, so that a crash loses nothing."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

from napari.layers import Shapes
from platformdirs import user_data_path
from qtpy.QtCore import QTimer

from napari_her2.errors import HER2Error
from napari_her2.slide import Slide
from napari_her2.viewer.cores_watch import CoresWatch
from napari_her2.viewer.grid_files import writer_of_cores

__all__ = ["Autosave", "autosave_path", "saved_when"]

_LOG = logging.getLogger(__name__)
#: Seconds of quiet after a change before the cores are written.
_QUIET = 2.0
#: Days after which what was saved for a slide that nobody opened again is deleted.
_DAYS = 90


class Autosave:
    """Writes the layer of cores that a `CoresWatch` looks after into `autosave_path`."""

    def __init__(self, watch: CoresWatch) -> None:
        self._watch = watch
        self._pending: tuple[Slide, Shapes] | None = None
        self._thread: Thread | None = None
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._begin)
        watch.changed.connect(self._later)

    def flush(self) -> None:
        """Write what has changed since, and wait until it is written."""
        self._begin()
        if self._thread is not None:
            self._thread.join()

    def _begin(self) -> None:
        """Read the layer here, and write in another thread: five hundred cores with outlines take half a second."""
        with suppress(RuntimeError):  # when the application ends, Qt may have taken the timer already
            self._timer.stop()
        pending, self._pending = self._pending, None
        if pending is None or not pending[1].nshapes:
            return
        slide, layer = pending
        if self._thread is not None:
            self._thread.join()
        try:
            write = writer_of_cores(autosave_path(slide), layer, slide)
        except HER2Error:  # the table was edited into something that is no grid, which the user is told elsewhere
            return
        self._thread = Thread(target=_write, args=(slide, write))
        self._thread.start()

    def _later(self) -> None:
        if self._watch.layer is not None and self._watch.slide is not None:
            self._pending = self._watch.slide, self._watch.layer
            self._timer.start(int(1000 * _QUIET))


def _write(slide: Slide, write: Callable[[], str]) -> None:
    """A disk that cannot take it must not stop the work: it only goes to the log."""
    try:
        autosave_path(slide).parent.mkdir(parents=True, exist_ok=True)
        write()
        _clear_old(autosave_path(slide).parent)
    except (OSError, HER2Error) as error:
        _LOG.warning("The cores of %s could not be saved against a crash: %s", slide.name, error)


def _clear_old(folder: Path) -> None:
    for old in folder.glob("*.cores.geojson"):
        if time.time() - old.stat().st_mtime > _DAYS * 86_400:
            old.unlink()


def autosave_path(slide: Slide) -> Path:
    """The file for a slide: its name does not tell that of the slide, which may name a patient."""
    what = f"{slide.path.resolve() if slide.path else slide.name} {slide.shape}"
    folder = user_data_path("napari-her2", appauthor=False) / "autosave"
    return folder / f"{hashlib.sha256(what.encode()).hexdigest()[:24]}.cores.geojson"


def saved_when(slide: Slide) -> float | None:
    """When the cores of a slide were saved last, in seconds of `time.time`; None when they never were."""
    try:
        return autosave_path(slide).stat().st_mtime
    except OSError:
        return None
