"""Ctrl-C that waits for the end of a step."""

from __future__ import annotations

import signal
import threading

import pytest

from napari_her2.training.interrupt import interrupt_noted


def test_the_first_is_noted_and_the_second_raised():
    before, told = signal.getsignal(signal.SIGINT), []
    with interrupt_noted(lambda: told.append("stopping")) as pressed:
        assert not pressed()
        signal.raise_signal(signal.SIGINT)
        assert pressed()
        assert told == ["stopping"]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert told == ["stopping"]
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_nothing_changes():
    said = []

    def work() -> None:
        with interrupt_noted(lambda: None) as pressed:
            said.append((pressed(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert said == [(False, signal.getsignal(signal.SIGINT))]
