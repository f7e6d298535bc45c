"""Undo and redo of everything that the user and the widget do to the cores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel

from napari_her2.cores import CoreGrid, CoreState
from napari_her2.heatmap import Heatmap
from napari_her2.scores import SCORES
from napari_her2.slide import Slide
from napari_her2.viewer.cores_layer import add_cores_layer
from napari_her2.viewer.cores_scores import set_scores
from napari_her2.viewer.cores_watch import CoresWatch
from napari_her2.viewer.heatmap_layer import add_heatmap_layer, heatmap_of_layer
from napari_her2.viewer.slide_layer import slide_of_layer

SQUARE = np.array([[300.0, 30.0], [300.0, 130.0], [400.0, 130.0], [400.0, 30.0]])


@pytest.fixture
def watch(qtbot, viewer, image, cores):
    watch = CoresWatch(viewer.layers)
    watch.bind(cores, slide_of_layer(image))
    watch.settle()
    return watch


def names(watch) -> list[str]:
    return sorted(core.name for core in watch.read()[0])


def scored(watch, viewer, image, grid, score_of):
    scores = [score_of(core, SCORES[core.column]) for core in grid]
    set_scores(watch.layer, watch.slide, scores)
    heatmap = Heatmap.of(watch.slide)
    layer = add_heatmap_layer(viewer.layers, image, watch.layer, heatmap)
    for score in scores:
        heatmap_of_layer(layer).add(score)
    watch.settle()
    return layer


def test_nothing_to_undo_at_first(watch):
    assert (watch.undoes, watch.redoes) == ("", "")
    watch.undo()
    watch.redo()
    assert len(names(watch)) == 8


def test_drawing_moving_and_deleting_are_undone_one_by_one(watch, answers):
    before = watch.read()[0]
    layer = watch.layer
    layer.add_ellipses(SQUARE)
    watch.settle()
    assert "C-1" in names(watch)
    layer.data = [layer.data[0] + 20, *layer.data[1:]]
    watch.settle()
    layer.remove([3])
    watch.settle()
    assert watch.undoes == "deletion of A-4"
    assert "A-4" not in names(watch)
    watch.undo()
    assert watch.undoes == "move of A-1"
    assert watch.read()[0]["A-1"].y == 100
    watch.undo()
    assert watch.undoes == "new core C-1"
    assert watch.read()[0]["A-1"].y == 80
    watch.undo()
    assert watch.undoes == ""
    assert {c.name: c for c in watch.read()[0]} == {c.name: c for c in before}
    for _ in range(3):
        watch.redo()
    assert watch.redoes == ""
    assert "C-1" in names(watch)
    assert "A-4" not in names(watch)
    assert answers.asked == []


def test_a_click_draws_a_core_of_the_usual_size(watch):
    watch.layer.add_ellipses(SQUARE[:1] + np.array([[0, 0], [0, 2], [2, 2], [2, 0]]))
    watch.settle()
    assert watch.read()[0]["C-1"].diameter == 100


def test_a_moved_core_keeps_what_is_known_of_it(watch, grid_of_discs):
    watch.edit("names", grid_of_discs.with_core(replace(grid_of_discs["A-1"], patient_id="P7", reason="torn")))
    watch.layer.data = [watch.layer.data[0] + 20, *watch.layer.data[1:]]
    watch.settle()
    core = watch.read()[0]["A-1"]
    assert (core.patient_id, core.reason, core.row, core.column) == ("P7", "", 0, 0)


def test_undo_brings_scores_and_heatmap_back(watch, viewer, image, grid_of_discs, score_of, answers):
    heat = scored(watch, viewer, image, grid_of_discs, score_of)
    whole = heat.data.copy()
    answers.append(True)
    watch.layer.data = [watch.layer.data[0] + 20, *watch.layer.data[1:]]
    watch.settle()
    watch.layer.remove([7])
    watch.settle()
    assert set(watch.read()[1]) == {core.name for core in grid_of_discs} - {"A-1", "B-4"}
    assert np.isfinite(heat.data).sum() < np.isfinite(whole).sum()
    watch.undo()
    watch.undo()
    assert {n: s.score for n, s in watch.read()[1].items()} == {c.name: SCORES[c.column] for c in grid_of_discs}
    assert watch.read()[1]["B-4"].value == 3
    assert np.array_equal(heat.data, whole, equal_nan=True)
    watch.redo()
    watch.redo()
    assert "A-1" not in watch.read()[1]
    assert np.isfinite(heat.data).sum() < np.isfinite(whole).sum()


def test_scores_made_after_an_edit_are_not_undone_with_it(watch, viewer, image, grid_of_discs, score_of):
    watch.edit("A-1 called missing", grid_of_discs.with_state(["A-1"], CoreState.MISSING))
    scored(watch, viewer, image, [core for core in grid_of_discs if core.name != "A-1"], score_of)
    watch.undo()
    assert watch.read()[0]["A-1"].state is CoreState.TISSUE
    assert len(watch.read()[1]) == 7


def test_the_history_lives_with_the_layer(watch, viewer, grid_of_discs):
    watch.edit("A-1 called missing", grid_of_discs.with_state(["A-1"], CoreState.MISSING))
    layer, slide = watch.layer, watch.slide
    watch.bind(None)
    assert watch.undoes == ""
    again = CoresWatch(viewer.layers)
    again.bind(layer, slide)
    assert again.undoes == "A-1 called missing"
    again.undo()
    assert again.read()[0]["A-1"].state is CoreState.TISSUE


def test_a_new_edit_forgets_what_was_undone(watch, grid_of_discs):
    watch.edit("one", grid_of_discs.with_state(["A-1"], CoreState.MISSING))
    watch.undo()
    watch.edit("two", grid_of_discs.with_state(["A-2"], CoreState.MISSING))
    assert watch.redoes == ""
    watch.undo()
    assert watch.read()[0]["A-2"].state is CoreState.TISSUE


edits = st.lists(
    st.tuples(st.sampled_from(["state", "move", "name", "drop"]), st.integers(0, 5)), min_size=1, max_size=6
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=edits)
def test_any_row_of_edits_is_undone_and_done_again(qtbot, discs_slide, grid_of_discs, edits):
    viewer = ViewerModel()
    image = viewer.add_image(discs_slide.levels[0], rgb=True, name="tma")
    slide = Slide.from_arrays(discs_slide.levels[0], name="tma", mpp=2.0)
    watch = CoresWatch(viewer.layers)
    watch.bind(add_cores_layer(viewer.layers, image, slide, grid_of_discs), slide)
    watch.settle()
    states = [watch.read()[0]]
    for what, i in edits:
        cores = list(watch.read()[0])
        core = cores[i % len(cores)]
        if what == "state":
            core = replace(core, state=CoreState.MISSING)
        elif what == "move":
            core = replace(core, y=core.y + 17.25)
        elif what == "name":
            core = replace(core, name=f"{core.name}x")
        cores[i % len(cores)] = core
        if what == "drop" and len(cores) > 1:
            del cores[i % len(cores)]
        watch.edit(what, CoreGrid(tuple(cores)))
        states.append(watch.read()[0])
    for state in reversed(states[:-1]):
        watch.undo()
        assert {c.name: c for c in watch.read()[0]} == {c.name: c for c in state}
    for state in states[1:]:
        watch.redo()
        assert {c.name: c for c in watch.read()[0]} == {c.name: c for c in state}
