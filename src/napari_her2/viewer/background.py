"""Background: one function at a time in another thread, which can be given up; what is told when it fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from napari.qt.threading import create_worker

from napari_her2.errors import HER2Error

__all__ = ["Background", "sentence"]

_LOG = logging.getLogger(__name__)


class Background:
    """Runs a function in another thread and hands its result, or its error, to the main thread."""

    def __init__(self) -> None:
        #: What is being done, as in "Looking for cores"; "" when nothing is.
        self.name = ""
        self._job = 0

    def start(self, name: str, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Run `work`; `then` gets what it returned or the exception that it raised, unless it was given up."""
        self._job += 1
        job, self.name = self._job, name

        def guarded() -> tuple[Any]:
            # wrapped: napari's worker raises an exception that it is returned bare
            try:
                return (work(),)
            except Exception as error:
                return (error,)

        def receive(result: tuple[Any]) -> None:
            if job == self._job:
                self.name = ""
                then(*result)

        worker = create_worker(guarded)
        worker.returned.connect(receive)
        worker.start()

    def give_up(self) -> None:
        """Take no notice of the result; the thread ends by itself."""
        self._job += 1
        self.name = ""


def sentence(error: BaseException, doing: str) -> str:
    """One sentence for the user; what is no error of theirs goes to the log in full."""
    if isinstance(error, HER2Error):
        return str(error)
    _LOG.error("%s failed", doing, exc_info=error)
    return f"{doing} stopped at an unexpected error ({type(error).__name__}: {error}); what is done is kept."
