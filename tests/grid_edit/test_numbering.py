from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from grids import cells, grid_of, grids, known, names_by_patient
from hypothesis import assume, given
from hypothesis import strategies as st

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.errors import CoresError
from napari_her2.grid_edit import Corner, rename, renumber, replicates, swap_order, transpose
from napari_her2.naming import Naming, naming_of, parse_labels

CORNERS: tuple[Corner, ...] = ("top-left", "top-right", "bottom-left", "bottom-right")


# --- rename -------------------------------------------------------------------------------------------------------


def test_all_cores_on_the_grid_are_named_anew() -> None:
    grid = CoreGrid((*grid_of(2, 3), Core("X-1", -1, -1, 0, 0, 85), Core("01-B", -1, -1, 0, 9, 85)))
    named = rename(grid, Naming(parse_labels("B-A"), parse_labels("01-02"), row_first=False))
    assert [c.name for c in named] == ["01-B", "02-B", "03-B", "01-A", "02-A", "03-A", "X-1", "X-2"]
    assert names_by_patient(named)["/1/2"] == "03-A"


@given(grids(), grids(plain=True))
def test_a_scheme_taken_from_another_grid(grid: CoreGrid, other: CoreGrid) -> None:
    naming = naming_of(other)
    named = rename(grid, naming)
    assert known(named) == known(grid)
    assert [(c.row, c.column) for c in named] == [(c.row, c.column) for c in grid]
    sized = naming.sized(*(1 + max(n) for n in zip(*((c.row, c.column) for c in grid), strict=True)))
    assert all(c.name == sized.name(c.row, c.column, c.block) for c in named if c.row >= 0)


def test_two_cores_in_one_cell_cannot_both_be_named() -> None:
    with pytest.raises(CoresError, match=r"Two cores stand in the cell of A-1"):
        rename(CoreGrid((Core("A-1", 0, 0, 0, 0, 1), Core("B-1", 0, 0, 9, 0, 1))), Naming())


# --- renumber -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [0, 17, -44, 44])
@pytest.mark.parametrize(
    ("corner", "first", "last"),
    [
        ("top-left", "/0/0", "/2/3"),
        ("top-right", "/0/3", "/2/0"),
        ("bottom-left", "/2/0", "/0/3"),
        ("bottom-right", "/2/3", "/0/0"),
    ],
)
def test_names_are_counted_from_a_corner(degrees: float, corner: Corner, first: str, last: str) -> None:
    grid = renumber(grid_of(3, 4, degrees=degrees), corner)
    assert grid["A-1"].patient_id == first
    assert grid["C-4"].patient_id == last
    assert cells(grid) == cells(grid_of(3, 4))


def test_labels_that_count_down_count_up_from_the_corner() -> None:
    upside = grid_of(3, 2, Naming(parse_labels("C-A")))
    grid = renumber(upside, "bottom-left")
    assert names_by_patient(grid) == names_by_patient(upside)
    assert grid["A-1"].row == 0
    assert renumber(upside, "top-left")["A-1"].patient_id == "/0/0"


def test_blocks_that_are_numbers_are_counted_from_the_corner() -> None:
    blocks = [((1000, 1000), "1"), ((1000, 3000), "2"), ((3000, 1000), "3")]
    grid = CoreGrid(tuple(c for at, name in blocks for c in grid_of(2, 2, block=name, at=at)))
    turned = renumber(grid, "bottom-right")
    assert turned["1:A-1"].patient_id == "3/1/1"
    assert turned["2:A-1"].patient_id == "2/1/1"
    assert turned["3:B-2"].patient_id == "1/0/0"
    assert [c.block for c in turned] == ["1"] * 4 + ["2"] * 4 + ["3"] * 4
    lettered = CoreGrid(tuple(c for at, name in blocks for c in grid_of(2, 2, block="b" + name, at=at)))
    assert renumber(lettered, "bottom-right")["b1:A-1"].patient_id == "b1/1/1"


