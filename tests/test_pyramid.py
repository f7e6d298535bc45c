from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_her2.cores import Core
from napari_her2.errors import PixelSizeError
from napari_her2.pyramid import LevelSpec, PyramidSpec, sample
from napari_her2.slide import Slide

SPEC = PyramidSpec(mpp=1.0, patch=64, levels=(LevelSpec(8, 1.0), LevelSpec(3, 2.0), LevelSpec(1, 0.0)))


def slide_of_disc(side: int = 400, diameter: int = 300, mpp: float = 1.0) -> tuple[Slide, Core]:
    y, x = np.mgrid[:side, :side] + 0.5
    picture = np.full((side, side, 3), 255, np.uint8)
    inside = np.hypot(y - side / 2, x - side / 2) < diameter / 2
    # the colour tells the place, so that a patch shows where it was cut
    picture[inside] = np.stack([y * 200 / side, x * 200 / side, 90 + 0 * x], axis=-1).astype(np.uint8)[inside]
    return Slide.from_arrays(picture, mpp=mpp), Core("A-1", 0, 0, side / 2, side / 2, diameter)


def test_the_default_is_the_published_set():
    spec = PyramidSpec()
    assert [(level.count, level.downsample) for level in spec.levels] == [(40, 1), (10, 2), (1, 0)]
    assert spec.patch == 512


def test_counts_levels_and_sizes():
    patches = sample(*slide_of_disc(), SPEC)
    assert patches.pixels.shape == (12, 64, 64, 3)
    assert np.bincount(patches.level).tolist() == [8, 3, 1]
    assert patches.size[0] == 64
    assert patches.size[8] == 128
    assert patches.size[11] == pytest.approx(300)
    assert 0.95 < patches.tissue_fraction <= 1


@pytest.mark.parametrize("mpp", [0.25, 0.5, 1.0, 1.7])
def test_patches_lie_where_they_say(mpp: float):
    slide, core = slide_of_disc(int(400 / mpp), int(300 / mpp), mpp)
    patches = sample(slide, core, SPEC)
    picture = slide.levels[0]
    for pixels, y, x, size in zip(patches.pixels, patches.y, patches.x, patches.size, strict=True):
        at = np.array([y, x]) + 32.5 / 64 * size
        if np.hypot(*(at - slide.shape[0] / 2)) < core.diameter / 2 - 2 * size / 64:  # not on the edge of the disc
            there = picture[int(at[0]), int(at[1])].astype(float)
            assert np.abs(pixels[32, 32] - there).max() <= 4


@pytest.mark.parametrize(("diameter", "factor"), [(301, 2.0), (300, 3.0), (301, 4.0), (290, 0.0), (130, 0.0)])
def test_the_colour_tells_the_place_at_every_magnification(diameter: int, factor: float):
    slide, core = slide_of_disc(diameter=diameter)
    patches = sample(slide, core, replace(SPEC, levels=(LevelSpec(2, factor),)))
    for k, pixels in enumerate(patches.pixels):
        at = (np.arange(64) + 0.5) * patches.size[k] / 64
        y, x = patches.y[k] + at[:, None], patches.x[k] + at
        inside = np.hypot(y - 200, x - 200) < diameter / 2 - 2 * patches.size[k] / 64
        for channel, place in ((0, y), (1, x)):
            off = pixels[..., channel] - np.broadcast_to(place, (64, 64)) * 200 / 400
            assert np.abs(off[inside]).max() < 2


def test_patches_are_centred_on_tissue():
    slide, core = slide_of_disc()
    patches = sample(slide, core, replace(SPEC, levels=(LevelSpec(64, 1.0),)))
    middle = patches.pixels[:, 32, 32].astype(int)
    # those pushed inside the block lose a little of their centre, never all of their tissue
    assert (middle < 250).any(axis=-1).mean() > 0.9
    assert ((patches.pixels < 250).any(axis=-1).mean(axis=(1, 2)) > 0.2).all()


def test_the_same_core_gives_the_same_patches_whatever_the_slide_is_called():
    slide, core = slide_of_disc()
    first, second = sample(slide, core, SPEC), sample(replace(slide, name="other"), core, SPEC)
    assert np.array_equal(first.pixels, second.pixels)
    other = sample(slide, core, SPEC, seed=1)
    assert not np.array_equal(first.pixels, other.pixels)


@pytest.mark.parametrize("diameter", [300, 40])
def test_pixels_of_another_core_are_written_over(diameter: int):
    slide, core = slide_of_disc(diameter=diameter)
    core = replace(core, diameter=diameter)  # the smaller core is no larger than a patch: what lies around is glass
    plain, used = sample(slide, core, SPEC), np.full((12, 64, 64, 3), 7, np.uint8)
    again = sample(slide, core, SPEC, out=used)
    assert again.pixels is used
    assert np.array_equal(again.pixels, plain.pixels)
    assert len(sample(slide, core, SPEC, out=used[:5]).pixels) == 12


def test_an_empty_core_gives_no_patches():
    slide = Slide.from_arrays(np.full((200, 200, 3), 255, np.uint8), mpp=1.0)
    patches = sample(slide, Core("A-1", 0, 0, 100, 100, 150), SPEC)
    assert len(patches.pixels) == 0
    assert patches.tissue_fraction == 0


def test_a_core_smaller_than_a_patch_stands_on_glass():
    slide, core = slide_of_disc(60, 40)
    patches = sample(slide, core, SPEC)
    assert (patches.pixels[0][:8] == 255).all()
    assert (patches.pixels[0] < 250).any()


def test_a_core_at_the_edge_of_the_slide():
    slide, core = slide_of_disc()
    patches = sample(slide, replace(core, y=0.0, x=0.0), SPEC)
    assert len(patches.pixels) in (0, 12)


def test_no_pixel_size():
    slide, core = slide_of_disc()
    with pytest.raises(PixelSizeError):
        sample(replace(slide, mpp=None), core, SPEC)


def test_white_is_brought_to_white():
    slide, core = slide_of_disc()
    grey = Slide.from_arrays((slide.levels[0] * 0.9).astype(np.uint8), mpp=1.0)
    patches = sample(grey, core, SPEC, white=(229, 229, 229))
    assert patches.pixels[-1][0, 0].min() >= 254


@settings(max_examples=25, deadline=None)
@given(st.floats(60, 340), st.floats(60, 340), st.floats(20, 280))
def test_places_in_tissue_are_in_the_disc(y: float, x: float, diameter: float):
    slide, _ = slide_of_disc()
    core = Core("A-1", 0, 0, y, x, diameter)
    patches = sample(slide, core, SPEC)
    ys, xs = np.meshgrid(np.arange(0, 400, 7.0), np.arange(0, 400, 7.0))
    inside = patches.in_tissue(ys.ravel(), xs.ravel())
    distance = np.hypot(ys.ravel() - y, xs.ravel() - x)
    assert (distance[inside] <= 0.525 * diameter + 12).all()
