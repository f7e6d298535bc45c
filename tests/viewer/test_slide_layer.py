from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image
from napari.layers._source import layer_source
from PIL import Image as Picture

from napari_her2.errors import PixelSizeError, SlideError
from napari_her2.viewer.slide_layer import GIVEN, KEY, give_pixel_size, is_slide_layer, placement, slide_of_layer

RGB = np.full((64, 96, 3), 200, np.uint8)
UM = ("um", "um")


@pytest.mark.parametrize(
    ("arguments", "mpp", "source"),
    [
        ({"scale": (0.25, 0.25), "units": UM}, 0.25, "the layer's scale"),
        ({"scale": (250, 250), "units": ("nm", "nm")}, 0.25, "the layer's scale"),
        ({"scale": (5e-4, 5e-4), "units": ("mm", "mm")}, 0.5, "the layer's scale"),
        ({"scale": (0.4, 0.9), "units": UM}, 0.6, "the layer's scale"),
        ({"scale": (-0.5, 0.5), "units": UM}, 0.5, "the layer's scale"),
        # numbers without a unit of length tell nothing
        ({"scale": (0.25, 0.25)}, None, ""),
        ({}, None, ""),
        # one µm is no accident here, but 353 µm is 72 dpi
        ({"scale": (353, 353), "units": UM}, None, ""),
        ({"metadata": {"mpp": 0.5}}, 0.5, "the layer's metadata"),
        ({"metadata": {"openslide.mpp-x": "0.2520"}}, 0.252, "the layer's metadata"),
        ({"metadata": {"reader": {"PhysicalSizeX": 0.23}}}, 0.23, "the layer's metadata"),
        ({"metadata": {"PhysicalSizeX": 230, "PhysicalSizeXUnit": "nm"}}, None, ""),
        ({"metadata": {"mpp": "unknown"}}, None, ""),
        ({"scale": (0.25, 0.25), "units": UM, "metadata": {"mpp": 0.5}}, 0.25, "the layer's scale"),
    ],
)
def test_the_pixel_size_is_what_the_layer_tells(arguments, mpp, source):
    slide = slide_of_layer(Image(RGB, rgb=True, name="a", **arguments))
    assert slide.mpp == (None if mpp is None else pytest.approx(mpp))
    assert slide.mpp_source == source


def test_what_the_user_gives_stands_above_all_and_can_be_taken_back():
    layer = Image(RGB, rgb=True, scale=(0.25, 0.25), units=UM, metadata={"other": 1})
    give_pixel_size(layer, 0.5)
    assert (slide_of_layer(layer).mpp, slide_of_layer(layer).mpp_source) == (0.5, GIVEN)
    assert layer.metadata["other"] == 1
    give_pixel_size(layer, None)
    assert slide_of_layer(layer).mpp == 0.25
    with pytest.raises(PixelSizeError, match="cannot be right"):
        give_pixel_size(layer, 353)
    assert "mpp" not in layer.metadata[KEY]


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Image(np.zeros((64, 64)), name="grey"), "grey is not an RGB image"),
        (Image(np.zeros((3, 64, 64, 3), np.uint8), rgb=True, name="stack"), "stack has 3 dimensions"),
        (Image(np.zeros((64, 64, 3), np.float32), rgb=True, name="float"), "convert it to 8-bit"),
    ],
)
def test_what_is_no_slide_is_said_in_a_sentence(layer, words):
    with pytest.raises(SlideError, match=words):
        slide_of_layer(layer)


def test_only_flat_rgb_layers_are_offered():
    assert is_slide_layer(Image(RGB, rgb=True))
    assert not is_slide_layer(Image(RGB[..., 0]))
    assert not is_slide_layer(Image(RGB[None], rgb=True))


@pytest.mark.parametrize("wrap", [np.asarray, da.from_array])
def test_multiscale_layers_keep_their_levels(wrap):
    levels = [wrap(np.full((256 // f, 512 // f, 3), 200, np.uint8)) for f in (1, 4, 16)]
    slide = slide_of_layer(Image(levels, rgb=True, multiscale=True, name="pyramid"))
    assert slide.downsamples == (1, 4, 16)
    assert slide.read(1, 0, 0, 4, 4).tolist() == np.full((4, 4, 3), 200).tolist()


def test_a_layer_read_from_a_file_is_that_file(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (64, 96, 3), np.uint8)
    Picture.fromarray(pixels).save(tmp_path / "core.png")
    with layer_source(path=str(tmp_path / "core.png")):
        layer = Image(pixels, rgb=True, name="core")
    slide = slide_of_layer(layer)
    assert slide.path == tmp_path / "core.png"
    assert slide.mpp is None
    # cropped since: the pixels of the layer count, not those of the file
    layer.data = layer.data[:32]
    assert slide_of_layer(layer).path is None
    assert slide_of_layer(layer).shape == (32, 96)


def test_a_derived_layer_lies_where_its_image_lies(viewer):
    affine = np.array([[1, 0.1, 5], [0, 1, -3], [0, 0, 1]])
    layer = Image(RGB, rgb=True, scale=(0.5, 0.25), units=UM, rotate=30, translate=(7, 8), shear=[0.2], affine=affine)
    other = Image(RGB[..., 0], **placement(layer))
    for point in ((0, 0), (10, 3), (-2.5, 80)):
        assert other.data_to_world(point) == pytest.approx(layer.data_to_world(point))
    assert other.units == layer.units