@given(grids(full=True), st.sampled_from(CORNERS), st.sampled_from(CORNERS))
def test_where_it_was_counted_from_before_does_not_matter(grid: CoreGrid, first: Corner, then: Corner) -> None:
    turned = renumber(renumber(grid, first), then)
    assert known(turned) == known(grid)
    straight = renumber(grid, then)
    assert {(c.patient_id, c.row, c.column, c.block) for c in turned} == {
        (c.patient_id, c.row, c.column, c.block) for c in straight
    }


@given(grids(plain=True, full=True), st.sampled_from(CORNERS))
def test_counting_from_the_same_corner_again_changes_nothing(grid: CoreGrid, corner: Corner) -> None:
    """Of grids whose names tell every label: where a core has a name of its own, its line's label may be a guess."""
    straight = renumber(grid, corner)
    assert renumber(straight, corner) == straight


@given(grids(plain=True, full=True), st.sampled_from(CORNERS))
def test_renumber_twice_restores(grid: CoreGrid, corner: Corner) -> None:
    straight = renumber(grid, "top-left")
    assert renumber(renumber(straight, corner), "top-left") == straight


def test_no_such_corner() -> None:
    with pytest.raises(CoresError, match="no corner"):
        renumber(grid_of(2, 2), "left")  # type: ignore[arg-type]
    assert renumber(CoreGrid(), "top-left") == CoreGrid()


# --- order --------------------------------------------------------------------------------------------------------


def test_column_first() -> None:
    assert [c.name for c in swap_order(grid_of(2, 2))] == ["1-A", "2-A", "1-B", "2-B"]


def test_rows_become_columns() -> None:
    grid = transpose(grid_of(2, 3, Naming(parse_labels("B-A"))))
    assert [(c.name, c.patient_id) for c in grid] == [
        *(("C-1", "/0/0"), ("C-2", "/1/0"), ("B-1", "/0/1"), ("B-2", "/1/1"), ("A-1", "/0/2"), ("A-2", "/1/2")),
    ]


@pytest.mark.parametrize("edit", [swap_order, transpose])
@given(grid=grids(plain=True, full=True))
def test_twice_restores(edit: Callable[[CoreGrid], CoreGrid], grid: CoreGrid) -> None:
    once = edit(grid)
    assert known(once) == known(grid)
    # of a single line nobody can tell whether its label counts down
    assume(min(1 + max(n) for n in zip(*((c.row, c.column) for c in grid), strict=True)) > 1)
    assert edit(once) == grid


@pytest.mark.parametrize("edit", [swap_order, transpose])
@given(grid=grids())
def test_nothing_is_lost(edit: Callable[[CoreGrid], CoreGrid], grid: CoreGrid) -> None:
    assert known(edit(grid)) == known(grid)


# --- patients -----------------------------------------------------------------------------------------------------


def test_replicates_are_cores_with_tissue_of_one_patient() -> None:
    def core(n: int, patient: str, state: CoreState = CoreState.TISSUE) -> Core:
        return Core(f"A-{n}", 0, n - 1, 0, 9 * n, 8, state, patient_id=patient)

    grid = CoreGrid((core(1, "P2"), core(2, "P1"), core(3, "P2"), core(4, ""), core(5, "")))
    grid = CoreGrid((*grid, core(6, "P1", CoreState.MISSING), core(7, "P2")))
    assert replicates(grid) == {"P2": ["A-1", "A-3", "A-7"]}


def test_grids_are_turned_by_what_they_say() -> None:
    """The drawn grids turn as a slide does: row 0 lies above, column 0 to the left."""
    grid = grid_of(2, 2, degrees=30)
    assert grid["B-1"].y > grid["A-1"].y
    assert grid["A-2"].x > grid["A-1"].x
    assert np.hypot(grid["B-1"].y - grid["A-1"].y, grid["B-1"].x - grid["A-1"].x) == pytest.approx(100)
