from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from grids import PITCH, cells, grid_of, grids, known
from hypothesis import assume, given
from hypothesis import strategies as st

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.errors import CoresError
from napari_her2.grid_edit import add_core, place_core
from napari_her2.naming import Naming, parse_labels


def without(grid: CoreGrid, *names: str) -> CoreGrid:
    return CoreGrid(tuple(c for c in grid if c.name not in names))


def beyond(grid: CoreGrid, row: float, column: float, degrees: float = 0) -> tuple[float, float]:
    """Where `grid_of` would have that cell."""
    a = np.radians(degrees)
    v, u = PITCH * row, PITCH * column
    return 1000 + v * np.cos(a) + u * np.sin(a), 1000 + u * np.cos(a) - v * np.sin(a)


@given(st.data(), st.integers(2, 5), st.integers(2, 7), st.integers(-40, 40), st.integers(0, 5))
def test_a_core_gets_the_name_of_its_empty_cell(
    data: st.DataObject, rows: int, columns: int, degrees: int, gap: int
) -> None:
    whole = grid_of(rows, columns, degrees=degrees, gap_after=gap)
    gone = data.draw(st.sampled_from([c.name for c in whole]))
    others = data.draw(st.sets(st.sampled_from([c.name for c in whole]), max_size=2))
    grid = without(whole, gone, *others)
    # all lines are still known by two cores at least
    for line in ("row", "column"):
        left = [getattr(c, line) for c in grid]
        assume(all(left.count(getattr(c, line)) >= 2 for c in whole))
    dy, dx = data.draw(st.tuples(*[st.floats(-0.3, 0.3)] * 2))
    target = whole[gone]
    grid2, name = add_core(grid, target.y + dy * PITCH, target.x + dx * PITCH, 80)
    assert name == gone
    new = grid2[name]
    assert (new.row, new.column, new.diameter, new.state) == (target.row, target.column, 80, CoreState.TISSUE)
    assert new.reason == ""
    assert set(without(grid2, name)) == set(grid)


def test_a_missing_core_was_there_after_all() -> None:
    grid = grid_of(3, 3, missing=("B-2",))
    doubtful = replace(grid["B-2"], reason="little tissue", found_confidence=0.4, outline=((0, 0), (0, 1), (1, 1)))
    grid, name = add_core(grid.with_core(doubtful), 1090, 1110, 70)
    assert name == "B-2"
    core = grid[name]
    assert (core.y, core.x, core.diameter, core.state) == (1090, 1110, 70, CoreState.TISSUE)
    assert core.patient_id == "/1/1"
    assert (core.reason, core.found_confidence, core.outline) == ("", None, ())
    assert len(grid) == 9


def test_where_tissue_is_already_a_core_stands_off_the_grid() -> None:
    grid = CoreGrid((*grid_of(3, 3), Core("X-1", -1, -1, 0, 0, 85)))
    grid, name = add_core(grid, 1110, 1090, 70)
    assert name == "X-2"
    assert (grid[name].row, grid[name].column) == (-1, -1)
    assert grid[name].reason == "B-2 is already there"
    assert grid["B-2"].patient_id == "/1/1"


@pytest.mark.parametrize("place", [(1000 + 4.4 * PITCH, 1100), (1000, 3000), (1100, 1000 + 2.9 * PITCH)])
def test_too_far_away_a_core_stands_off_the_grid(place: tuple[float, float]) -> None:
    # the last place lies in the middle of a gap of two pitches and a bit
    grid = grid_of(3, 3)
    right = [replace(c, name=f"{c.name[0]}-{c.column + 4}", column=c.column + 3, x=c.x + 580) for c in grid]
    core = place_core(CoreGrid((*grid, *right)), *place, 70)
    assert (core.name, core.row, core.column, core.reason) == ("X-1", -1, -1, "stands off the grid")


