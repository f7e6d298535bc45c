from __future__ import annotations

import numpy as np
import pytest
from grids import PITCH, cells, grid_of, grids, known, names_by_patient
from hypothesis import assume, given
from hypothesis import strategies as st

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.errors import CoresError
from napari_her2.grid_edit import Axis, delete_line, insert_line, rename_line, shift_line
from napari_her2.naming import Naming, parse_labels

axes = st.sampled_from(["row", "column"])


def count(grid: CoreGrid, axis: Axis, block: str = "") -> int:
    return 1 + max(getattr(c, axis) for c in grid if c.block == block and c.row >= 0)


def drawn_line(grid: CoreGrid, axis: Axis, data: st.DataObject) -> tuple[int, str]:
    """A line of a block."""
    block = data.draw(st.sampled_from(sorted({c.block for c in grid if c.row >= 0})))
    return data.draw(st.integers(0, count(grid, axis, block) - 1)), block


# --- insert and delete --------------------------------------------------------------------------------------------


def test_a_row_comes_in_between() -> None:
    grid = insert_line(grid_of(3, 4), "row", 1)
    assert cells(grid) == {f"{r}-{c}": ("", "ABCD".index(r), c - 1) for r in "ABCD" for c in range(1, 5)}
    assert {c.name for c in grid if c.state is CoreState.MISSING} == {"B-1", "B-2", "B-3", "B-4"}
    assert grid["C-2"].patient_id == "/1/1"
    assert (grid["B-3"].y, grid["B-3"].x) == pytest.approx((1000 + PITCH / 2, 1000 + 2 * PITCH), abs=1)
    assert grid["B-3"].diameter == 85


def test_a_column_comes_in_where_there_is_room() -> None:
    whole = grid_of(3, 6, degrees=20)
    hole = CoreGrid(tuple(c for c in whole if c.column != 3))
    closed = CoreGrid(tuple(Core(c.name, c.row, c.column - (c.column > 3), c.y, c.x, 85) for c in hole))
    grid = insert_line(closed, "column", 3)
    for row in range(3):
        new = next(c for c in grid if (c.row, c.column) == (row, 3))
        old = next(c for c in whole if (c.row, c.column) == (row, 3))
        assert (new.y, new.x) == pytest.approx((old.y, old.x), abs=2)


@pytest.mark.parametrize(("axis", "at", "step"), [("row", 0, (-1, 0)), ("row", 3, (3, 0)), ("column", 4, (0, 4))])
def test_beyond_the_border_the_pitch_goes_on(axis: Axis, at: int, step: tuple[int, int]) -> None:
    grid = insert_line(grid_of(3, 4), axis, at)
    first = next(c for c in grid if getattr(c, axis) == at)
    assert (first.y, first.x) == pytest.approx((1000 + PITCH * step[0], 1000 + PITCH * step[1]), abs=1)


def test_labels_that_count_down_go_on_at_the_start() -> None:
    grid = grid_of(8, 2, Naming(parse_labels("H-A"), parse_labels("01-02")))
    behind = insert_line(grid, "row", 8)
    assert next(c.name for c in behind if c.row == 0) == "I-01"
    assert next(c.name for c in behind if c.row == 8) == "A-01"
    before = insert_line(grid, "row", 0)
    assert {c.name for c in grid} < {c.name for c in before}
    assert {c.row for c in before if c.name.startswith("I-")} == {0}


def test_lists_without_a_pattern_get_one_label_more() -> None:
    grid = insert_line(grid_of(4, 1, Naming(parse_labels("A B D E"))), "row", 2)
    assert [c.name for c in grid] == ["A-1", "B-1", "C-1", "D-1", "E-1"]
    grid = delete_line(grid_of(3, 1, Naming(parse_labels("tumour normal liver"))), "row", 1)
    assert [c.name for c in grid] == ["tumour-1", "liver-1"]


