"""Rows and columns: drawn grids that are turned, bent, dense, gappy and in sectors, and how names follow a slide."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from drawn_slides import Picture, check, drawn, found, lattice
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_her2.cores import CoreGrid, CoreState
from napari_her2.naming import core_name


@pytest.mark.parametrize("degrees", [0, 11, -28, 40, -44])
def test_a_turned_grid_is_named_in_its_own_frame(degrees: float) -> None:
    places = lattice(5, 7, degrees=degrees)
    grid = found(drawn(places.reshape(-1, 2)))
    check(grid, places, 14)
    assert [c.name for c in grid] == [core_name(r, c) for r in range(5) for c in range(7)]


@pytest.mark.parametrize("pitch", [29.4, 28.0])
def test_dense_grids_of_touching_cores(pitch: float) -> None:
    places = lattice(6, 9, pitch=pitch)
    check(found(drawn(places.reshape(-1, 2))), places, 14)


def test_many_small_cores() -> None:
    places = lattice(14, 20, pitch=13)
    grid = found(drawn(places.reshape(-1, 2), radius=5))
    assert {c.name for c in grid} == {core_name(r, c) for r, c in np.ndindex(14, 20)}
    assert all(c.state is CoreState.TISSUE for c in grid)


def test_missing_cores_are_at_the_lattices_place() -> None:
    places = lattice(5, 6, degrees=6)
    gone = {"A-1", "B-3", "C-3", "E-6"}
    left = [places[r, c] for r, c in np.ndindex(5, 6) if core_name(r, c) not in gone]
    check(found(drawn(np.array(left), shape=(330, 330))), places, 14, gone)


@pytest.mark.parametrize("degrees", [0, 7])
@pytest.mark.parametrize(("row", "column"), [(2, None), (None, 6), (2, 6)])
def test_a_lost_row_or_column_inside_an_even_grid_counts(row: int | None, column: int | None, degrees: float) -> None:
    places = lattice(6, 10, degrees=degrees)
    gone = {core_name(r, c) for r, c in np.ndindex(6, 10) if r == row or c == column}
    left = np.array([places[r, c] for r, c in np.ndindex(6, 10) if core_name(r, c) not in gone])
    grid = found(drawn(left))
    check(grid, places, 14, gone)
    for core in grid:
        assert ("empty: lost, or a gap" in core.reason) == (core.name in gone)
        assert ((core.found_confidence or 0) < 0.9) == (core.name in gone)


def test_wide_gaps_between_sectors_do_not_count() -> None:
    places = lattice(8, 8)
    places[4:, :, 0] += 27
    places[:, 4:, 1] += 22
    check(found(drawn(places.reshape(-1, 2))), places, 14)


@pytest.mark.parametrize(("degrees", "down"), [(3, 8), (-3, 5), (5, 12)])
def test_blocks_side_by_side_share_rows_though_one_is_turned_and_shifted(degrees: float, down: float) -> None:
    left, right = lattice(6, 5), lattice(6, 5, degrees=degrees)
    right += (down, left[..., 1].max() + 20)
    places = np.concatenate([left, right], axis=1)
    check(found(drawn(places.reshape(-1, 2))), places, 14)


def test_warp_and_drifting_pitch_are_followed() -> None:
    places = lattice(12, 14, pitch=33)
    y, x = places[..., 0].copy(), places[..., 1].copy()
    places[..., 0] += 25 * np.sin(x / 130) + 0.0002 * y * y
    places[..., 1] += 20 * np.sin(y / 150)
    places += 30
    check(found(drawn(places.reshape(-1, 2))), places, 14)


def test_orientation_core_stands_off_the_grid() -> None:
    places = lattice(6, 6, start=120)
    lone = np.array([[120 + 6 * 34, 120 - 34.0]])
    grid = found(drawn(np.concatenate([places.reshape(-1, 2), lone]), shape=(420, 420)))
    off = [c for c in grid if c.row < 0]
    assert [(c.name, c.row, c.column, c.state) for c in off] == [("X-1", -1, -1, CoreState.TISSUE)]
    assert "off the grid" in off[0].reason
    check(CoreGrid(tuple(c for c in grid if c.row >= 0)), places, 14)


def test_row_x_has_names_of_its_own() -> None:
    places = lattice(25, 3, pitch=32, start=100)
    lone = np.array([[100 + 25 * 32, 100 - 32.0]])
    grid = found(drawn(np.concatenate([places.reshape(-1, 2), lone]), shape=(1000, 260)))
    assert grid["X-1"].row == 23
    assert [(c.name, c.row) for c in grid if c.row < 0] == [("X-4", -1)]


def test_control_cores_beside_the_grid_stand_off_it() -> None:
    places = lattice(6, 6)
    control = lattice(2, 2) + np.array([0, 280])
    grid = found(drawn(np.concatenate([places.reshape(-1, 2), control.reshape(-1, 2)])))
    assert [c.name for c in grid if c.row < 0] == ["X-1", "X-2", "X-3", "X-4"]
    check(CoreGrid(tuple(c for c in grid if c.row >= 0)), places, 14)


def test_one_core_is_a_grid_of_one() -> None:
    grid = found(drawn(np.array([[150.0, 170.0]]), radius=90, shape=(300, 340)))
    assert [(c.name, c.row, c.column, c.state) for c in grid] == [("A-1", 0, 0, CoreState.TISSUE)]
    assert np.hypot(grid["A-1"].y - 150, grid["A-1"].x - 170) < 9
    assert abs(grid["A-1"].diameter - 180) < 20


def gappy(seed: int) -> tuple[npt.NDArray[np.float64], set[str], Picture]:
    """A grid of 5 x 7 with three cores gone, never at its border."""
    rng = np.random.default_rng(seed)
    places = lattice(5, 7, pitch=rng.uniform(30, 40), degrees=rng.uniform(-12, 12))
    inner = [(r, c) for r in range(1, 4) for c in range(1, 6)]
    gone = {core_name(*inner[i]) for i in rng.choice(len(inner), 3, replace=False)}
    left = np.array([places[r, c] for r, c in np.ndindex(5, 7) if core_name(r, c) not in gone])
    return places, gone, drawn(left, shape=tuple(int(n) for n in places.max(axis=(0, 1)) + 60), seed=seed)


few = settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@few
@given(seed=st.integers(0, 10_000), way=st.sampled_from(["left-right", "up-down", "half turn", "quarter turn"]))
def test_flipping_and_turning_change_the_names_as_they_should(seed: int, way: str) -> None:
    _, gone, picture = gappy(seed)
    before = found(picture)
    turned = {
        "left-right": picture[:, ::-1],
        "up-down": picture[::-1],
        "half turn": picture[::-1, ::-1],
        "quarter turn": np.rot90(picture, -1),  # clockwise: the first column becomes the first row
    }[way]
    cell = {
        "left-right": lambda r, c: (r, 6 - c),
        "up-down": lambda r, c: (4 - r, c),
        "half turn": lambda r, c: (4 - r, 6 - c),
        "quarter turn": lambda r, c: (c, 4 - r),
    }[way]
    after = found(np.ascontiguousarray(turned))
    assert {c.name for c in before if c.state is CoreState.MISSING} == gone
    assert {core_name(*cell(c.row, c.column)): c.state for c in before} == {c.name: c.state for c in after}


@few
@given(seed=st.integers(0, 10_000), factor=st.sampled_from([2, 3]))
def test_scale_changes_centres_and_diameters_only(seed: int, factor: int) -> None:
    _, _, picture = gappy(seed)
    before = found(picture)
    after = found(picture.repeat(factor, axis=0).repeat(factor, axis=1))
    assert [(c.name, c.state) for c in before] == [(c.name, c.state) for c in after]
    for one, other in zip(before, after, strict=True):
        assert np.hypot(one.y * factor - other.y, one.x * factor - other.x) < 0.15 * other.diameter
        assert abs(one.diameter * factor / other.diameter - 1) < 0.1


@few
@given(seed=st.integers(0, 10_000), colour=st.permutations([0, 1, 2]), dim=st.floats(0.8, 1.0))
def test_colour_of_stain_and_light_changes_nothing(seed: int, colour: list[int], dim: float) -> None:
    _, _, picture = gappy(seed)
    before = found(picture)
    after = found((picture[..., colour] * dim).astype(np.uint8))
    assert [(c.name, c.state) for c in before] == [(c.name, c.state) for c in after]
