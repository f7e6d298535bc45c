from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from napari_her2.slide import Slide
from napari_her2.stain import divide_white, optical_density, tissue_mask, white_point

GLASS = (234, 231, 240)


def glass(h: int = 200, w: int = 300) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.clip(np.array(GLASS) + rng.normal(0, 1.5, (h, w, 3)), 0, 255).astype(np.uint8)


def test_white_point_is_the_glass_whatever_covers_it():
    picture = glass()
    picture[20:150, 20:220] = (150, 120, 100)
    assert np.abs(white_point(picture) - GLASS).max() < 1.5


def test_painted_white_is_not_glass():
    picture = glass()
    picture[:100] = 255
    assert np.abs(white_point(picture) - GLASS).max() < 1.5


def test_the_white_point_is_the_median_of_the_blurred_glass():
    picture = glass()
    picture[:, :60], picture[:40] = (150, 120, 100), 255
    smooth = ndimage.uniform_filter(picture.astype(float), (5, 5, 1))
    luminance = smooth @ (0.299, 0.587, 0.114)
    unpainted = ~ndimage.binary_dilation((picture >= 254).all(axis=-1), iterations=3)
    shown = unpainted & (np.abs(luminance - np.percentile(luminance[unpainted], 99.5)) <= 10)
    assert white_point(picture) == pytest.approx(np.median(smooth[shown], axis=0), abs=0.01)


def test_a_slide_without_glass_is_taken_as_it_is():
    assert white_point(np.full((100, 100, 3), 90, np.uint8)).tolist() == [255, 255, 255]
    assert white_point(np.full((100, 100, 3), 255, np.uint8)).tolist() == [255, 255, 255]


def test_optical_density_is_minus_log10():
    picture = np.array([[[255, 26, 0]]], np.uint8)
    assert optical_density(picture)[0, 0] == pytest.approx([0, 0.9916, 2.4065], abs=1e-3)
    assert (optical_density(np.array([[GLASS]], np.uint8), GLASS) == 0).all()


@given(st.tuples(*[st.integers(150, 255)] * 3), st.integers(0, 255))
def test_division_brings_glass_to_white_and_keeps_order(white: tuple[int, int, int], grey: int):
    pixels = np.array([[white, (grey, grey, grey), (0, 0, 0)]], np.uint8)
    out = divide_white(pixels, white)
    assert (out[0, 0] == 255).all()
    assert (out[0, 1] >= np.minimum(pixels[0, 1], 255)).all()
    assert (out[0, 2] == 0).all()


def test_tissue_is_told_from_glass():
    picture = glass()
    picture[50:150, 100:200] = (215, 215, 232)  # as pale as a score-0 core
    mask = tissue_mask(picture, white_point(picture), blur=2)
    assert mask[60:140, 110:190].mean() > 0.99
    assert mask[:40].mean() < 0.01


@pytest.mark.parametrize("core", ["0_9b0f", "0_ccb6", "3_a1f1"])
def test_real_cores_are_tissue_and_their_corners_are_not(real_data: Path, core: str):
    path = next((real_data / "her2_cores").glob(f"{core}*.jpg"))
    picture, _ = Slide.open(path).overview(350)  # 4 µm per pixel
    mask = tissue_mask(picture, white_point(picture))
    assert 0.2 < mask.mean() < 0.9
    assert np.mean([mask[:60, :60].mean(), mask[-60:, -60:].mean()]) < 0.05
