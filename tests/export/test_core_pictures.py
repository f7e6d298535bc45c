from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_her2.cores import Core
from napari_her2.export.core_pictures import core_pictures, field_picture, outline_path, scale_bar
from napari_her2.membrane.field import CellField
from napari_her2.slide import Slide
from napari_her2.stain import Stains
from napari_her2.stain.shades import SHOWN_OD, paint_stain, shades

STAINS = Stains()


def stained(h: np.ndarray, d: np.ndarray) -> np.ndarray:
    od = h[..., None] * np.array(STAINS.hematoxylin) + d[..., None] * np.array(STAINS.dab)
    return np.clip(np.rint(np.array(STAINS.white) * 10**-od), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("mpp", [0.5, 0.25])
def test_each_stain_is_unmixed_before_the_picture_is_made_small(mpp: float):
    n = round(760 / mpp)
    d = np.zeros((n, n))
    d[:, ::2] = 0.8  # lines: their mean density is 0.4, whatever light they let through together
    h = np.zeros((n, n))
    h[: n // 2] = 0.2
    slide = Slide.from_arrays(stained(h, d), mpp=mpp)
    found = core_pictures(slide, Core("A-1", 0, 0, n / 2, n / 2, n), STAINS)
    assert max(found.whole.shape) <= 760
    assert found.whole.shape == found.hematoxylin.shape == found.dab.shape
    assert (found.height_um, found.width_um) == pytest.approx((760, 760), rel=0.01)
    high = len(found.dab)
    for picture, role, rows, amount in (
        (found.dab, "dab", slice(None), 0.4),
        (found.hematoxylin, "hematoxylin", slice(high // 2 - 20), 0.2),
        (found.hematoxylin, "hematoxylin", slice(high // 2 + 20, None), 0.0),
    ):
        wanted = paint_stain(np.array([amount]), STAINS, role)[0].astype(int)
        np.testing.assert_allclose(picture[rows, 20:-20].mean(axis=(0, 1)), wanted, atol=4)


def test_a_stain_is_painted_from_glass_to_its_full_colour():
    for role, most in SHOWN_OD.items():
        painted = paint_stain(np.array([-1.0, 0.0, most, 9.0]), STAINS, role)
        np.testing.assert_array_equal(painted, shades(STAINS, role)[[0, 0, -1, -1]])
        assert (np.diff(shades(STAINS, role).astype(int), axis=0) <= 0).all()


def test_the_square_shows_the_very_pixels_and_leaves_the_slide_in_white():
    pixels = np.random.default_rng(0).integers(0, 200, (60, 60, 3), np.uint8)
    none = np.empty((0, 32, 2), np.float32)
    field = CellField(10.4, 40.6, 25.0, 12.5, 0, 0, 0, (0, 0, 0, 0), np.empty(0, np.uint8), none)
    found = field_picture(Slide.from_arrays(pixels, mpp=0.5), field)
    np.testing.assert_array_equal(found[:, :19], pixels[10:35, 41:60])
    assert (found[:, 19:] == 255).all()
    assert outline_path(field, 0) == ""


def test_outlines_are_closed_paths_of_their_own_class_x_first():
    cells = np.array([[(1, 2), (3, 4), (5, 0)], [(6, 7), (8, 9), (9, 7)]], np.float32)
    field = CellField(0, 0, 25.0, 12.5, 0, 0, 0, (0, 0, 0, 0), np.array([3, 0], np.uint8), cells)
    assert outline_path(field, 3) == "M2.0 1.0L4.0 3.0L0.0 5.0Z"
    assert outline_path(field, 1) == ""


@given(st.floats(4, 1e5))
def test_a_scale_bar_is_a_round_length_of_a_tenth_to_a_quarter(width: float):
    length = scale_bar(width)
    assert str(length).rstrip("0") in ("1", "2", "5")
    assert width / 10 <= length + 1e-6 <= width / 4 + 2e-6
