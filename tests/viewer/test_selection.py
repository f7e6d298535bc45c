from __future__ import annotations

import pytest

from napari_her2.cores import Core, CoreState
from napari_her2.viewer.cores_layer import add_cores_layer
from napari_her2.viewer.selection import (
    invert,
    select_all,
    select_columns,
    select_none,
    select_rows,
    selected_names,
    selection_text,
)
from napari_her2.viewer.slide_layer import slide_of_layer


@pytest.fixture
def layer(viewer, image, grid_of_discs):
    """2 x 4 cores, A-2 missing, and a control core off the grid."""
    grid = grid_of_discs.with_state(["A-2"], CoreState.MISSING).with_core(Core("X-1", -1, -1, 250.0, 40.0, 30.0))
    return add_cores_layer(viewer.layers, image, slide_of_layer(image), grid)


def test_all_and_invert_take_the_cores_with_tissue(layer):
    select_all(layer)
    assert selected_names(layer) == ["A-1", "A-3", "A-4", "B-1", "B-2", "B-3", "B-4", "X-1"]
    assert selection_text(layer) == "8 of 9 cores selected"
    select_none(layer)
    assert selection_text(layer) == "0 of 9 cores selected"
    layer.selected_data = {0, 1, 4}
    assert selection_text(layer) == "3 of 9 cores selected, 1 without tissue"
    invert(layer)
    assert selected_names(layer) == ["A-3", "A-4", "B-2", "B-3", "B-4", "X-1"]


def test_a_selection_widens_to_its_rows_and_columns(layer):
    layer.selected_data = {3}
    select_rows(layer)
    assert selected_names(layer) == ["A-1", "A-3", "A-4"]
    layer.selected_data = {0, 2}
    select_columns(layer)
    assert selected_names(layer) == ["A-1", "A-3", "B-1", "B-3"]


def test_a_core_off_the_grid_has_no_row(layer):
    layer.selected_data = {8}
    select_rows(layer)
    select_columns(layer)
    assert selected_names(layer) == ["X-1"]


def test_rows_of_other_blocks_are_other_rows(layer):
    table = layer.features.copy()
    table.loc[2:3, "block"] = "2"
    layer.features = table
    layer.selected_data = {0}
    select_rows(layer)
    assert selected_names(layer) == ["A-1"]


def test_the_mouse_selects_cores(layer):
    """Click, shift-click, a box: napari's own select mode, on rings whose inside is transparent."""
    from types import SimpleNamespace

    from napari.utils._proxies import ReadOnlyWrapper
    from napari.utils.interactions import mouse_move_callbacks, mouse_press_callbacks, mouse_release_callbacks

    layer.mode = "select"

    def event(kind, point, modifiers=()):
        return ReadOnlyWrapper(SimpleNamespace(
            type=kind, position=layer.data_to_world(point), modifiers=modifiers, is_dragging=kind == "mouse_move",
            dims_displayed=(0, 1), dims_point=(0, 0), view_direction=None, pos=(0, 0), button=1, handled=False,
        ))  # fmt: skip

    def drag(start, *way, modifiers=()):
        mouse_press_callbacks(layer, event("mouse_press", start, modifiers))
        for point in way:
            mouse_move_callbacks(layer, event("mouse_move", point, modifiers))
        mouse_release_callbacks(layer, event("mouse_release", (start, *way)[-1], modifiers))

    drag((83, 77))
    assert selected_names(layer) == ["A-1"]
    drag((203, 437), modifiers=("Shift",))
    assert selected_names(layer) == ["A-1", "B-4"]
    drag((10, 10))
    assert selected_names(layer) == []
    drag((10, 260), (11, 261), (275, 515))
    assert selected_names(layer) == ["A-3", "A-4", "B-3", "B-4"]
    assert layer.features["y"].tolist()[0] == 80
