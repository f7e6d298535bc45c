from __future__ import annotations

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_her2.errors import PixelSizeError, SlideError
from napari_her2.slide import Slide


def picture(h: int = 90, w: int = 130) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (h, w, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((50, 50), np.uint8), "not a brightfield RGB image"),
        (np.zeros((3, 50, 50), np.uint8), "not a brightfield RGB image"),
        (np.zeros((50, 50, 3), np.uint16), "8-bit"),
        (np.zeros((50, 50, 3), np.float32), "8-bit"),
        (np.zeros((5, 5, 3), np.uint8), "only 5 x 5"),
    ],
)
def test_what_is_no_slide_is_said(array: np.ndarray, says: str):
    with pytest.raises(SlideError, match=says):
        Slide.from_arrays(array, name="grey")


def test_no_arrays():
    with pytest.raises(SlideError, match="holds no image"):
        Slide.from_arrays([])


@given(st.integers(-40, 120), st.integers(-40, 160), st.integers(1, 60), st.integers(1, 60))
def test_reading_beyond_the_slide_is_white(y: int, x: int, h: int, w: int):
    image = picture()
    block = Slide.from_arrays(image).read(0, y, x, h, w)
    wide = np.pad(image, ((200, 200), (200, 200), (0, 0)), constant_values=255)
    assert np.array_equal(block, wide[y + 200 : y + 200 + h, x + 200 : x + 200 + w])


def test_levels_may_be_dask_rgba_and_in_any_order():
    fine = da.from_array(np.dstack([picture(), np.full((90, 130), 7, np.uint8)]), chunks=32)
    slide = Slide.from_arrays([fine[::2, ::2], fine])
    assert slide.shape == (90, 130)
    assert slide.downsamples == (1.0, 2.0)
    assert slide.read(0, 0, 0, 90, 130).shape == (90, 130, 3)


def test_the_level_is_at_least_as_fine_as_asked():
    image = picture(800, 800)
    slide = Slide.from_arrays([image, image[::2, ::2], image[::4, ::4]])
    assert [slide.level_for(d) for d in (0.5, 1, 1.9, 1.99, 2, 3.9, 4, 100)] == [0, 0, 0, 1, 1, 1, 2, 2]


@pytest.mark.parametrize("shape", [(2000, 3000), (3001, 1999), (100, 5000)])
def test_overview_is_small_and_keeps_the_colours(shape: tuple[int, int]):
    image = np.full((*shape, 3), (200, 100, 50), np.uint8)
    view, down = Slide.from_arrays(image).overview(512)
    assert max(view.shape) <= 512
    assert (view == (200, 100, 50)).all()
    assert view.shape[0] == -(-shape[0] // int(down))


@pytest.mark.parametrize("factor", [3, 16, 20])
def test_overview_is_the_mean_over_squares(factor: int):
    image = 255 - picture(32 * factor, 32 * factor) // 50  # bright: the sums are as large as they get
    view, down = Slide.from_arrays(image).overview(32)
    assert down == factor
    square = image[5 * factor : 6 * factor, 7 * factor : 8 * factor]
    assert np.array_equal(view[5, 7], square.reshape(-1, 3).astype(int).sum(0) // factor**2)


def test_pixel_size_is_checked_and_demanded():
    slide = Slide.from_arrays(picture())
    with pytest.raises(PixelSizeError, match="--pixel-size"):
        slide.require_mpp()
    assert slide.with_mpp(0.5).require_mpp() == 0.5
    for wrong in (0.0, -1.0, 353.0, float("nan")):
        with pytest.raises(PixelSizeError, match="cannot be right"):
            slide.with_mpp(wrong)


def test_a_damaged_place_is_named():
    class Damaged:
        shape, dtype = (90, 130, 3), np.dtype(np.uint8)

        def __getitem__(self, key):
            raise ValueError("bad Huffman code")

    slide = replace(Slide.from_arrays(picture()), name="slide 7", levels=(Damaged(),))
    with pytest.raises(SlideError, match=r"slide 7 cannot be read around x 5, y 4 .*bad Huffman code"):
        slide.read(0, 4, 5, 10, 10)


def test_overview_is_read_where_the_fewest_pixels_hold_as_much():
    class Counted:
        dtype, ndim = np.dtype(np.uint8), 3

        def __init__(self, side: int) -> None:
            self.shape, self.read = (side, side, 3), 0

        def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
            rows, columns = (part.stop - part.start for part in key)
            self.read += rows * columns
            return np.full((rows, columns, 3), 200, np.uint8)

    levels = [Counted(1600 // 2**k) for k in range(5)]
    # 137 pixels ask for a twelfth; squares of 2 pixels of the eighth make a sixteenth, which is there
    view, down = Slide.from_arrays(levels).overview(137)
    assert (view.shape, down) == ((100, 100, 3), 16)
    assert [level.read for level in levels] == [0, 0, 0, 0, 100 * 100]


def test_overview_shows_what_can_be_read():
    image = np.full((1500, 1500, 3), 90, np.uint8)

    class Damaged:
        shape, dtype = image.shape, image.dtype

        def __getitem__(self, key):
            rows, columns = key
            if rows.start < 300 < rows.stop and columns.start < 300 < columns.stop:
                raise ValueError("corrupt tile")
            return image[key]

    view, _ = Slide.from_arrays(Damaged()).overview(150)
    assert (view[:51, :51] == 255).all()
    assert (view[53:, 53:] == 90).all()