@pytest.mark.parametrize("degrees", [0, 25])
@pytest.mark.parametrize(("row", "column", "name"), [(3, 1, "D-2"), (1, 3, "B-4"), (3, 3, "D-4")])
def test_one_line_after_the_last(row: int, column: int, name: str, degrees: float) -> None:
    grid = grid_of(3, 3, degrees=degrees)
    more, found = add_core(grid, *beyond(grid, row, column + 0.2, degrees), 80)
    assert found == name
    assert (more[name].row, more[name].column) == (row, column)
    assert set(grid) < set(more)


def test_before_row_a_there_is_no_name() -> None:
    grid = grid_of(3, 3)
    for row, column, what in ((-1, 1, "row"), (1, -1, "column")):
        more, name = add_core(grid, *beyond(grid, row, column), 80)
        assert name == "X-1"
        assert more[name].reason == f"lies before the first {what}: insert a {what} there to give it a place"
        assert set(grid) < set(more)


def test_where_labels_go_on_before_the_first_row_indices_move_and_names_stay() -> None:
    grid = grid_of(3, 3, Naming(parse_labels("H-F"), parse_labels("02-04")))
    more, name = add_core(grid, *beyond(grid, -1, -1), 80)
    assert name == "I-01"
    assert (more[name].row, more[name].column) == (0, 0)
    assert more["H-02"].row == 1
    assert {c.name: c.patient_id for c in grid}.items() <= {c.name: c.patient_id for c in more}.items()
    # F counts down to E, not to A
    assert place_core(grid, *beyond(grid, 3, 0), 80).name == "E-02"
    assert place_core(grid_of(2, 2, Naming(parse_labels("B-A"))), *beyond(grid, 2, 0), 80).name == "X-1"


def test_the_name_of_the_cell_may_belong_to_another() -> None:
    grid = CoreGrid((*without(grid_of(3, 3), "B-2"), Core("B-2", -1, -1, 0, 0, 85)))
    core = place_core(grid, 1100, 1100, 80)
    assert (core.name, core.row, core.column) == ("X-1", 1, 1)
    assert core.reason == "the name B-2 of its place belongs to another core"
    assert place_core(without(grid, "B-2"), 1100, 1100, 80, name_taken={"B-2", "X-1"}).name == "X-2"


def test_a_grid_grows_from_its_first_core() -> None:
    grid, names = CoreGrid(), []
    for place in [(500, 500), (500, 600), (502, 698), (600, 505), (605, 600), (700, 500), (505, 800)]:
        grid, name = add_core(grid, *place, 85)
        names.append(name)
    assert names == ["A-1", "A-2", "A-3", "B-1", "B-2", "C-1", "A-4"]


def test_the_nearest_block_takes_the_core() -> None:
    two = CoreGrid((*grid_of(3, 3, block="1"), *grid_of(3, 3, block="2", at=(1000, 1380))))
    grid = without(two, "2:B-1", "1:C-3")
    assert place_core(grid, 1100, 1380, 80).name == "2:B-1"
    assert place_core(grid, 1200, 1200, 80).name == "1:C-3"
    assert place_core(grid, 1300, 1400, 80).name == "2:D-1"


@given(grids(), st.floats(500, 2500), st.floats(500, 4000))
def test_every_core_gets_a_name_and_no_other_changes(grid: CoreGrid, y: float, x: float) -> None:
    more, name = add_core(grid, y, x, 80)
    here = cells(grid).get(name)
    assert known(grid) < known(more) or (here and known(grid) | {(y, x, grid[name].patient_id)} == known(more))
    assert {c.name for c in more} == {c.name for c in grid} | {name}
    assert (more[name].y, more[name].x) == (y, x)
    on = [(c.block, c.row, c.column) for c in more if c.row >= 0]
    assert len(set(on)) == len(on)


@pytest.mark.parametrize(("y", "diameter"), [(0.0, 0.0), (0.0, -3.0), (float("nan"), 80.0)])
def test_a_core_without_a_size_or_place(y: float, diameter: float) -> None:
    with pytest.raises(CoresError, match="cannot be drawn"):
        add_core(grid_of(2, 2), y, 0.0, diameter)
