"""Ctrl-C that waits for the end of a step, so that what is kept of it is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["interrupt_noted"]


@contextmanager
def interrupt_noted(tell: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Note the first Ctrl-C rather than raise it; the second is raised at once.

    In a thread that is not the main one, where Python handles no signals, nothing changes.

    Parameters
    ----------
    tell : callable
        Called at the first Ctrl-C.

    Yields
    ------
    callable
        Says whether Ctrl-C was pressed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    pressed = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: Any) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()
        tell()

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
