from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from grids import PITCH, grid_of, grids, known
from hypothesis import given
from hypothesis import strategies as st

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.errors import CoresError
from napari_her2.grid_edit import complete, expected_places


@given(st.data(), st.integers(3, 6), st.integers(3, 7), st.integers(-40, 40), st.integers(0, 6))
def test_places_on_an_even_lattice_with_a_gap(
    data: st.DataObject, rows: int, columns: int, degrees: int, gap: int
) -> None:
    whole = grid_of(rows, columns, degrees=degrees, gap_after=gap)
    gone = data.draw(st.sets(st.sampled_from([c.name for c in whole]), max_size=2))
    left = CoreGrid(tuple(c for c in whole if c.name not in gone))
    places = expected_places(left, [(c.row, c.column) for c in whole])
    assert np.abs(places - [(c.y, c.x) for c in whole]).max() < 0.01 * PITCH


def test_beyond_the_border_and_between_lines() -> None:
    grid = grid_of(3, 4)
    places = expected_places(grid, [(-1, 0), (0.5, 1), (5, 6)])
    assert places == pytest.approx(1000 + PITCH * np.array([[-1, 0], [0.5, 1], [5, 6]]), abs=0.5)


def test_a_core_that_was_put_elsewhere_says_nothing_of_its_lines() -> None:
    grid = grid_of(4, 5)
    grid = grid.with_core(replace(grid["B-3"], y=1160.0, x=1255.0))
    places = expected_places(grid, [(1, 2), (1, 4), (3, 2)])
    assert places == pytest.approx(1000 + PITCH * np.array([[1, 2], [1, 4], [3, 2]]), abs=0.06 * PITCH)


def test_warp_is_followed_by_the_nearest_cores() -> None:
    def bent(core: Core) -> Core:
        return replace(core, y=core.y + 30 * np.sin(core.x / 250), x=core.x + 30 * np.sin(core.y / 250))

    whole = CoreGrid(tuple(bent(c) for c in grid_of(9, 12)))
    gone = ["B-3", "E-7", "H-11", "A-5"]
    left = CoreGrid(tuple(c for c in whole if c.name not in gone))
    for name in gone:
        place = expected_places(left, [(whole[name].row, whole[name].column)])[0]
        assert np.hypot(*(place - (whole[name].y, whole[name].x))) < 0.1 * PITCH


@pytest.mark.parametrize(
    ("known_cells", "cell", "place"),
    [
        ([(0, 0)], (0, 1), (0, 115)),  # a core of 100 px has its neighbour 1.15 diameters away
        ([(0, 0), (0, 2)], (1, 0), (100, 0)),  # a single row: squares
        ([(0, 0), (3, 0)], (0, 2), (0, 200)),
        ([(0, 0), (1, 1)], (0, 1), (0, 100)),  # no line in common
    ],
)
def test_what_few_cores_tell(
    known_cells: list[tuple[int, int]], cell: tuple[int, int], place: tuple[float, float]
) -> None:
    cores = tuple(Core(f"{r}/{c}", r, c, 100.0 * r, 100.0 * c, 100) for r, c in known_cells)
    assert expected_places(CoreGrid(cores), [cell])[0] == pytest.approx(place, abs=0.5)


def test_no_core_to_go_by() -> None:
    with pytest.raises(CoresError, match="No core is on the grid"):
        expected_places(CoreGrid(), [(0, 0)])
    with pytest.raises(CoresError, match="No core of block 3"):
        expected_places(grid_of(2, 2, block="1"), [(0, 0)], "3")


@given(grids())
def test_complete_fills_every_cell(grid: CoreGrid) -> None:
    full = complete(grid)
    assert set(grid) <= set(full)
    assert known(full) == known(grid)
    for block in {c.block for c in grid if c.row >= 0}:
        own = [(c.row, c.column) for c in full if c.block == block and c.row >= 0]
        rows, columns = (1 + max(n) for n in zip(*own, strict=True))
        assert own == list(np.ndindex(rows, columns))
    assert all(c.state is CoreState.MISSING for c in set(full) - set(grid))
    assert complete(full) == full


def test_completed_cores_lie_on_the_lattice() -> None:
    whole = grid_of(4, 6, degrees=12, gap_after=2)
    full = complete(CoreGrid(tuple(c for c in whole if c.name not in ("A-1", "C-3", "D-6"))))
    for name in ("A-1", "C-3", "D-6"):
        assert (full[name].y, full[name].x) == pytest.approx((whole[name].y, whole[name].x), abs=1)
        assert full[name].diameter == 85