def test_what_comes_after_a_deleted_row_moves_up() -> None:
    grid = delete_line(grid_of(3, 2), "row", 1)
    assert names_by_patient(grid) == {"/0/0": "A-1", "/0/1": "A-2", "/2/0": "B-1", "/2/1": "B-2"}


def test_other_blocks_stay_as_they_are() -> None:
    two = CoreGrid((*grid_of(3, 2, block="1"), *grid_of(4, 2, block="2", at=(1000, 3000))))
    grid = insert_line(two, "row", 0, "2")
    assert [c for c in grid if c.block == "1"] == [c for c in two if c.block == "1"]
    assert grid["2:E-1"].patient_id == "2/3/0"
    with pytest.raises(CoresError, match="Say which block is meant: 1, 2"):
        insert_line(two, "row", 0)


def test_names_that_fit_both_orders_are_read_in_that_in_which_labels_count() -> None:
    grid = CoreGrid((Core("C-A", 0, 2, 1000.0, 1200.0, 85), Core("A-B", 1, 0, 1100.0, 1000.0, 85)))
    assert {c.name for c in insert_line(grid, "row", 1)} == {"C-A", "A-B", "B-B", "C-B", "A-C"}
    assert set(delete_line(insert_line(grid, "row", 1), "row", 1)) == set(grid)


@given(grids(plain=True), axes, st.data())
def test_insert_then_delete_restores(grid: CoreGrid, axis: Axis, data: st.DataObject) -> None:
    at, block = drawn_line(grid, axis, data)
    at += data.draw(st.integers(0, 1))
    there = insert_line(grid, axis, at, block)
    assert known(there) == known(grid)
    assert set(delete_line(there, axis, at, block)) == set(grid)


@given(grids(), axes, st.data())
def test_deleting_takes_the_line_and_nothing_else(grid: CoreGrid, axis: Axis, data: st.DataObject) -> None:
    index, block = drawn_line(grid, axis, data)
    gone = [c for c in grid if c.block == block and c.row >= 0 and getattr(c, axis) == index]
    assume(any(c.row >= 0 and c not in gone for c in grid))
    left = delete_line(grid, axis, index, block)
    assert known(left) == known(grid) - known(CoreGrid(tuple(gone)))
    assert len(left) == len(grid) - len(gone)


@given(grids(), axes, st.data())
def test_inserting_loses_nothing(grid: CoreGrid, axis: Axis, data: st.DataObject) -> None:
    at, block = drawn_line(grid, axis, data)
    more = insert_line(grid, axis, at, block)
    assert known(more) == known(grid)
    assert count(more, axis, block) == count(grid, axis, block) + 1
    assert {c.patient_id for c in grid} == {c.patient_id for c in more if c.patient_id} | {
        c.patient_id for c in grid if not c.patient_id
    }


@pytest.mark.parametrize("at", [-1, 4])
def test_lines_that_are_not_there(at: int) -> None:
    with pytest.raises(CoresError, match=r"3 rows.*not at"):
        insert_line(grid_of(3, 2), "row", at)
    with pytest.raises(CoresError, match="There is no row"):
        delete_line(grid_of(3, 2), "row", at)
    with pytest.raises(CoresError, match="no core is on the grid"):
        delete_line(CoreGrid(), "row", 0)


def test_the_only_line_stays() -> None:
    with pytest.raises(CoresError, match="only row"):
        delete_line(grid_of(1, 4), "row", 0)


# --- rename -------------------------------------------------------------------------------------------------------


def test_a_line_gets_another_label() -> None:
    grid = rename_line(grid_of(3, 2), "row", 1, "K")
    assert [c.name for c in grid] == ["A-1", "A-2", "K-1", "K-2", "C-1", "C-2"]
    grid = rename_line(grid, "column", 0, " left ")
    assert [c.name for c in grid] == ["A-left", "A-2", "K-left", "K-2", "C-left", "C-2"]


