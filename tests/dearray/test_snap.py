"""Grids drawn by hand, laid onto tissue: drawn discs, hopeless slides, and a real overview."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.dearray import find_cores
from napari_her2.dearray.snap import snap_grid
from napari_her2.errors import CoresError
from napari_her2.naming import core_name
from napari_her2.slide import Slide

Picture = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
GLASS = (236, 234, 241)
few = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def slide_of(
    places: npt.ArrayLike, radius: float = 13, *, shape: tuple[int, int] | None = None, seed: int = 0, factor: int = 1
) -> Slide:
    """Grainy discs at places (y, x) on clean glass; each pixel `factor` times repeated."""
    rng = np.random.default_rng(seed)
    discs = np.asarray(places, float).reshape(-1, 2)
    h, w = shape or tuple(int(n) for n in discs.max(axis=0) + 3 * radius)
    picture = np.tile(np.array(GLASS, float), (h, w, 1))
    yy, xx = np.ogrid[:h, :w]
    for y, x in discs:
        inside = (yy - y) ** 2 + (xx - x) ** 2 <= radius**2
        picture[inside] = np.array((180, 165, 190)) + rng.normal(0, 12, (int(inside.sum()), 1))
    picture = (picture + rng.normal(0, 0.7, (h, w, 1))).clip(0, 255).astype(np.uint8)
    return Slide.from_arrays(picture.repeat(factor, axis=0).repeat(factor, axis=1), name="drawn")


def places_of(rows: int, columns: int, pitch: float = 34, start: float = 60) -> Points:
    """(y, x) of a full grid, shape (rows, columns, 2)."""
    return np.stack(np.mgrid[0:rows, 0:columns], axis=-1) * pitch + start


def grid_at(places: Points, diameter: float = 26) -> CoreGrid:
    return CoreGrid(
        tuple(
            Core(core_name(r, c), r, c, float(places[r, c, 0]), float(places[r, c, 1]), diameter)
            for r, c in np.ndindex(*places.shape[:2])
        )
    )


def distances(grid: CoreGrid, places: Points) -> Points:
    return np.array([np.hypot(c.y - places[c.row, c.column, 0], c.x - places[c.row, c.column, 1]) for c in grid])


@few
@given(
    angle=st.floats(0, 6.28), off=st.floats(0, 0.4), size=st.sampled_from([0.75, 1.0, 1.3]), seed=st.integers(0, 999)
)
def test_a_grid_that_is_off_finds_its_cores(angle: float, off: float, size: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    places = places_of(6, 8) + rng.normal(0, 1.2, (6, 8, 2))
    drawn = places + 34 * off * np.array([np.sin(angle), np.cos(angle)]) + rng.uniform(-2, 2, places.shape)
    grid = snap_grid(slide_of(places, seed=seed), grid_at(drawn, 26 * size))
    assert distances(grid, places).max() < 2.5
    assert all(c.state is CoreState.TISSUE for c in grid)
    assert [c.diameter for c in grid] == pytest.approx([26] * 48, rel=0.12)


def test_places_without_tissue_are_missing_where_the_others_expect_them() -> None:
    places = places_of(5, 6)
    gone = {(0, 0), (2, 3), (4, 5)}
    here = [places[n] for n in np.ndindex(5, 6) if n not in gone]
    grid = snap_grid(slide_of(here, shape=(260, 300)), grid_at(places + np.array((9, -7))))
    assert {(c.row, c.column) for c in grid if c.state is CoreState.MISSING} == gone
    assert distances(grid, places).max() < 3
    assert all(bool(c.outline) == (c.state is CoreState.TISSUE) for c in grid)
    assert all((c.tissue_fraction or 0) > 0.9 for c in grid.scorable)
    assert all(c.tissue_fraction == 0 for c in grid if c.state is CoreState.MISSING)
    assert all((c.found_confidence or 0) > 0.9 and not c.reason for c in grid)


def test_what_the_user_knows_is_kept() -> None:
    places = places_of(3, 4)
    told = {"patient_id": "P7", "reader_score": "2+", "note": "folded", "extra": {"site": "breast"}, "block": "2"}
    grid = CoreGrid(tuple(replace(c, **told) for c in grid_at(places + 6)))
    grid = grid.with_core(replace(grid["B-2"], state=CoreState.EXCLUDED, reason="by hand"))
    grid = grid.with_core(Core("Z", -1, -1, places[0, 3, 0] + 3, places[0, 3, 1] + 60 + 3, 26))
    there = np.concatenate([places.reshape(-1, 2), places[None, 0, 3] + np.array((0, 60))])
    snapped = snap_grid(slide_of(there), grid)
    assert [c.name for c in snapped] == [c.name for c in grid]
    for before, after in zip(grid, snapped, strict=True):
        for field in ("row", "column", "block", "patient_id", "reader_score", "note", "extra"):
            assert getattr(before, field) == getattr(after, field)
    assert snapped["B-2"].state is CoreState.EXCLUDED
    assert snapped["B-2"].outline
    assert np.hypot(snapped["Z"].y - there[-1, 0], snapped["Z"].x - there[-1, 1]) < 2


def test_no_core_takes_its_neighbours_disc() -> None:
    places = places_of(1, 3)
    grid = snap_grid(slide_of([places[0, 0], places[0, 2]], shape=(120, 220)), grid_at(places, 26))
    assert [c.state for c in grid] == [CoreState.TISSUE, CoreState.MISSING, CoreState.TISSUE]


def test_an_even_grid_over_sectors_with_wide_gaps() -> None:
    """Corners are drawn on the corner cores, and everything between is up to a pitch off."""
    places = places_of(8, 10)
    places[4:, :, 0] += 24
    places[:, 5:, 1] += 27
    y, x = (np.linspace(places[0, 0, k], places[-1, -1, k], n) for k, n in ((0, 8), (1, 10)))
    drawn = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1)
    assert np.hypot(*np.moveaxis(drawn - places, -1, 0)).max() > 12
    grid = snap_grid(slide_of(places), grid_at(drawn))
    assert distances(grid, places).max() < 2
    # ... also when the rows are counted from below
    mirrored = snap_grid(slide_of(places), grid_at(drawn[::-1]))
    assert distances(mirrored, places[::-1]).max() < 2


@pytest.mark.parametrize("factor", [1, 3])
def test_scale_of_the_slide_does_not_matter(factor: int) -> None:
    places = places_of(4, 5)
    grid = snap_grid(slide_of(places, factor=factor), grid_at(factor * (places + 8), 30.0 * factor))
    assert distances(grid, factor * (places + 0.5)).max() < 1.5 * factor
    assert [c.diameter for c in grid] == pytest.approx([26 * factor] * 20, rel=0.1)


def test_a_single_core() -> None:
    grid = snap_grid(slide_of([(100, 120)], 40, shape=(220, 240)), CoreGrid((Core("A-1", 0, 0, 108, 110, 70),)))
    assert np.hypot(grid["A-1"].y - 100.5, grid["A-1"].x - 120.5) < 2
    assert grid["A-1"].diameter == pytest.approx(80, rel=0.08)


def test_hopeless_slides_leave_the_grid_where_it_is() -> None:
    picture = np.tile(np.array(GLASS, np.uint8), (300, 400, 1))
    picture[5:9] = (150, 130, 170)
    places = places_of(4, 5)
    grid = snap_grid(Slide.from_arrays(picture, name="drawn"), grid_at(places))
    assert all(c.state is CoreState.MISSING and c.outline == () for c in grid)
    assert distances(grid, places).max() < 1.5
    beyond = snap_grid(Slide.from_arrays(picture, name="drawn"), grid_at(places + 900))
    assert all(c.state is CoreState.MISSING for c in beyond)


def test_blank_slide_and_empty_grid() -> None:
    blank = Slide.from_arrays(np.full((300, 400, 3), 240, np.uint8), name="drawn")
    with pytest.raises(CoresError, match="drawn looks empty"):
        snap_grid(blank, grid_at(places_of(2, 2)))
    assert len(snap_grid(blank, CoreGrid())) == 0


@pytest.mark.parametrize("name", ["158871", "ABC_105_1_010_1"])
def test_real_overview(real_data: Path, name: str) -> None:
    """The found grid, pushed 0.35 pitches aside and stretched by 2 %, comes back."""
    path = real_data / "tma_overviews" / f"{name}.jpg"
    slide = Slide.from_arrays(np.asarray(Image.open(path).convert("RGB")), name=name)
    found = find_cores(slide)
    middle, diameter = slide.shape[1] / 2, float(np.median([c.diameter for c in found]))
    pushed = CoreGrid(
        tuple(
            replace(c, y=c.y + 0.4 * diameter, x=middle + 1.02 * (c.x - middle), diameter=1.2 * diameter) for c in found
        )
    )
    snapped = snap_grid(slide, pushed)
    away = [np.hypot(a.y - b.y, a.x - b.x) / b.diameter for a, b in zip(snapped, found, strict=True)]
    assert np.mean(np.array(away) < 0.2) > 0.97
    assert np.mean([a.state is b.state for a, b in zip(snapped, found, strict=True)]) > 0.97
