"""The grid of one slide on the next section: drawn sections of known transform, and real overviews transformed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from test_snap import few, grid_at, places_of, slide_of

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.dearray import find_cores
from napari_her2.dearray.reuse import reuse_grid
from napari_her2.errors import CoresError
from napari_her2.slide import Slide

Points = npt.NDArray[np.float64]


def block(gone: set[str], rows: int = 6, columns: int = 8, seed: int = 0) -> CoreGrid:
    """Grid of a first section: cores not quite in rows, some missing."""
    places = places_of(rows, columns) + np.random.default_rng(seed).normal(0, 1.5, (rows, columns, 2))
    return grid_at(places).with_state(gone, CoreState.MISSING)


def section(
    grid: CoreGrid,
    *,
    degrees: float = 0,
    flipped: bool = False,
    scale: float = 1,
    lost: Collection[str] = (),
    seed: int = 0,
) -> tuple[Slide, dict[str, Points]]:
    """Another section: mirrored left to right, turned clockwise, scaled; and the place of each core on it."""
    a = np.radians(degrees)
    turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    places = np.array([(c.y, -c.x if flipped else c.x) for c in grid]) @ (scale * turn).T
    places += 70 - places.min(axis=0)
    # no section lies on the glass quite as the one before
    places += np.random.default_rng(9).normal(0, 0.8 * scale, places.shape)
    here = [p for c, p in zip(grid, places, strict=True) if c.state is not CoreState.MISSING and c.name not in lost]
    h, w = (int(n) for n in places.max(axis=0) + 70)
    slide = slide_of(here, 13 * scale, shape=(h, w), seed=seed)
    return slide, {c.name: p for c, p in zip(grid, places, strict=True)}


def right(grid: CoreGrid, places: dict[str, Points], reach: float) -> float:
    """Share of the cores with tissue at their place."""
    return float(np.mean([np.hypot(c.y - places[c.name][0], c.x - places[c.name][1]) < reach for c in grid.scorable]))


GONE = {"A-2", "A-8", "C-3", "D-7", "F-1", "F-2"}


@few
@given(
    seed=st.integers(0, 999),
    quarter=st.integers(0, 3),
    degrees=st.floats(-20, 20),
    flipped=st.booleans(),
    scale=st.floats(0.75, 1.5),
)
def test_any_turn_mirroring_and_scale(seed: int, quarter: int, degrees: float, flipped: bool, scale: float) -> None:
    grid = block(GONE, seed=seed)
    lost = set(np.random.default_rng(seed).choice([c.name for c in grid.scorable], 4, replace=False).tolist())
    turn = 90 * quarter + degrees
    slide, places = section(grid, degrees=turn, flipped=flipped, scale=scale, lost=lost, seed=seed)
    reused = reuse_grid(slide, grid)
    assert right(reused.grid, places, 4 * scale) == 1
    assert {c.name for c in reused.grid if c.state is CoreState.MISSING} == GONE | lost
    assert (reused.matched, reused.of) == (38, 42)
    assert reused.flipped == flipped
    assert reused.scale == pytest.approx(scale, rel=0.02)
    assert abs((reused.rotation_degrees - turn + 180) % 360 - 180) < 1.5
    assert not reused.ambiguous
    assert reused.warning == ""


def test_what_belongs_to_the_block_comes_along_and_what_belongs_to_the_section_does_not() -> None:
    told = {"patient_id": "P7", "reader_score": "2+", "note": "folded", "extra": {"site": "breast"}, "block": "2"}
    grid = CoreGrid(tuple(replace(c, **told) for c in block(GONE))).with_state(["B-2"], CoreState.EXCLUDED)
    reused = reuse_grid(section(grid, degrees=5)[0], grid).grid
    assert [c.name for c in reused] == [c.name for c in grid]
    for before, after in zip(grid, reused, strict=True):
        for field in ("row", "column", "block", "patient_id", "extra"):
            assert getattr(before, field) == getattr(after, field)
        assert after.reader_score == after.note == ""
    assert reused["B-2"].state is CoreState.EXCLUDED
    assert all(c.outline for c in reused.scorable)


def test_a_full_even_array_is_ambiguous_and_the_plainest_way_is_taken() -> None:
    grid = grid_at(places_of(5, 7))
    slide, places = section(grid, degrees=6)
    reused = reuse_grid(slide, grid)
    assert reused.ambiguous
    assert reused.warning == "The array fits equally well turned by 180°: check A-1."
    assert right(reused.grid, places, 3) == 1
    upside_down = reuse_grid(section(grid, degrees=174)[0], grid)
    assert upside_down.ambiguous
    assert abs(upside_down.rotation_degrees) < 8


def test_one_marker_core_tells_the_way_about() -> None:
    grid = grid_at(places_of(5, 7))
    y, x = grid["A-1"].y, grid["A-1"].x
    grid = grid.with_core(Core("X-1", -1, -1, y, x - 50, 26))
    slide, places = section(grid, degrees=174)
    reused = reuse_grid(slide, grid)
    assert not reused.ambiguous
    assert right(reused.grid, places, 3) == 1


def test_cores_found_again_where_there_were_none_and_cores_of_nobody() -> None:
    """A core lost on the first section is there on the second; one beside the array has no name yet."""
    grid = block(GONE)
    there = CoreGrid((*grid.with_state(["C-3"], CoreState.TISSUE), Core("new", -1, -1, 230, 420, 26)))
    slide, places = section(there, degrees=4)
    reused = reuse_grid(slide, grid)
    assert reused.grid["C-3"].state is CoreState.TISSUE
    extra = reused.grid["X-1"]
    assert (extra.row, extra.column, extra.state) == (-1, -1, CoreState.TISSUE)
    assert np.hypot(extra.y - places["new"][0], extra.x - places["new"][1]) < 3
    assert reused.warning == "Not in the grid, but on drawn, and kept off the grid: X-1."
    assert len(reused.grid) == len(grid) + 1


def test_many_lost_cores_are_told() -> None:
    grid = block(GONE)
    lost = {c.name for c in grid.scorable if c.row in (2, 3)}
    reused = reuse_grid(section(grid, lost=lost)[0], grid)
    assert reused.matched == reused.of - len(lost)
    assert "Only 28 of 42 cores were found again" in reused.warning


def test_another_block_is_refused() -> None:
    grid = block(set(), 8, 10)
    slide = slide_of(places_of(2, 3), shape=(220, 260))
    with pytest.raises(CoresError, match=r"The grid fits drawn too badly: \d+ of its 80 cores"):
        reuse_grid(slide, grid)
    with pytest.raises(CoresError, match="too badly: 2 of its 2"):
        reuse_grid(slide_of(places_of(1, 2)), block(set(), 1, 2))
    with pytest.raises(CoresError, match="too badly: 0 of its 0"):
        reuse_grid(slide, CoreGrid())


def test_blank_slide_and_one_without_cores() -> None:
    blank = np.full((300, 400, 3), 240, np.uint8)
    with pytest.raises(CoresError, match="drawn looks empty"):
        reuse_grid(Slide.from_arrays(blank, name="drawn"), block(GONE))
    blank[140:150] = (150, 130, 170)
    with pytest.raises(CoresError, match="drawn"):
        reuse_grid(Slide.from_arrays(blank, name="drawn"), block(GONE))


# --- real overviews -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "degrees", "flipped", "scale"),
    [("158871", 7, True, 0.8), ("ABC_101_1_009_1", 187, False, 1.0), ("ABC_108_1_010_1", -97, True, 0.8)],
)
def test_real_overview_turned_mirrored_scaled_with_cores_painted_out(
    real_data: Path, name: str, degrees: float, flipped: bool, scale: float
) -> None:
    picture = np.asarray(Image.open(real_data / "tma_overviews" / f"{name}.jpg").convert("RGB"))
    grid = find_cores(Slide.from_arrays(picture, name=name))
    tissue = [c.name for c in grid.scorable]
    lost = set(np.random.default_rng(0).choice(tissue, round(0.15 * len(tissue)), replace=False).tolist())
    glass = np.median(picture[::9, ::9].reshape(-1, 3), axis=0)
    emptied = picture.copy()
    yy, xx = np.ogrid[: picture.shape[0], : picture.shape[1]]
    for core in grid:
        if core.name in lost:
            emptied[(yy - core.y) ** 2 + (xx - core.x) ** 2 < (0.6 * core.diameter) ** 2] = glass
    turned, move = transformed(emptied, degrees, flipped, scale, glass)
    reused = reuse_grid(Slide.from_arrays(turned, name=name), grid)
    places = {c.name: move(np.array([c.y, c.x])) for c in grid}
    kept = [reused.grid[n] for n in tissue if n not in lost]
    reach = 0.3 * scale * float(np.median([c.diameter for c in grid]))
    away = [np.hypot(c.y - places[c.name][0], c.x - places[c.name][1]) for c in kept]
    assert np.mean(np.array(away) < reach) >= 0.98
    assert np.mean([c.state is CoreState.TISSUE for c in kept]) >= 0.98
    assert np.mean([reused.grid[n].state is CoreState.MISSING for n in lost]) > 0.7
    assert (reused.flipped, reused.ambiguous) == (flipped, False)
    assert reused.scale == pytest.approx(scale, rel=0.01)


def transformed(
    picture: npt.NDArray[np.uint8], degrees: float, flipped: bool, scale: float, glass: Points
) -> tuple[npt.NDArray[np.uint8], Callable[[Points], Points]]:
    """The picture mirrored left to right, turned clockwise and scaled; and where a point (y, x) goes."""
    a, mirror = np.radians(degrees), np.diag([1.0, -1.0 if flipped else 1.0])
    linear = scale * np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) @ mirror
    middle = np.array(picture.shape[:2]) / 2
    half = np.abs(np.array([middle, middle * (1, -1)]) @ linear.T).max(axis=0) + 10
    back = np.linalg.inv(linear)
    shape = tuple(int(n) for n in 2 * half)
    # pixel (i, j) stands for the point (i + 0.5, j + 0.5)
    offset = middle - 0.5 + back @ (0.5 - half)
    turned = [
        ndimage.affine_transform(picture[..., k].astype(np.float32), back, offset, shape, order=1, cval=glass[k])
        for k in range(3)
    ]
    return np.stack(turned, axis=-1).clip(0, 255).astype(np.uint8), lambda p: linear @ (p - middle) + half
