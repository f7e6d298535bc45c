"""Outlines of a core's own tissue, on drawn tissue of known shape."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import polygon2mask
from test_snap import places_of, slide_of

from napari_her2.dearray import find_cores
from napari_her2.dearray._fit import Spot
from napari_her2.dearray._outline import Outline, outlines
from napari_her2.dearray._tissue import find_tissue

Mask = npt.NDArray[np.bool_]
SIDE = 140


def disc(y: float, x: float, radius: float) -> Mask:
    yy, xx = np.mgrid[:SIDE, :SIDE]
    return np.asarray((yy - y) ** 2 + (xx - x) ** 2 <= radius**2)


def drawn(tissue: Mask, spots: list[tuple[float, float, float]], *, shade: float = 0.6) -> list[Outline]:
    """Outlines of tissue that lets the share `shade` of the light through, in pixels of the picture."""
    rng = np.random.default_rng(0)
    picture = np.full((SIDE, SIDE, 3), 238.0) * np.where(tissue, shade, 1.0)[..., None]
    picture += rng.normal(0, 1, (SIDE, SIDE, 1)) + tissue[..., None] * rng.normal(0, 8, (SIDE, SIDE, 1))
    found = find_tissue(picture.clip(0, 255).astype(np.uint8))
    return outlines(found, [Spot(y, x, r, 1.0, 1.0, 1.0) for y, x, r in spots], 1.0)


def filled(outline: Outline) -> Mask:
    return np.asarray(polygon2mask((SIDE, SIDE), np.array(outline) - 0.5))


def overlap(a: Mask, b: Mask) -> float:
    """Intersection over union."""
    return float((a & b).sum() / (a | b).sum())


@settings(max_examples=25, deadline=None)
@given(radius=st.floats(12, 30), y=st.floats(45, 95), x=st.floats(45, 95), shade=st.sampled_from([0.3, 0.6, 0.85]))
def test_a_whole_disc(radius: float, y: float, x: float, shade: float) -> None:
    tissue = disc(y, x, radius)
    (outline,) = drawn(tissue, [(y, x, radius)], shade=shade)
    assert 24 <= len(outline) <= 64
    assert filled(outline).sum() == pytest.approx(tissue.sum(), rel=0.05)
    assert overlap(filled(outline), tissue) > 0.93


@settings(max_examples=25, deadline=None)
@given(radius=st.floats(13, 30), turn=st.floats(0, 6.28), shade=st.sampled_from([0.4, 0.8]))
def test_a_half_moon_and_a_crescent(radius: float, turn: float, shade: float) -> None:
    yy, xx = np.mgrid[:SIDE, :SIDE]
    dy, dx = np.sin(turn), np.cos(turn)
    half = disc(70, 70, radius) & ((yy - 70) * dy + (xx - 70) * dx > 0)
    crescent = disc(70, 70, radius) & ~disc(70 - 0.6 * radius * dy, 70 - 0.6 * radius * dx, 0.9 * radius)
    for tissue in (half, crescent):
        (outline,) = drawn(tissue, [(70, 70, radius)], shade=shade)
        assert filled(outline).sum() == pytest.approx(tissue.sum(), rel=0.1)
        assert overlap(filled(outline), tissue) > 0.85


@settings(max_examples=15, deadline=None)
@given(radius=st.floats(13, 20), gap=st.floats(-2, 1), shade=st.floats(0.4, 0.8))
def test_touching_cores_keep_their_own(radius: float, gap: float, shade: float) -> None:
    places = [(70.0, 70 - radius - gap / 2, radius), (70.0, 70 + radius + gap / 2, radius)]
    tissue = disc(*places[0]) | disc(*places[1])
    left, right = (filled(o) for o in drawn(tissue, places, shade=shade))
    assert (left & right).sum() < 0.03 * left.sum()
    assert (left | right).sum() == pytest.approx(tissue.sum(), rel=0.06)


def test_the_neighbours_tissue_is_the_neighbours() -> None:
    """The left punch is empty but for a strip: the disc beside it, within reach, is not taken for it."""
    strip = disc(70, 50, 14) & (np.arange(SIDE) < 44)
    one, other = drawn(strip | disc(70, 79, 14), [(70, 50, 14), (70, 79, 14)])
    assert overlap(filled(one), strip) > 0.8
    assert overlap(filled(other), disc(70, 79, 14)) > 0.93


@settings(max_examples=10, deadline=None)
@given(dy=st.integers(-30, 30), dx=st.integers(-30, 30))
def test_moving_the_tissue_moves_the_outline(dy: int, dx: int) -> None:
    def shape(y: int, x: int) -> Mask:
        return disc(y, x, 16) & ~disc(y - 9, x + 6, 9)

    (before,) = drawn(shape(70, 70), [(70, 70, 16)])
    (after,) = drawn(shape(70 + dy, 70 + dx), [(70 + dy, 70 + dx, 16)])
    moved = np.mean(after, axis=0) - np.mean(before, axis=0)
    assert np.abs(moved - (dy, dx)).max() < 0.5


def test_scale_follows_the_overview() -> None:
    tissue = find_tissue(np.where(disc(60, 80, 15)[..., None], 120, 238).repeat(3, axis=2).astype(np.uint8))
    spot = Spot(60, 80, 15, 1.0, 1.0, 1.0)
    near, far = (np.array(outlines(tissue, [spot], d)[0]) for d in (1.0, 24.0))
    assert far == pytest.approx(24 * near)
    assert near.mean(axis=0) == pytest.approx((60.5, 80.5), abs=0.3)


def test_specks_and_whiskers_are_left_out() -> None:
    core = disc(70, 70, 15)
    dirt = disc(70, 87, 1.4)
    dirt[86:90, 69:71] = True
    (outline,) = drawn(core | dirt, [(70, 70, 15)])
    assert overlap(filled(outline), core) > 0.93


@pytest.mark.parametrize("width", [3, 9])
def test_a_torn_core_has_one_outline(width: int) -> None:
    """A narrow tear is closed, across a wide one runs a bridge: both halves are inside, little glass is."""
    torn = disc(70, 70, 18)
    torn[:, 70 - width // 2 : 70 + (width + 1) // 2] = False
    (outline,) = drawn(torn, [(70, 70, 18)])
    inside = filled(outline)
    assert (inside & torn).sum() > 0.93 * torn.sum()
    assert inside.sum() < 1.12 * disc(70, 70, 18).sum()
    if width == 9:
        assert inside.sum() < 1.2 * torn.sum()


def test_at_the_border_of_the_slide() -> None:
    outline, beyond = drawn(disc(4, 70, 15), [(4, 70, 15), (-200, 70, 15)])
    assert overlap(filled(outline), disc(4, 70, 15)) > 0.9
    assert beyond == ()


def test_glass_has_no_outline() -> None:
    assert drawn(disc(70, 70, 15), [(70, 70, 15), (20, 20, 10)])[1] == ()
    assert drawn(disc(70, 70, 15), []) == []


def test_found_cores_have_their_outline_and_missing_ones_have_none() -> None:
    places = places_of(4, 5)
    gone = (1, 2)
    grid = find_cores(slide_of([places[n] for n in np.ndindex(4, 5) if n != gone], factor=3))
    assert [c.outline == () for c in grid] == [(c.row, c.column) == gone for c in grid]
    for core in grid.scorable:
        assert np.mean(core.outline, axis=0) == pytest.approx(3 * (places[core.row, core.column] + 0.5), abs=3)
        reach = np.hypot(*(np.array(core.outline) - (core.y, core.x)).T)
        assert reach == pytest.approx(np.full(len(reach), 39), rel=0.12)