@pytest.mark.parametrize(("label", "why"), [("C", "comes twice"), ("A-B", "cannot label"), ("", "cannot label")])
def test_a_label_that_cannot_be(label: str, why: str) -> None:
    with pytest.raises(CoresError, match=why):
        rename_line(grid_of(3, 2), "row", 1, label)


def test_names_of_their_own_stay_and_give_way_only_to_the_scheme() -> None:
    cores = list(grid_of(2, 2))
    cores[3] = Core("control", 1, 1, cores[3].y, cores[3].x, 85)
    cores.append(Core("K-1", -1, -1, 0, 0, 85, patient_id="off"))
    grid = rename_line(CoreGrid(tuple(cores)), "row", 1, "K")
    assert [c.name for c in grid] == ["A-1", "A-2", "K-1", "control", "X-1"]
    assert grid["X-1"].patient_id == "off"


# --- shift --------------------------------------------------------------------------------------------------------


def test_a_row_whose_first_core_was_not_seen() -> None:
    grid = grid_of(3, 4, missing=("B-4",))
    shifted = shift_line(grid, "row", 1, 1)
    assert {p: n for p, n in names_by_patient(shifted).items() if p.startswith("/1")} == {
        "/1/0": "B-2",
        "/1/1": "B-3",
        "/1/2": "B-4",
    }
    assert len(shifted) == 12
    assert shifted["B-1"].state is CoreState.MISSING
    assert (shifted["B-1"].y, shifted["B-1"].x) == pytest.approx((1000 + PITCH, 1000 - PITCH), abs=2)


def test_tissue_that_would_leave_makes_the_grid_wider() -> None:
    shifted = shift_line(grid_of(3, 4), "row", 1, 1)
    assert names_by_patient(shifted)["/1/3"] == "B-5"
    assert names_by_patient(shifted)["/0/3"] == "A-4"
    assert len(shifted) == 13
    # before the first column there is no name: the other rows move along
    shifted = shift_line(grid_of(3, 4), "row", 1, -1)
    assert names_by_patient(shifted)["/1/0"] == "B-1"
    assert names_by_patient(shifted)["/0/0"] == "A-2"


def test_a_column_is_shifted_too() -> None:
    shifted = shift_line(grid_of(3, 4), "column", 2, 1)
    assert names_by_patient(shifted)["/2/2"] == "D-3"
    assert shifted["A-3"].state is CoreState.MISSING


def test_the_only_row_begins_at_the_first_column() -> None:
    with pytest.raises(CoresError, match="only row"):
        shift_line(grid_of(1, 4), "row", 0, -1)


@given(grids(plain=True, full=True), axes, st.sampled_from([-2, -1, 1, 2]), st.data())
def test_shift_and_back_restores(grid: CoreGrid, axis: Axis, by: int, data: st.DataObject) -> None:
    index, block = drawn_line(grid, axis, data)
    assume(count(grid, "row", block) > 1 and count(grid, "column", block) > 1)
    there = shift_line(grid, axis, index, by, block)
    assert known(there) == known(grid)
    back = shift_line(there, axis, index, -by, block)
    # where a core without tissue left, another stands in its cell
    assert cells(back) == cells(grid)
    assert names_by_patient(back) == names_by_patient(grid)
    for core in back:
        assert np.hypot(core.y - grid[core.name].y, core.x - grid[core.name].x) < 0.5 * PITCH


@given(grids(), axes, st.sampled_from([-1, 1]), st.data())
def test_shifting_loses_nothing(grid: CoreGrid, axis: Axis, by: int, data: st.DataObject) -> None:
    index, block = drawn_line(grid, axis, data)
    assume(len({getattr(c, axis) for c in grid if c.block == block and c.row >= 0}) > 1)
    shifted = shift_line(grid, axis, index, by, block)
    assert known(shifted) == known(grid)
    where = [(c.block, c.row, c.column) for c in shifted if c.row >= 0]
    assert len(where) == len(set(where))
