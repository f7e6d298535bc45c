"""Background: one function at a time in another thread, which can be given up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.qt.threading import create_worker

__all__ = ["Background"]


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
