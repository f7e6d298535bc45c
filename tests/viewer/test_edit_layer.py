from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.scores import SCORES
from napari_her2.viewer.cores_layer import grid_of_layer
from napari_her2.viewer.cores_scores import scores_of_layer, set_scores
from napari_her2.viewer.edit_layer import scored_of_layer, write_grid
from napari_her2.viewer.slide_layer import slide_of_layer


@pytest.fixture
def slide(image):
    return slide_of_layer(image)


@pytest.fixture
def scored(cores, slide, grid_of_discs, score_of):
    set_scores(cores, slide, [score_of(core, SCORES[core.column]) for core in grid_of_discs])
    return cores


def given(layer) -> dict[str, str]:
    return {name: score.score for name, score in scores_of_layer(layer).items()}


def test_scores_stay_with_their_tissue_when_names_change(scored, slide, grid_of_discs):
    renamed = CoreGrid(tuple(replace(core, name=f"{core.column + 1}-{core.name[0]}") for core in grid_of_discs))
    lost, regained = write_grid(scored, slide, renamed)
    assert (lost, regained) == ([], set())
    assert grid_of_layer(scored) == renamed
    assert given(scored) == {core.name: SCORES[core.column] for core in renamed}
    # the value on the ordered axis is in no column: it is kept beside them
    assert scores_of_layer(scored)["4-B"].value == 3
    assert list(scored.features["label"])[:2] == ["1-A: 0", "2-A: 1+"]


def test_a_core_elsewhere_has_no_score_and_the_place_is_reported(scored, slide, grid_of_discs):
    grid = grid_of_discs.with_core(replace(grid_of_discs["A-2"], y=300.0))
    lost, _ = write_grid(scored, slide, grid)
    assert [core.name for core in lost] == ["A-2"]
    assert (lost[0].y, lost[0].x) == (grid_of_discs["A-2"].y, grid_of_discs["A-2"].x)
    assert "A-2" not in given(scored)
    assert len(given(scored)) == 7


def test_cores_come_and_go(scored, slide, grid_of_discs):
    fewer = CoreGrid(grid_of_discs.cores[2:5])
    before = scored_of_layer(scored)
    lost, _ = write_grid(scored, slide, fewer)
    assert [core.name for core in lost] == ["A-1", "A-2", "B-2", "B-3", "B-4"]
    assert grid_of_layer(scored) == fewer
    assert scored.shape_type == ["ellipse"] * 3
    more = CoreGrid((*grid_of_discs, Core("X-1", -1, -1, 500.0, 60.0, 90.0)))
    _, regained = write_grid(scored, slide, more, before)
    assert regained == {"A-1", "A-2", "B-2", "B-3", "B-4"}
    assert {core.name: core for core in grid_of_layer(scored)} == {core.name: core for core in more}
    assert given(scored) == {core.name: SCORES[core.column] for core in grid_of_discs}
    write_grid(scored, slide, CoreGrid())
    assert scored.nshapes == 0
    assert len(grid_of_layer(scored)) == 0
    write_grid(scored, slide, more, before)
    assert len(grid_of_layer(scored)) == 9
    assert len(given(scored)) == 8


def test_outlines_follow_their_core_and_end_with_its_size(cores, slide, grid_of_discs):
    outline = ((30.0, 30.0), (30.0, 130.0), (130.0, 130.0))
    grid = grid_of_discs.with_core(replace(grid_of_discs["A-1"], outline=outline))
    write_grid(cores, slide, grid)
    assert grid_of_layer(cores)["A-1"].outline == outline
    cores.data = [cores.data[0] + 10, *cores.data[1:]]
    assert np.allclose(grid_of_layer(cores)["A-1"].outline, np.array(outline) + 10)
    centre = cores.data[0].mean(0)
    cores.data = [centre + (cores.data[0] - centre) * 1.5, *cores.data[1:]]
    assert grid_of_layer(cores)["A-1"].outline == ()


def test_the_users_own_columns_and_selection_survive(scored, slide, grid_of_discs):
    scored.selected_data = {1, 6}
    grid = CoreGrid(tuple(replace(core, extra={"ER": str(core.column)}, patient_id="P1") for core in grid_of_discs))
    write_grid(scored, slide, grid)
    assert list(scored.features["ER"]) == ["0", "1", "2", "3"] * 2
    assert grid_of_layer(scored) == grid
    assert set(scored.selected_data) == {1, 6}
    fewer = CoreGrid(grid.cores[1:])
    write_grid(scored, slide, fewer)
    assert {scored.features["core"][i] for i in scored.selected_data} == {"A-2", "B-3"}


def test_an_excluded_core_loses_no_score(scored, slide, grid_of_discs):
    write_grid(scored, slide, grid_of_discs.with_state(["A-3"], CoreState.EXCLUDED))
    assert "A-3" not in given(scored)
    assert scored.features["label"][2] == "(A-3)"
    write_grid(scored, slide, grid_of_discs)
    assert given(scored)["A-3"] == "2+"
