from __future__ import annotations

import numpy as np

from napari_her2.colours import SCORE_COLOURS
from napari_her2.scores import SCORES
from napari_her2.table import COLUMNS
from napari_her2.viewer.cores_layer import grid_of_layer
from napari_her2.viewer.cores_scores import scores_of_layer, set_scores
from napari_her2.viewer.slide_layer import slide_of_layer
from napari_her2.viewer.tidy import moved_cores, put_back, tidy

SQUARE = np.array([[200.0, 200.0], [200.0, 240.0], [240.0, 240.0], [240.0, 200.0]])


def scored(image, cores, grid, score_of):
    set_scores(cores, slide_of_layer(image), [score_of(core, SCORES[core.column]) for core in grid])


def test_a_drawn_shape_inherits_nothing_from_another_core(image, cores, grid_of_discs, score_of):
    scored(image, cores, grid_of_discs, score_of)
    # the selection makes napari take over the features and colours of the selected core in some versions
    cores.selected_data = {3}
    cores.selected_data = set()
    cores.add_ellipses(SQUARE)
    assert len(grid_of_layer(cores)) == 8
    # it lies on B-2, which is there already: off the grid
    assert tidy(cores, slide_of_layer(image)) == ["X-1"]
    row = cores.features.iloc[-1]
    assert (row["core"], row["her2_score"], row["state"], row["row"], row["label"]) == (
        "X-1",
        "",
        "tissue",
        -1,
        "X-1",
    )
    assert "B-2" in row["doubt"]
    assert (row["y"], row["x"], row["diameter"], row["x_um"], row["image"]) == (220, 220, 40, 440, "tma")
    assert np.isnan(row["p_3"])
    assert list(cores.features.columns) == [*COLUMNS, "label"]
    core = grid_of_layer(cores)["X-1"]
    assert (core.y, core.x, core.diameter) == (220, 220, 40)
    assert "#" + "".join(f"{round(255 * v):02x}" for v in cores.edge_color[-1][:3]) == SCORE_COLOURS[""]
    assert cores.edge_width[-1] == 0.035 * 40
    assert len(scores_of_layer(cores)) == 8


def test_the_next_drawn_shape_gets_the_next_name(image, cores):
    for expected in ("X-1", "X-2"):
        cores.add_ellipses(SQUARE)
        assert tidy(cores, slide_of_layer(image)) == [expected]
    cores.remove([8])
    cores.add_ellipses([SQUARE, SQUARE + 100])
    # ... and one after the last row, in its own
    assert tidy(cores, slide_of_layer(image)) == ["X-1", "C-3"]
    assert tidy(cores, slide_of_layer(image)) == []


def test_a_copy_is_another_core_without_a_score(image, cores, grid_of_discs, score_of):
    scored(image, cores, grid_of_discs, score_of)
    cores.selected_data = {2}
    cores._copy_data()
    cores._paste_data()
    assert cores.nshapes == 9
    assert len(grid_of_layer(cores)) == 8
    assert tidy(cores, slide_of_layer(image)) == ["X-1"]
    assert list(cores.features["her2_score"])[2] == "2+"
    assert list(cores.features["her2_score"])[-1] == ""


def test_a_moved_core_loses_its_score_and_keeps_its_note(image, cores, grid_of_discs, score_of):
    table = cores.features.copy()
    table.loc[0, ["note", "patient_id"]] = ("torn", "P7")
    cores.features = table
    scored(image, cores, grid_of_layer(cores), score_of)
    cores.data = [cores.data[0] + 25, *cores.data[1:]]
    assert moved_cores(cores) == ["A-1"]
    assert tidy(cores, slide_of_layer(image)) == []
    assert moved_cores(cores) == []
    assert "A-1" not in scores_of_layer(cores)
    core = grid_of_layer(cores)["A-1"]
    assert (core.y, core.x, core.note, core.patient_id, core.row) == (105, 105, "torn", "P7", 0)
    assert cores.features["y"][0] == 105
    assert cores.features["y_um"][0] == 210


def test_a_nudge_keeps_the_score(image, cores, grid_of_discs, score_of):
    scored(image, cores, grid_of_discs, score_of)
    cores.data = [d + 1.5 for d in cores.data]
    assert moved_cores(cores) == []
    tidy(cores, slide_of_layer(image))
    assert len(scores_of_layer(cores)) == 8
    # nudges add up: the features still tell where the score was made
    cores.data = [d + 1.5 for d in cores.data]
    assert len(moved_cores(cores)) == 8


def test_what_was_moved_or_resized_can_be_put_back(image, cores, grid_of_discs, score_of):
    scored(image, cores, grid_of_discs, score_of)
    centre = cores.data[1].mean(0)
    cores.data = [cores.data[0] + 25, centre + (cores.data[1] - centre) * 1.5, *cores.data[2:]]
    assert moved_cores(cores) == ["A-1", "A-2"]
    put_back(cores, moved_cores(cores))
    assert moved_cores(cores) == []
    assert grid_of_layer(cores) == grid_of_discs
    assert cores.shape_type == ["ellipse"] * 8
    assert len(scores_of_layer(cores)) == 8


def test_deleting_shapes_leaves_the_others_as_they_were(image, cores, grid_of_discs, score_of):
    scored(image, cores, grid_of_discs, score_of)
    cores.remove([0, 5])
    assert tidy(cores, slide_of_layer(image)) == []
    assert [c.name for c in grid_of_layer(cores)] == ["A-2", "A-3", "A-4", "B-1", "B-3", "B-4"]
    assert {n: s.score for n, s in scores_of_layer(cores).items()}["B-3"] == "2+"
    cores.remove(range(6))
    assert tidy(cores, slide_of_layer(image)) == []
    assert len(grid_of_layer(cores)) == 0
    cores.add_ellipses(SQUARE)
    assert tidy(cores, slide_of_layer(image)) == ["A-1"]
