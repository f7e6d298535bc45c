"""Regions drawn on the slide of two cores: measured with, outdated by, kept and exported."""

# ruff: noqa: F401, F811 (fixtures)

from __future__ import annotations

import json

import numpy as np
import pytest
from test_measuring import grid_of_discs, image, measured, measuring, ready, said

from napari_her2.regions import Region
from napari_her2.viewer import results
from napari_her2.viewer.cores_measured import clear_measured, set_measured
from napari_her2.viewer.drawn_regions import DrawnRegions
from napari_her2.viewer.measuring import Measuring
from napari_her2.viewer.regions_layer import find_regions_layer
from napari_her2.viewer.slide_stains import SlideStains
from napari_her2.viewer.widgets.measure_box import MeasureBox

pytestmark = pytest.mark.usefixtures("answers")
LEFT = np.array([[0, 0], [0, 200], [400, 200], [400, 0]], float)  # the left half of A-1


def layer_of(measuring):
    return find_regions_layer(measuring.session.viewer.layers, measuring.session.image)


@pytest.fixture
def box(measured, qtbot):
    box = MeasureBox(measured)
    qtbot.addWidget(box)
    measured.session.changed.connect(box.refresh)
    box.refresh()
    return box


def test_a_button_lets_regions_be_drawn_and_takes_the_user_back(box, measured, viewer, qtbot):
    box.draw["count here"].click()
    layer = layer_of(measured)
    assert layer.name == "tma regions"
    assert (viewer.layers.selection.active, layer.mode) == (layer, "add_polygon_lasso")
    assert box.draw["count here"].isChecked()
    box.draw["leave out"].click()
    assert [b.isChecked() for b in box.draw.values()] == [False, True]
    layer.add_polygons(LEFT)
    qtbot.waitUntil(lambda: measured.redrawn() == {"A-1"})
    assert measured.regions.regions() == (Region("leave out", tuple(map(tuple, LEFT.tolist()))),)
    box.draw["leave out"].click()
    assert viewer.layers.selection.active is measured.session.cores_layer
    assert not any(b.isChecked() for b in box.draw.values())
    box.draw["count here"].click()
    viewer.layers.selection.active = measured.session.cores_layer
    assert not box.draw["count here"].isChecked()
    assert len(viewer.layers) == 3  # image, regions, cores


def test_the_buttons_work_in_napari_itself(make_viewer, add_widget, qtbot):
    viewer = make_viewer()
    _, widget = add_widget(viewer)
    widget.cores_box.find.click()
    qtbot.waitUntil(lambda: widget.session.cores_layer is not None and not widget.session.busy, timeout=10_000)
    count, out = widget.measure_box.draw.values()
    count.click()
    assert count.isChecked()
    out.click()
    assert [count.isChecked(), out.isChecked()] == [False, True]
    viewer.layers["tma regions"].add_polygons(LEFT)
    qtbot.waitUntil(lambda: len(widget.measuring.regions.regions()) == 1)
    out.click()
    assert viewer.layers.selection.active == widget.session.cores_layer
    assert viewer.layers["tma regions"].mode == "pan_zoom"
    assert not out.isChecked()


def test_cells_that_are_shown_follow_what_is_measured(measured, viewer, qtbot):
    measured.session.cores_layer.selected_data = {0}
    measured.show_cells()
    qtbot.waitUntil(lambda: not measured.drawing_cells, timeout=10_000)
    before = viewer.layers["tma cells"].data.max()
    measured.regions.draw("leave out")
    layer_of(measured).add_polygons(LEFT)
    qtbot.waitUntil(lambda: measured.rest() == ["A-1"])
    measured.measure(["A-1"])
    qtbot.waitUntil(lambda: not measured.session.working and not measured.drawing_cells, timeout=10_000)
    assert 0.4 * before < viewer.layers["tma cells"].data.max() < 0.6 * before
    assert said(measured)[0].startswith("1 of 1 cores")


