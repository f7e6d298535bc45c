from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_her2.viewer.grid_drawing import GridDrawing, _clockwise

FRAME = np.array([[80.0, 80.0], [80.0, 440.0], [200.0, 440.0], [200.0, 80.0]])


@pytest.fixture
def drawing(viewer, image):
    drawing = GridDrawing(viewer.layers, image, 2, 4)
    yield drawing
    drawing.close()


def test_a_frame_shows_its_places_on_the_slide(viewer, image, drawing):
    assert drawing.frame.mode == "add_rectangle"
    assert drawing.corners() is None
    drawing.frame.add_rectangles(FRAME)
    assert drawing.frame.mode == "direct"
    assert [core.name for core in drawing.grid] == [f"{row}-{column}" for row in "AB" for column in range(1, 5)]
    assert np.allclose(drawing.places.data[5], (200, 200))
    # the frame lies over the image, whatever its scale
    assert np.allclose(drawing.frame.data_to_world((80, 80)), image.data_to_world((80, 80)))
    drawing.resize(3, 4)
    assert len(drawing.grid) == 12


def test_pulled_corners_move_the_places(drawing):
    drawing.frame.add_rectangles(FRAME)
    pulled = FRAME.copy()
    pulled[2] = (260.0, 500.0)
    drawing.frame.data = [(pulled, "polygon")]
    assert np.allclose(drawing.places.data[7], (260, 500))
    assert np.allclose(drawing.places.data[0], (80, 80))


def test_a_second_frame_stands_in_for_the_first(drawing):
    drawing.frame.add_rectangles(FRAME)
    drawing.frame.add_rectangles(FRAME + 20)
    assert drawing.frame.nshapes == 1
    assert np.allclose(drawing.places.data[0], (100, 100))


def test_a_frame_without_room_is_explained(drawing):
    drawing.frame.add_rectangles(FRAME * 0 + 5)
    assert len(drawing.grid) == 0
    assert drawing.why_not.endswith(".")


@pytest.mark.parametrize("name", ["tma grid to place", "tma places", "tma"])
def test_deleting_a_layer_ends_the_drawing(viewer, image, name):
    drawing = GridDrawing(viewer.layers, image, 2, 4)
    ended = []
    drawing.ended.connect(lambda: ended.append(True))
    viewer.layers.remove(viewer.layers[name])
    assert ended == [True]
    assert [layer.name for layer in viewer.layers] == ([] if name == "tma" else ["tma"])
    drawing.close()
    assert ended == [True]


@given(start=st.integers(0, 3), back=st.booleans(), turn=st.floats(-0.6, 0.6))
def test_corners_are_in_order_whichever_way_they_were_drawn(start, back, turn):
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    corners = (FRAME - FRAME.mean(0)) @ rotation.T
    drawn = np.roll(corners[::-1] if back else corners, start, axis=0)
    assert np.allclose(_clockwise(drawn), corners)
