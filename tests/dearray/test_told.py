"""What the user says of the cores: followed where the slide allows it, noticed where it is wrong."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from drawn_slides import check, drawn, found, lattice
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_her2.cores import CoreGrid, CoreState
from napari_her2.dearray import DearrayParams, find_cores
from napari_her2.errors import CoresError, PixelSizeError
from napari_her2.naming import core_name
from napari_her2.slide import Slide

PLACES = lattice(5, 7, degrees=6)
PICTURE = drawn(PLACES.reshape(-1, 2))

#: Two rows and two columns of sectors, the gap between the columns two pitches wide.
SECTORS = lattice(8, 8)
SECTORS[4:, :, 0] += 20
SECTORS[:, 4:, 1] += 34


def quietly(picture: np.ndarray, **told: float) -> CoreGrid:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return found(picture, **told)


# --- right and wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "told",
    [
        {"core_diameter_px": 29.0},
        {"rows": 5, "columns": 7},
        {"pitch_px": 34},
        {"rotation_degrees": 5},
        {"blocks": 1},
        {"core_diameter_px": 28, "rows": 5, "columns": 7, "pitch_px": 36, "rotation_degrees": 7, "blocks": 1},
    ],
)
def test_what_is_right_is_used_without_a_word(told: dict[str, float]) -> None:
    check(quietly(PICTURE, **told), PLACES, 14)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"core_diameter_px": 19.6}, r"You said 19\.6 pixels; the cores of drawn look 2[789](\.\d)? pixels across"),
        ({"core_diameter_px": 37.8}, r"You said 37\.8 pixels; the cores of drawn look 2[789](\.\d)? pixels across"),
        ({"rows": 9}, "You said 9 rows; drawn shows 5, and that was used"),
        ({"rows": 4}, "You said 4 rows; drawn shows 5"),
        ({"rows": 1}, "You said 1 row; drawn shows 5"),
        ({"columns": 12}, "You said 12 columns; drawn shows 7"),
        ({"pitch_px": 17}, "You said a pitch of 17 pixels; the cores of drawn stand 34 pixels apart"),
        ({"pitch_px": 48}, "You said a pitch of 48 pixels; the cores of drawn stand 34 pixels apart"),
        ({"pitch_px": 68}, "You said a pitch of 68 pixels; the cores of drawn stand 34 pixels apart"),
        (
            {"rotation_degrees": -6},
            r"You said a rotation of -6 degrees; the rows of drawn are turned by (5\.9|6\.[01])",
        ),
        ({"rotation_degrees": 45}, "You said a rotation of 45 degrees; the rows of drawn are turned by"),
        ({"blocks": 4}, "You said 4 blocks; the gaps of drawn make 1"),
    ],
)
def test_what_is_wrong_is_noticed_and_the_slides_own_is_used(told: dict[str, float], words: str) -> None:
    with pytest.warns(UserWarning, match=words) as caught:
        grid = found(PICTURE, **told)
    assert len(caught) == 1
    assert caught[0].filename.endswith("drawn_slides.py")  # the caller's line, not ours
    check(grid, PLACES, 14)


@settings(max_examples=12, deadline=None)
@given(
    rows=st.none() | st.integers(1, 30),
    columns=st.none() | st.integers(1, 30),
    pitch_px=st.none() | st.floats(30, 200),
    rotation_degrees=st.none() | st.floats(-45, 45),
    blocks=st.none() | st.integers(2, 9),
)
def test_nothing_told_spoils_a_clear_slide(**told: float | None) -> None:
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        grid = find_cores(Slide.from_arrays(PICTURE, name="drawn"), DearrayParams(**told))  # type: ignore[arg-type]
    check(grid, PLACES, 14)


# --- what it steers -----------------------------------------------------------------------------------------------


def test_more_rows_than_have_cores_are_put_into_the_gaps() -> None:
    picture = drawn(SECTORS.reshape(-1, 2))
    assert max(c.column for c in quietly(picture, columns=8, rows=8)) == 7
    grid = quietly(picture, columns=9)
    assert {c.name for c in grid if c.state is CoreState.MISSING} == {core_name(r, 4) for r in range(8)}
    assert max(c.row for c in grid) == 7


def test_blocks_say_whether_a_gap_is_a_lost_row() -> None:
    picture = drawn(SECTORS.reshape(-1, 2))
    assert max(c.column for c in quietly(picture, blocks=4)) == 7
    even = lattice(6, 8)
    lost = drawn(np.delete(even, 2, axis=0).reshape(-1, 2))
    assert max(c.row for c in quietly(lost)) == 5
    assert max(c.row for c in quietly(lost, blocks=2)) == 4
    middle = drawn(np.delete(lattice(7, 8), 3, axis=0).reshape(-1, 2))
    assert max(c.row for c in quietly(middle)) == 5  # two sectors of three rows, as far as one can see
    assert max(c.row for c in quietly(middle, blocks=1)) == 6


def test_fewer_rows_take_stray_cores_off_the_grid() -> None:
    places = lattice(6, 6)
    stray = places[-1, :2] + (34, 0)
    picture = drawn(np.concatenate([places.reshape(-1, 2), stray]))
    assert max(c.row for c in quietly(picture)) == 6
    grid = quietly(picture, rows=6)
    assert [c.name for c in grid if c.row < 0] == ["X-1", "X-2"]
    check(CoreGrid(tuple(c for c in grid if c.row >= 0)), places, 14)


def test_more_columns_take_control_cores_into_the_grid() -> None:
    places = lattice(6, 6)
    control = places[:2, -1:] + (0, 4 * 34)
    picture = drawn(np.concatenate([places.reshape(-1, 2), control.reshape(-1, 2)]))
    assert [c.name for c in quietly(picture) if c.row < 0] == ["X-1", "X-2"]
    grid = quietly(picture, columns=10)
    assert {c.name for c in grid if c.column == 9 and c.state is CoreState.TISSUE} == {"A-10", "B-10"}


def test_lines_of_cores_that_could_be_read_either_way_are_read_as_told() -> None:
    """Every other core of a chessboard: diagonals at 45 degrees are its rows, or every second place is empty."""
    places = lattice(9, 9, pitch=24)
    board = drawn(np.array([places[r, c] for r, c in np.ndindex(9, 9) if (r + c) % 2 == 0]), radius=12)
    for turn in (45, -45):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            grid = found(board, rotation_degrees=turn, pitch_px=34)
        assert not caught
        first = min((c for c in grid if c.row == 4), key=lambda c: c.column)
        last = max((c for c in grid if c.row == 4), key=lambda c: c.column)
        assert np.degrees(np.arctan2(last.y - first.y, last.x - first.x)) == pytest.approx(turn, abs=3)


# --- what cannot be -----------------------------------------------------------------------------------------------


def test_micrometres_need_the_pixel_size() -> None:
    slide = Slide.from_arrays(PICTURE, name="drawn")
    with pytest.raises(PixelSizeError, match="drawn does not say its pixel size, so a core diameter of 600 µm"):
        find_cores(slide, DearrayParams(core_diameter_um=600))
    with pytest.raises(PixelSizeError, match="drawn does not say its pixel size, so a pitch of 700 µm"):
        find_cores(slide, DearrayParams(pitch_um=700))
    check(quietly(PICTURE, mpp=20, core_diameter_um=560, pitch_um=680), PLACES, 14)
    with pytest.warns(UserWarning, match=r"You said 1\.2 mm; the cores of drawn look 0\.5\d* mm across"):
        found(PICTURE, mpp=20, core_diameter_um=1200)
    with pytest.warns(UserWarning, match=r"You said a pitch of 1\.5 mm; the cores of drawn stand 0\.68 mm apart"):
        found(PICTURE, mpp=20, pitch_um=1500)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"core_diameter_px": 0.0}, "The core diameter must be more than 0: correct it, or leave it out"),
        ({"core_diameter_um": -3.0}, "The core diameter must be more than 0"),
        ({"core_diameter_px": float("nan")}, "The core diameter must be more than 0"),
        ({"pitch_px": float("inf")}, "The pitch of the cores must be more than 0"),
        ({"pitch_um": 0.0}, "The pitch of the cores must be more than 0"),
        ({"rows": 0}, "The number of rows must be a whole number from 1 to 200"),
        ({"columns": 2.5}, "The number of columns must be a whole number from 1 to 200"),
        ({"blocks": -1}, "The number of blocks must be a whole number from 1 to 200"),
        ({"rotation_degrees": 50}, "The rotation must lie between -45 and 45 degrees"),
        ({"rotation_degrees": float("nan")}, "The rotation must lie between -45 and 45 degrees"),
        ({"pitch_px": 20, "core_diameter_px": 28}, "Cores 28 across cannot stand 20 apart"),
    ],
)
def test_what_cannot_be_true_is_said_in_one_sentence(told: dict[str, float], words: str) -> None:
    with pytest.raises(CoresError, match=words) as caught:
        DearrayParams(**told)  # type: ignore[arg-type]
    assert str(caught.value).count(".") - str(caught.value).count("2.5") == 1
