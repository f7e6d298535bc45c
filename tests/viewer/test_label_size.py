from __future__ import annotations

import pytest

from napari_her2.viewer.label_size import LabelSize


@pytest.fixture
def camera(viewer):
    return (viewer.scene if hasattr(viewer, "scene") else viewer).camera


def test_labels_follow_the_zoom_between_bounds(qtbot, viewer, cores, camera):
    camera.zoom = 0.15  # a core of 100 px at 2 µm is 30 pixels across
    labels = LabelSize(viewer)
    labels.bind(cores)
    small = cores.text.size
    assert small == pytest.approx(0.27 * 30)
    camera.zoom = 10.0
    qtbot.waitUntil(lambda: cores.text.size > small)
    assert cores.text.size == 10
    camera.zoom = 0.001
    qtbot.waitUntil(lambda: cores.text.size < small)
    assert cores.text.size == 4
    labels.close()
    camera.zoom = 10.0
    qtbot.wait(150)
    assert cores.text.size == 4
