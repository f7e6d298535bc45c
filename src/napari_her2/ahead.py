"""Two steps of work on each of many items, each step in its own thread, so that neither waits for the consumer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_two_steps"]

Item = TypeVar("Item")
Half = TypeVar("Half")
Whole = TypeVar("Whole")


def in_two_steps(
    items: Iterable[Item],
    first: Callable[[Item], Half],
    second: Callable[[Future[Half]], Whole],
    *,
    ahead: int = 2,
) -> Generator[Whole, None, None]:
    """Take each item through two steps and yield what comes out, in order.

    While the consumer works on one item, the second step of the next and the first step of the one after it go on.
    Closing the generator cancels what has not begun; a second step that runs then ends by itself.

    Parameters
    ----------
    items : iterable
    first : callable
    second : callable
        Called with the future of what `first` gives, so that it can make itself ready meanwhile.
    ahead : int
        Items begun beyond the one that is waited for, at most.

    Yields
    ------
    What `second` gives. What either step raises is raised when its item's turn has come.
    """
    readers = ThreadPoolExecutor(1, thread_name_prefix="her2-read")
    runners = ThreadPoolExecutor(1, thread_name_prefix="her2-network")
    coming: deque[Future[Whole]] = deque()
    try:
        for item in items:
            coming.append(runners.submit(second, readers.submit(first, item)))
            if len(coming) > ahead:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        runners.shutdown(wait=False, cancel_futures=True)
        readers.shutdown(wait=True, cancel_futures=True)
