from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image

from napari_her2.stain import QUPATH_STAINS, Stains, unmix
from napari_her2.viewer.slide_layer import KEY, give_pixel_size, is_slide_layer
from napari_her2.viewer.stain_layers import (
    find_stain_layer,
    forget_stains,
    hide_stains,
    keep_stains,
    show_stain,
    stain_levels,
    stain_shown,
    stains_of_layer,
)

OTHER = Stains((230.0, 231.0, 232.0), (0.6, 0.7, 0.39), QUPATH_STAINS.dab, source="region")


@pytest.fixture
def pyramid(viewer):
    """An image of three levels that nothing reads before it is looked at."""
    picture = np.random.default_rng(0).integers(60, 240, (1200, 1600, 3), np.uint8)
    levels = [da.from_array(picture[::k, ::k], chunks=(256, 256, 3)) for k in (1, 2, 4)]
    return viewer.add_image(levels, rgb=True, name="tma", scale=(0.25, 0.25), units=("um", "um"), translate=(3, -5))


def test_each_level_holds_the_amount_of_one_stain(pyramid):
    for role, which in (("hematoxylin", 0), ("dab", 1)):
        levels = stain_levels(pyramid, OTHER, role)
        assert [level.shape for level in levels] == [(1200, 1600), (600, 800), (300, 400)]
        for level, rgb in zip(levels, pyramid.data, strict=True):
            part = np.s_[40:60, 250:270]
            assert level.dtype == np.float32
            assert np.array_equal(level[part].compute(), unmix(rgb[part].compute(), OTHER)[which])


def test_a_picture_that_is_no_pyramid_and_has_an_alpha_channel_is_unmixed_too(viewer):
    picture = np.full((50, 60, 4), 200, np.uint8)
    image = viewer.add_image(picture, rgb=True)
    (level,) = stain_levels(image, OTHER, "dab")
    assert np.array_equal(level.compute(), unmix(picture[..., :3], OTHER)[1])


def test_one_stain_at_a_time_lies_exactly_over_the_image_and_below_everything_else(viewer, pyramid):
    above = viewer.add_points(np.zeros((1, 2)))
    show_stain(viewer.layers, pyramid, OTHER, "dab")
    show_stain(viewer.layers, pyramid, OTHER, "hematoxylin")
    assert [la.name for la in viewer.layers] == ["tma", "tma haematoxylin", "tma DAB", above.name]
    assert viewer.layers.selection.active is above
    blue, brown = (find_stain_layer(viewer.layers, pyramid, role) for role in ("hematoxylin", "dab"))
    assert (blue.visible, brown.visible) == (True, False)
    assert stain_shown(viewer.layers, pyramid) == "hematoxylin"
    assert blue.multiscale
    assert blue.data_to_world((7, 9)) == pytest.approx(pyramid.data_to_world((7, 9)))
    assert blue.units == pyramid.units
    assert not is_slide_layer(blue)
    show_stain(viewer.layers, pyramid, OTHER, None)
    assert stain_shown(viewer.layers, pyramid) is None
    hide_stains(viewer.layers, pyramid)
    assert [la.name for la in viewer.layers] == ["tma", above.name]


def test_other_stains_make_the_layers_anew(viewer, pyramid):
    show_stain(viewer.layers, pyramid, QUPATH_STAINS, "hematoxylin")
    show_stain(viewer.layers, pyramid, QUPATH_STAINS, "dab")
    show_stain(viewer.layers, pyramid, OTHER, "dab")
    assert [la.name for la in viewer.layers] == ["tma", "tma DAB"]
    brown = viewer.layers["tma DAB"]
    assert brown.metadata[KEY]["stains"] == OTHER.to_dict()
    # no stain is the slide's own glass, much of it is brown
    glass, deep = brown.colormap.map(np.array([0.0, 1.0]))[:, :3] * 255
    assert glass == pytest.approx(OTHER.white, abs=1)
    assert deep[0] > deep[1] > deep[2]


def test_stains_are_kept_with_the_image_beside_what_else_is_known():
    image = Image(np.zeros((8, 8, 3), np.uint8), rgb=True)
    give_pixel_size(image, 0.5)
    assert stains_of_layer(image) is None
    keep_stains(image, OTHER)
    assert stains_of_layer(image).to_dict() == OTHER.to_dict()
    assert image.metadata[KEY]["mpp"] == 0.5
    forget_stains(image)
    assert stains_of_layer(image) is None
    assert image.metadata[KEY]["mpp"] == 0.5
    image.metadata[KEY]["stains"] = {"white": "no colour"}
    assert stains_of_layer(image) is None
