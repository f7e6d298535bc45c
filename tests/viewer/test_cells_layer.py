from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_her2.colours import SCORE_COLOURS
from napari_her2.measure import MPP, Measurement
from napari_her2.membrane.classes import CellClasses
from napari_her2.membrane.nuclei import Nuclei
from napari_her2.membrane.polar import ANGLES
from napari_her2.membrane.rings import Rings
from napari_her2.viewer.cells_layer import core_of_cells, find_cells_layer, hide_cells, show_cells
from napari_her2.viewer.cells_view import core_in_view, look_into


@pytest.fixture
def measured(grid_of_discs):
    """Two round cells of 6 µm radius, 1+ and 3+, on the core A-2 of the discs at 2 µm per pixel."""
    core = grid_of_discs["A-2"]
    y, x = np.array([60.0, 80.0], np.float32), np.array([60.0, 140.0], np.float32)  # µm from the corner of the core
    rays, one = np.full((ANGLES, 2), 6, np.float32), np.ones(2, np.float32)
    nuclei = Nuclei(y, x, rays / 2, one, one, one, one, one, one)
    cells = CellClasses(np.array([1, 3], np.uint8), np.array([0.05, 0.4], np.float32), np.array([0.3, 0.9], np.float32))
    y0, x0, y1, x1 = core.box
    found = Measurement(score="3+", sentence="3+: half.", percent=(0, 50, 0, 50), count=2, cells=cells, nuclei=nuclei)
    return replace(
        found,
        rings=Rings(rays, rays, rays, rays > 9, one, one),
        counted=np.arange(2),
        core=core,
        origin=(float(y0), float(x0)),
        pixel=1 / 2.0,
        shape=(round((y1 - y0) * 2 / MPP), round((x1 - x0) * 2 / MPP)),
        y=y0 + y.astype(float) / 2,
        x=x0 + x.astype(float) / 2,
    )


def labels_of(measured):
    return measured.label_image(by_class=False)


def test_cells_lie_where_they_were_measured_in_the_colour_of_their_class(viewer, image, cores, measured):
    active = viewer.layers.selection.active
    layer = show_cells(viewer.layers, image, cores, measured, labels_of(measured))
    assert [la.name for la in viewer.layers] == ["tma", "tma cells", "tma cores"]
    assert viewer.layers.selection.active is active
    assert layer.contour == 1
    for number, (y, x, shade) in enumerate(zip(measured.y, measured.x, ("1+", "3+"), strict=True), start=1):
        there = image.data_to_world((y, x))
        assert layer.get_value(there, world=True) == number
        colour = "".join(f"{round(255 * v):02x}" for v in layer.get_color(number)[:3])
        assert f"#{colour}" == SCORE_COLOURS[shade]
    # 6 µm are 3 pixels of the image: the cell ends there
    edge = image.data_to_world((measured.y[0], measured.x[0] + 3.3))
    assert layer.get_value(edge, world=True) == 0
    assert layer.colormap.map(0)[3] == 0
    assert layer.units == image.units


def test_the_status_bar_tells_of_a_cell(viewer, image, cores, measured):
    layer = show_cells(viewer.layers, image, cores, measured, labels_of(measured))
    status = layer.get_status(image.data_to_world((measured.y[1], measured.x[1])), world=True)["value"]
    assert "cell: 3+" in status
    assert "completeness: 0.9" in status


def test_the_cells_of_another_core_take_their_place_and_go_cleanly(viewer, image, cores, measured, grid_of_discs):
    first = show_cells(viewer.layers, image, cores, measured, labels_of(measured))
    other = replace(measured, core=grid_of_discs["B-1"])
    second = show_cells(viewer.layers, image, cores, other, labels_of(other))
    assert first not in viewer.layers
    assert find_cells_layer(viewer.layers, image) is second
    assert core_of_cells(viewer.layers, image) == "B-1"
    hide_cells(viewer.layers, image)
    hide_cells(viewer.layers, image)
    assert core_of_cells(viewer.layers, image) == ""
    assert [la.name for la in viewer.layers] == ["tma", "tma cores"]


def test_a_core_without_cells_is_shown_as_none(viewer, image, cores, measured):
    empty = Measurement(sentence="Not scorable.", core=measured.core, origin=measured.origin, shape=measured.shape)
    layer = show_cells(viewer.layers, image, cores, empty, labels_of(empty))
    assert not layer.data.any()
    assert len(layer.features) == 0


def test_the_core_in_the_middle_of_the_view_is_meant(viewer, image, cores, grid_of_discs):
    camera = (viewer.scene if hasattr(viewer, "scene") else viewer).camera
    core = grid_of_discs["B-3"]
    camera.center = image.data_to_world((core.y + 20, core.x - 10))
    assert core_in_view(viewer, cores, grid_of_discs) == core
    assert core_in_view(viewer, cores, []) is None
    camera.center = image.data_to_world((-500, -500))
    assert core_in_view(viewer, cores, grid_of_discs) is None


def test_the_view_turns_to_cells_that_are_too_small_to_see_and_stays_on_those_that_are_seen(viewer, image, measured):
    camera = (viewer.scene if hasattr(viewer, "scene") else viewer).camera
    camera.center, camera.zoom = image.data_to_world((0, 0)), 0.1
    look_into(viewer, image, measured.core, measured)
    assert camera.zoom >= 2
    assert camera.center[-2:] == pytest.approx(image.data_to_world((measured.y.mean(), measured.x.mean())))
    here, near = camera.center, camera.zoom
    camera.zoom = 2 * near
    look_into(viewer, image, measured.core, measured)
    assert (camera.center, camera.zoom) == (here, 2 * near)
