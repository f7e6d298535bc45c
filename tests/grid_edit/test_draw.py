from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_her2.errors import CoresError
from napari_her2.grid_edit import draw_grid
from napari_her2.naming import Naming, parse_labels

SQUARE = np.array([[0.0, 0.0], [0.0, 300.0], [200.0, 300.0], [200.0, 0.0]])


def test_a_rectangle() -> None:
    grid = draw_grid(SQUARE, 3, 4)
    assert [(c.name, c.y, c.x) for c in grid][:5] == [
        *(("A-1", 0, 0), ("A-2", 0, 100), ("A-3", 0, 200), ("A-4", 0, 300), ("B-1", 100, 0)),
    ]
    assert {c.diameter for c in grid} == {85}
    assert {c.diameter for c in draw_grid(SQUARE, 3, 7)} == {42.5}
    assert draw_grid(SQUARE, 3, 4, 60, Naming(parse_labels("C-A"))).cores[0].name == "C-1"


corner = st.tuples(st.floats(-60, 60), st.floats(-60, 60))


@given(st.tuples(corner, corner, corner, corner), st.integers(2, 9), st.integers(2, 12), st.booleans())
def test_corners_are_met_and_sides_are_even(
    pulled: tuple[tuple[float, float], ...], rows: int, columns: int, mirrored: bool
) -> None:
    corners = SQUARE + pulled
    if mirrored:
        corners = corners * [1, -1]
    grid = draw_grid(corners, rows, columns)
    places = np.array([[c.y, c.x] for c in grid]).reshape(rows, columns, 2)
    assert places[[0, 0, -1, -1], [0, -1, -1, 0]] == pytest.approx(corners)
    for line in (*places, *places.transpose(1, 0, 2)):
        assert np.diff(line, axis=0) == pytest.approx(
            np.tile((line[-1] - line[0]) / (len(line) - 1), (len(line) - 1, 1))
        )
    step = min(np.hypot(*np.moveaxis(np.diff(places, axis=k), -1, 0)).min() for k in (0, 1))
    assert grid.cores[0].diameter >= 0.85 * step - 1e-9


def test_one_row_one_column_and_one_core() -> None:
    row = draw_grid(SQUARE, 1, 4)
    assert [(c.name, c.y, c.x) for c in row] == [
        ("A-1", 100, 0),
        ("A-2", 100, 100),
        ("A-3", 100, 200),
        ("A-4", 100, 300),
    ]
    assert {c.diameter for c in row} == {85}
    column = draw_grid(SQUARE, 2, 1)
    assert [(c.name, c.y, c.x) for c in column] == [("A-1", 0, 150), ("B-1", 200, 150)]
    assert [(c.y, c.x) for c in draw_grid(SQUARE, 1, 1, 50)] == [(100, 150)]
    with pytest.raises(CoresError, match="give its diameter"):
        draw_grid(SQUARE, 1, 1)


@pytest.mark.parametrize(
    ("corners", "why"),
    [
        (SQUARE[[0, 2, 1, 3]], "cross"),
        (SQUARE[[0, 1, 3, 2]], "cross"),
        ([[0, 0], [0, 100], [0, 200], [0, 300]], "cross, or run along one line"),
        ([[0, 0], [0, 300], [20, 10], [200, 0]], "cross"),  # a corner pushed in
        (np.zeros((4, 2)), "same place"),
        (SQUARE * np.nan, "no place"),
    ],
)
def test_corners_that_make_no_grid(corners: np.ndarray, why: str) -> None:
    with pytest.raises(CoresError, match=why):
        draw_grid(corners, 3, 4)


@pytest.mark.parametrize(("rows", "columns", "diameter"), [(0, 4, None), (3, -1, None), (200, 200, None), (3, 4, 0.0)])
def test_impossible_sizes(rows: int, columns: int, diameter: float | None) -> None:
    with pytest.raises(CoresError, match=r"cannot be drawn|diameter must be"):
        draw_grid(SQUARE, rows, columns, diameter)
