from __future__ import annotations

from dataclasses import replace

import numpy as np

from napari_her2.viewer.outline_layer import find_outline_layer, hide_outlines, show_outlines

TRIANGLE = ((30.0, 30.0), (30.0, 130.0), (130.0, 80.0))


def test_outlines_are_drawn_over_the_tissue_and_taken_away(viewer, image, cores, grid_of_discs):
    grid = grid_of_discs.with_core(replace(grid_of_discs["A-1"], outline=TRIANGLE))
    show_outlines(viewer.layers, image, cores, grid)
    layer = find_outline_layer(viewer.layers, image)
    assert [la.name for la in viewer.layers] == ["tma", "tma tissue outlines", "tma cores"]
    assert viewer.layers.selection.active is cores
    assert np.allclose(layer.data[0], TRIANGLE)
    assert np.allclose(layer.data_to_world((30, 30)), image.data_to_world((30, 30)))
    show_outlines(viewer.layers, image, cores, grid)
    assert find_outline_layer(viewer.layers, image) is layer
    show_outlines(viewer.layers, image, cores, grid_of_discs)
    assert find_outline_layer(viewer.layers, image).nshapes == 0
    hide_outlines(viewer.layers, image)
    hide_outlines(viewer.layers, image)
    assert find_outline_layer(viewer.layers, image) is None
