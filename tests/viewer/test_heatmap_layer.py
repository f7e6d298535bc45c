from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from napari.layers import Image

from napari_her2.heatmap import Heatmap, likely_map
from napari_her2.viewer.heatmap_layer import (
    add_heatmap_layer,
    find_heatmap_layer,
    heatmap_arguments,
    heatmap_of_layer,
    kind_of_layer,
    redraw,
    score_image,
    show_kind,
)
from napari_her2.viewer.slide_layer import slide_of_layer


@pytest.mark.parametrize("stride", [1, 2, 8, 33])
@pytest.mark.parametrize(
    "place",
    [
        {},
        {"scale": (0.25, 0.25), "units": ("um", "um"), "translate": (100.0, -7.0)},
        {"scale": (0.5, 0.25), "rotate": 30, "shear": [0.2], "translate": (1.0, 2.0)},
        {"scale": (2, 2), "affine": np.array([[1, 0.1, 5], [0, 1.5, -3], [0, 0, 1]])},
    ],
)
def test_a_heatmap_pixel_covers_exactly_its_image_pixels(stride, place):
    image = Image(np.zeros((100, 140, 3), np.uint8), rgb=True, name="a", **place)
    heatmap = Heatmap((100, 140), stride)
    layer = Image(heatmap.image, **heatmap_arguments(image, heatmap))
    for i, j in ((0, 0), (1, 0), (2, 3)):
        # corners: half a pixel before the first image pixel, half a pixel after the last
        for corner in (-0.5, 0.5):
            over = (i + corner, j + corner)
            under = ((i + 0.5 + corner) * stride - 0.5, (j + 0.5 + corner) * stride - 0.5)
            assert layer.data_to_world(over) == pytest.approx(image.data_to_world(under))
    assert layer.units == image.units
    assert layer.axis_labels == image.axis_labels


def test_the_layer_shows_the_expected_score_under_the_cores(viewer, image, cores, grid_of_discs, score_of):
    heatmap = Heatmap((280, 520), 8)
    heatmap.add(score_of(grid_of_discs["A-4"], "3+"))
    layer = add_heatmap_layer(viewer.layers, image, cores, heatmap)
    assert layer.name == "tma HER2 heatmap"
    assert [la.name for la in viewer.layers] == ["tma", "tma HER2 heatmap", "tma cores"]
    assert viewer.layers.selection.active is cores
    assert layer.data.dtype == np.float32
    assert tuple(layer.contrast_limits) == (0, 3)
    core = grid_of_discs["A-4"]
    assert layer.get_value(image.data_to_world((core.y, core.x)), world=True) == 3
    other = grid_of_discs["B-1"]
    assert np.isnan(layer.get_value(image.data_to_world((other.y, other.x)), world=True))
    # the colormap runs from the colour of 0, faint, to that of 3+; nothing is drawn where nothing was scored
    low, high, nothing = layer.colormap.map(np.array([0.0, 1.0, np.nan]))
    assert np.round(255 * low[:3]).astype(int).tolist() == [0x1A, 0x58, 0xEC]
    assert np.round(255 * high[:3]).astype(int).tolist() == [0xC2, 0x17, 0x84]
    assert nothing[3] == 0 < low[3] < high[3] == 1


def test_the_heatmap_comes_back_from_its_layer(viewer, image, cores, grid_of_discs, score_of):
    layer = add_heatmap_layer(viewer.layers, image, cores, Heatmap((280, 520), 8))
    layer.name = "renamed"
    assert find_heatmap_layer(viewer.layers, image) is layer
    assert find_heatmap_layer(viewer.layers, cores) is layer
    heatmap = heatmap_of_layer(layer)
    assert (heatmap.stride, heatmap.slide_shape) == (8, (280, 520))
    heatmap.add(score_of(grid_of_discs["A-2"], "1+"))
    assert np.nanmax(layer.data) == 1
    viewer.layers.remove(layer)
    assert find_heatmap_layer(viewer.layers, image) is None


def test_another_kind_is_shown_and_the_scores_are_kept(viewer, image, cores, score_of, mock_model, grid_of_discs):
    heatmap = Heatmap.of(slide_of_layer(image))
    heatmap.add(score_of(grid_of_discs["A-3"], "2+"))
    layer = add_heatmap_layer(viewer.layers, image, cores, heatmap)
    scores = layer.data.copy()
    cuts = mock_model.calibration
    show_kind(layer, "at_least_2", cuts)
    assert np.array_equal(score_image(layer), scores, equal_nan=True)
    assert np.array_equal(layer.data, likely_map(scores, "at_least_2", cuts), equal_nan=True)
    assert tuple(layer.contrast_limits) == (0, 1)
    # what is drawn meanwhile goes into the scores and is seen
    heatmap_of_layer(layer).add(score_of(grid_of_discs["A-4"], "3+"))
    redraw(layer)
    both = score_image(layer).copy()
    assert np.isfinite(both).sum() > np.isfinite(scores).sum()
    assert np.array_equal(np.isfinite(layer.data), np.isfinite(both))
    other = replace(cuts, cuts=(0.5, 2.5, 2.9))
    show_kind(layer, "at_least_2", other)
    assert np.array_equal(layer.data, likely_map(both, "at_least_2", other), equal_nan=True)
    show_kind(layer, "confidence", cuts)
    show_kind(layer, "score", cuts)
    assert kind_of_layer(layer) == "score"
    assert np.array_equal(layer.data, both, equal_nan=True)
    assert tuple(layer.contrast_limits) == (0, 3)
    heatmap_of_layer(layer).clear(grid_of_discs["A-4"])
    redraw(layer)
    assert np.array_equal(layer.data, scores, equal_nan=True)
