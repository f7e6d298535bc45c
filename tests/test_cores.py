from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.errors import CoresError
from napari_her2.naming import core_name, row_letters


def grid() -> CoreGrid:
    return CoreGrid(tuple(Core(core_name(r, c), r, c, 10.0 * r, 10.0 * c, 8.0) for r in range(3) for c in range(12)))


@given(st.integers(0, 2000))
def test_row_letters_count_like_a_spreadsheet(row: int):
    number = 0
    for letter in row_letters(row):
        number = 26 * number + ord(letter) - ord("A") + 1
    assert number == row + 1


def test_names_are_unique():
    with pytest.raises(CoresError, match="Two cores are called A-1"):
        CoreGrid((Core("A-1", 0, 0, 0, 0, 1), Core("A-1", 0, 1, 0, 9, 1)))


@pytest.mark.parametrize(
    ("pattern", "count"), [("A-*", 12), ("a-1", 1), ("*-1", 3), ("A-1, B-1*", 5), (["C-*", "A-1"], 13), ("*", 36)]
)
def test_select(pattern: str | list[str], count: int):
    assert len(grid().select(pattern)) == count


def test_select_keeps_grid_order():
    assert [c.name for c in grid().select("C-1,A-2")] == ["A-2", "C-1"]


@pytest.mark.parametrize("pattern", ["Z-*", "A-1,Q-9", "", " , "])
def test_select_nothing_is_said(pattern: str):
    with pytest.raises(CoresError, match=r"No core matches|selection is empty"):
        grid().select(pattern)


def test_states_and_replacing():
    changed = grid().with_state(["A-1", "A-2"], CoreState.MISSING)
    assert len(changed.scorable) == 34
    assert len(changed.with_core(Core("Z-1", -1, -1, 0, 0, 1))) == 37
    assert changed.with_core(Core("A-1", 0, 0, 5, 5, 1))["A-1"].y == 5
    with pytest.raises(KeyError):
        changed["Q-1"]


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0.1, 40))
def test_box_holds_the_disc(y: float, x: float, diameter: float):
    y0, x0, y1, x1 = Core("A-1", 0, 0, y, x, diameter).box
    assert y1 - y0 >= 1
    assert x1 - x0 >= 1
    assert abs((y1 - y0) - diameter) <= 1.001
    assert abs((y0 + y1) / 2 - y) <= 1
    assert abs((x0 + x1) / 2 - x) <= 1