def test_what_is_drawn_outdates_the_cores_it_lies_on_and_they_are_measured_with_it(box, measured, qtbot):
    measured.regions.draw("leave out")
    before = measured.measured()["A-1"].count
    layer_of(measured).add_polygons(LEFT)
    qtbot.waitUntil(lambda: measured.rest() == ["A-1"])
    assert box.summary.text() == "2 measured, 1 out of date"
    assert box.summary.toolTip().endswith("A-1.")
    assert box.all.text() == "Measure rest (1)"
    measured.session.cores_layer.selected_data = {0}
    box.refresh_selection()
    assert "measure it again" in box.sentence.text()
    box.all.click()
    qtbot.waitUntil(lambda: not measured.session.working, timeout=10_000)
    assert 0.4 * before < measured.measured()["A-1"].count < 0.6 * before
    assert measured.rest() == []
    assert box.summary.text() == "2 measured"
    layer_of(measured).selected_data = {0}
    layer_of(measured).remove_selected()
    qtbot.waitUntil(lambda: measured.rest() == ["A-1"])


def test_a_region_of_tumour_needs_no_network_and_shown_cells_are_noted(measured, score_of, qtbot):
    session = measured.session
    measured.regions.draw("count here")
    layer_of(measured).add_ellipses(np.array([[100, 100], [100, 300], [300, 300], [300, 100]], float))
    qtbot.waitUntil(lambda: measured.rest() == ["A-1"])
    before = measured.measured()["A-1"].count
    session.cores_layer.selected_data = {0}
    measured.show_cells()
    qtbot.waitUntil(lambda: not measured.drawing_cells, timeout=10_000)
    inside = measured.cells_of("A-1")
    assert np.hypot(inside.y - 200, inside.x - 200).max() < 110
    assert measured.measured()["A-1"].count == inside.count < before
    assert measured.rest() == []
    from napari_her2.viewer.cores_scores import set_scores

    set_scores(session.cores_layer, session.slide, [score_of(session.grid()["A-1"], "3+")])
    session.changed.emit()
    assert measured.places()
    assert measured.rest() == []


def test_regions_live_in_their_layer_and_follow_its_table(measured, qtbot):
    measured.regions.draw("count here")
    layer = layer_of(measured)
    layer.add_polygons(LEFT)
    layer.add_lines(LEFT[:2])  # has no inside
    again = Measuring(measured.session, SlideStains(measured.session))
    assert [r.kind for r in again.regions.regions()] == ["count here"]
    table = layer.features.copy()
    table["kind"] = ["leave out", "leave out"]
    layer.features = table
    qtbot.waitUntil(lambda: np.ptp(layer.edge_color[0][:3]) == 0)  # grey
    assert [r.kind for r in measured.regions.regions()] == ["leave out"]
    measured.session.viewer.layers.remove(layer)
    assert measured.regions.regions() == ()
    assert measured.rest() == []


def test_regions_are_exported_with_the_cores_that_were_measured_in_them(measured, tmp_path, qtbot):
    session = measured.session
    measured.regions.draw("count here")
    layer_of(measured).add_polygons(LEFT)
    qtbot.waitUntil(lambda: measured.rest() == ["A-1"])
    measured.measure(["A-1"])
    qtbot.waitUntil(lambda: not session.working, timeout=10_000)
    layer_of(measured).data = [LEFT + 5]
    qtbot.waitUntil(lambda: measured.rest() == ["A-1"])
    results.export(session, tmp_path)
    qtbot.waitUntil(lambda: not session.busy, timeout=10_000)
    found = json.loads((tmp_path / "tma.run.json").read_text())["regions"]
    assert [(r["drawn"], r["measured"]) for r in found] == [(True, []), (False, ["A-1"])]
    assert found[1]["kind"] == "count here"
    assert found[1]["outline_xy"] == LEFT[:, ::-1].tolist()


def test_regions_ask_for_cores(measuring):
    DrawnRegions(measuring.session).draw("count here")
    assert said(measuring)[0] == "Find the cores first."


def test_flags_of_a_file_do_not_pile_up(measured):
    layer, slide = measured.session.cores_layer, measured.session.slide
    one = measured.cells_of("A-1")
    layer.metadata["napari_her2"].pop("measured")  # as after opening a file
    table = layer.features.copy()
    table.loc[0, "flags"] = (
        "Unfamiliar: not seen before. Nuclear haematoxylin 0.28 OD, outside 0.06 to 0.25: calibrate the thresholds. "
        "Fold: 3 % of the tissue is double or thick."
    )
    layer.features = table
    set_measured(layer, slide, [one])
    assert layer.features["flags"][0] == "Unfamiliar: not seen before."
    clear_measured(layer)
    assert layer.features["flags"][0] == "Unfamiliar: not seen before."
