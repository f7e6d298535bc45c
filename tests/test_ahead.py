from __future__ import annotations

from concurrent.futures import Future
from threading import Event

import pytest

from napari_her2.ahead import in_two_steps


def negative(half: Future[int]) -> int:
    return -half.result()


def test_all_come_through_both_steps_in_order():
    assert list(in_two_steps(range(9), lambda item: 10 * item, negative)) == [-10 * item for item in range(9)]
    assert list(in_two_steps([], lambda item: item, negative)) == []


def test_work_goes_on_while_the_consumer_is_busy():
    judged, read = Event(), Event()

    def second(half: Future[int]) -> int:
        if half.result() == 1:
            judged.set()
        return half.result()

    run = in_two_steps(range(5), lambda item: (item, read.set() if item == 2 else None)[0], second)
    assert next(run) == 0
    assert judged.wait(10)
    assert read.wait(10)
    run.close()


def test_no_more_is_begun_than_asked_for():
    begun: list[int] = []
    run = in_two_steps(range(9), lambda item: begun.append(item) or item, negative, ahead=1)
    assert [next(run), next(run)] == [0, -1]
    run.close()  # waits for what is being read
    assert len(begun) <= 3


@pytest.mark.parametrize("step", [0, 1])
def test_an_error_comes_when_its_turn_has_come(step: int):
    def fail(number: int) -> int:
        if number == 2:
            raise ValueError("the third")
        return number

    def second(half: Future[int]) -> int:
        return fail(half.result()) if step else half.result()

    run = in_two_steps(range(5), fail if step == 0 else int, second)
    assert [next(run), next(run)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(run)
    assert list(run) == []


def test_closing_does_not_wait_for_a_second_step_and_begins_no_other():
    go, running, entered = Event(), Event(), []

    def second(half: Future[int]) -> int:
        entered.append(half.result())
        if len(entered) == 2:
            running.set()
            assert go.wait(10)
        return half.result()

    run = in_two_steps(range(9), int, second)
    assert next(run) == 0
    assert running.wait(10)
    run.close()
    go.set()
    assert entered == [0, 1]
