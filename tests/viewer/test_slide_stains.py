"""The stains of a slide of two cores: estimated, drawn by the user, kept in a file, shown in the Stains box."""

# ruff: noqa: F401, F811 (fixtures)

from __future__ import annotations

import json

import numpy as np
import pytest
from test_measuring import GLASS, PICTURE, grid_of_discs, image, measuring, ready, said

from napari_her2.stain import QUPATH_STAINS, Stains
from napari_her2.stain.vectors import angle
from napari_her2.viewer.slide_layer import KEY
from napari_her2.viewer.slide_stains import SlideStains
from napari_her2.viewer.widgets.stain_box import StainBox


@pytest.fixture
def box(ready, qtbot):
    box = StainBox(ready.slide_stains)
    qtbot.addWidget(box)
    ready.session.changed.connect(box.refresh)
    box.refresh()
    return box


def test_stains_are_estimated_once_the_cores_are_there_and_kept_with_the_image(measuring, qtbot):
    ready = measuring
    ready.session.find()
    qtbot.waitUntil(lambda: ready.slide_stains.stains is not None, timeout=10_000)
    stains = ready.slide_stains.stains
    assert stains.source == "estimated"
    assert np.abs(np.array(stains.white) - GLASS).max() < 3
    assert angle(stains.dab, QUPATH_STAINS.dab) < 3
    assert ready.session.image.metadata[KEY]["stains"] == stains.to_dict()
    again = SlideStains(ready.session)
    assert again.stains.to_dict() == stains.to_dict()
    assert not again.estimating


def test_a_region_that_the_user_draws_corrects_a_stain_at_once(ready, viewer, qtbot):
    stains = ready.slide_stains
    stains.show("dab")
    stains.correct("white")
    region = viewer.layers["tma region"]
    assert (viewer.layers.selection.active, region.mode) == (region, "add_rectangle")
    PICTURE[4:12, 4:12] = (220, 210, 200)
    try:
        region.add_rectangles(np.array([[4, 4], [4, 12], [12, 12], [12, 4]]))
        qtbot.waitUntil(lambda: stains.region is None)
    finally:
        PICTURE[4:12, 4:12] = GLASS
    assert stains.stains.white == (220, 210, 200)
    assert stains.stains.source == "region"
    assert said(ready) == ("Glass is now 220, 210, 200.", False)
    assert "tma region" not in viewer.layers
    assert viewer.layers["tma DAB"].metadata[KEY]["stains"] == stains.stains.to_dict()
    assert viewer.layers["tma DAB"].visible
    stains.reset()
    qtbot.waitUntil(lambda: stains.stains is not None and not stains.estimating)
    assert stains.stains.source == "estimated"


def test_a_region_that_cannot_be_is_told_and_changes_nothing(ready, viewer, qtbot):
    stains = ready.slide_stains
    before = stains.stains
    stains.correct("dab")
    viewer.layers["tma region"].add_rectangles(np.array([[4, 4], [4, 12], [12, 12], [12, 4]]))
    qtbot.waitUntil(lambda: stains.region is None)
    assert said(ready) == ("The region for dab is as pale as glass: draw it where the stain is strong.", True)
    assert stains.stains == before
    stains.correct("dab")
    viewer.layers.remove("tma region")
    assert stains.region is None
    assert stains.stains == before


def test_stains_go_to_a_file_and_come_back_on_another_slide(ready, tmp_path, qtbot):
    stains, path = ready.slide_stains, tmp_path / "batch.json"
    stains.save_stains(path)
    mine = Stains((230.0, 231.0, 232.0), (0.6, 0.7, 0.39), QUPATH_STAINS.dab, 1, 1)
    assert json.loads(path.read_text())["source"] == "estimated"
    path.write_text(json.dumps({"measurement": {"stains": mine.to_dict()}, "image": {}}))
    stains.load_stains(path)
    assert stains.stains.to_dict() == mine.to_dict()
    for text in ("{", "[1]", '{"white": [1, 2]}'):
        path.write_text(text)
        stains.load_stains(path)
        assert said(ready)[1]
        assert stains.stains.to_dict() == mine.to_dict()


def test_what_cannot_be_unmixed_is_said_in_one_sentence(measuring, viewer, qtbot):
    stains = measuring.slide_stains
    viewer.layers.remove("tma")
    assert measuring.why_not() == "Open a slide first."
    viewer.add_image(np.zeros((50, 50), np.uint16), name="DAPI")
    assert measuring.why_not().startswith("DAPI is not an RGB image")
    dark = np.zeros((300, 300, 3), np.uint8)
    dark[100:110, :, 2] = 200
    viewer.add_image(dark, rgb=True, name="overlay")
    stains.estimate()
    qtbot.waitUntil(lambda: not stains.estimating)
    assert said(measuring) == (
        "overlay is dark, as fluorescence is: stains can be told on a brightfield scan of a DAB-stained slide only.",
        True,
    )
    assert stains.why_not == said(measuring)[0]
    viewer.add_image(np.full((300, 300, 3), 240, np.uint8), rgb=True, name="empty")
    stains.estimate()
    qtbot.waitUntil(lambda: stains.stains is not None)
    assert stains.stains.warnings[0].startswith("Haematoxylin could not be measured")


def test_the_stains_are_shown_beside_those_of_qupath(box, viewer):
    assert box.inner.isHidden()
    box.fold.click()
    assert not box.inner.isHidden()
    assert box.numbers["dab"].text() == "0.269 0.568 0.778   0.0°"
    assert box.numbers["white"].text() == "240, 240, 244"
    assert box.summary.text() == "estimated"
    box.views["dab"].click()
    assert box.views["dab"].isChecked()
    assert viewer.layers["tma DAB"].visible
    box.regions["white"].click()
    assert "tma region" in viewer.layers
    assert not viewer.layers["tma DAB"].visible  # while a region is drawn
    box.regions["white"].click()
    assert "tma region" not in viewer.layers
    assert viewer.layers["tma DAB"].visible
