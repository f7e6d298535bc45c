from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from napari.layers import Shapes

from napari_her2.colours import SCORE_COLOURS
from napari_her2.cores import CoreGrid, CoreState
from napari_her2.errors import CoresError
from napari_her2.scores import SCORES, CoreScore
from napari_her2.table import COLUMNS, cores_table
from napari_her2.viewer.cores_layer import (
    add_cores_layer,
    find_cores_layer,
    geometry,
    grid_of_layer,
)
from napari_her2.viewer.cores_scores import clear_scores, scores_of_layer, set_scores
from napari_her2.viewer.slide_layer import slide_of_layer


def rgb(layer: Shapes, i: int) -> str:
    return "#" + "".join(f"{round(255 * v):02x}" for v in layer.edge_color[i][:3])


def test_the_layer_is_the_grid(viewer, image, cores, grid_of_discs):
    assert cores.name == "tma cores"
    assert viewer.layers.selection.active is cores
    assert list(cores.features.columns) == [*COLUMNS, "label"]
    assert cores.shape_type == ["ellipse"] * 8
    assert list(cores.features["label"])[:2] == ["A-1", "A-2"]
    assert list(cores.text.values)[:2] == ["A-1", "A-2"]
    assert grid_of_layer(cores) == grid_of_discs
    assert cores.features["x_um"][1] == grid_of_discs["A-2"].x * 2
    core = grid_of_discs["B-3"]
    assert cores.data_to_world((core.y, core.x)) == image.data_to_world((core.y, core.x))
    assert cores.units == image.units


def test_places_come_back_to_the_last_digit(viewer, image, grid_of_discs):
    """So that the viewer and the command line draw the same patches and write the same numbers."""
    grid = CoreGrid(tuple(replace(c, y=c.y * 1234 / 7, x=c.x * 1234 / 7, diameter=1e4 / 3) for c in grid_of_discs))
    assert grid_of_layer(add_cores_layer(viewer.layers, image, slide_of_layer(image), grid)) == grid


def test_cores_without_tissue_are_faint(viewer, image, grid_of_discs):
    grid = grid_of_discs.with_state(["A-2"], CoreState.MISSING)
    layer = add_cores_layer(viewer.layers, image, slide_of_layer(image), grid)
    assert layer.edge_color[1][3] < layer.edge_color[0][3] == 1
    assert layer.edge_width[1] < layer.edge_width[0] / 2
    assert layer.features["label"][1] == "(A-2)"
    assert rgb(layer, 1) == SCORE_COLOURS["missing"]


def test_scores_are_written_with_their_own_colours(image, cores, grid_of_discs, score_of):
    slide = slide_of_layer(image)
    scores = [score_of(core, SCORES[core.column]) for core in grid_of_discs]
    # three first, in another order: the colour hangs on the score, not on which scores there are
    written = set_scores(cores, slide, [scores[3], scores[1], replace(scores[0], indeterminate=True, reason="Why.")])
    assert len(written) == 3
    assert [rgb(cores, i) for i in range(4)] == [SCORE_COLOURS[s] for s in ("0", "1+", "", "3+")]
    assert list(cores.text.values)[:5] == ["A-1: 0?", "A-2: 1+", "A-3", "A-4: 3+", "B-1"]
    set_scores(cores, slide, scores[4:])
    assert [rgb(cores, i) for i in range(4, 8)] == [SCORE_COLOURS[s] for s in SCORES]
    assert rgb(cores, 3) == SCORE_COLOURS["3+"]
    assert rgb(cores, 2) == SCORE_COLOURS[""]


def test_the_features_are_the_columns_of_the_csv(image, cores, grid_of_discs, score_of):
    slide = slide_of_layer(image)
    scores = {c.name: score_of(c, SCORES[c.column]) for c in grid_of_discs if c.row == 0}
    set_scores(cores, slide, scores.values())
    expected = cores_table(slide.name, grid_of_discs, scores, slide.mpp)
    assert cores.features[list(COLUMNS)].equals(expected)


def test_scores_come_back_from_the_layer(image, cores, grid_of_discs, score_of):
    slide = slide_of_layer(image)
    given = replace(score_of(grid_of_discs["A-3"], "2+"), indeterminate=True, reason="Between 2+ and 3+.", spread=0.3)
    refused = CoreScore(grid_of_discs["A-4"], reason="Not scorable: glass.")
    set_scores(cores, slide, [given, refused])
    found = scores_of_layer(cores)
    assert set(found) == {"A-3", "A-4"}
    assert replace(found["A-3"], places=None) == replace(given, places=None)
    assert found["A-4"].reason == "Not scorable: glass."
    assert cores.features["label"][3] == "A-4: –"
    # with nothing but the features, as after saving and loading: all that they hold
    bare = Shapes(cores.data, shape_type="ellipse", features=cores.features)
    assert scores_of_layer(bare)["A-3"].probabilities == given.probabilities
    assert scores_of_layer(bare)["A-3"].indeterminate
    assert scores_of_layer(bare)["A-3"].reason == given.reason


def test_a_core_that_moved_or_went_meanwhile_gets_no_score(image, cores, grid_of_discs, score_of):
    slide = slide_of_layer(image)
    cores.data = [cores.data[0] + 30, *cores.data[1:]]
    cores.remove([1])
    written = set_scores(cores, slide, [score_of(grid_of_discs[n], "3+") for n in ("A-1", "A-2", "A-3")])
    assert [s.core.name for s in written] == ["A-3"]
    assert list(cores.features["her2_score"])[:3] == ["", "3+", ""]
    assert len(cores.features) == cores.nshapes == 7


def test_scores_can_be_taken_off_and_notes_stay(image, cores, grid_of_discs, score_of):
    table = cores.features.copy()
    table.loc[0, "note"] = "folded"
    cores.features = table
    slide = slide_of_layer(image)
    scores = [replace(score_of(c, "1+"), reason="Little tumour.") for c in grid_of_layer(cores) if c.row == 0]
    set_scores(cores, slide, scores)
    assert cores.features["note"][0] == "folded [automatic: Little tumour.]"
    clear_scores(cores, ["A-1"])
    assert cores.features["note"][0] == "folded"
    assert np.isnan(cores.features["p_0"][0])
    assert set(scores_of_layer(cores)) == {"A-2", "A-3", "A-4"}
    clear_scores(cores)
    assert scores_of_layer(cores) == {}


def test_what_other_columns_hold_is_left_alone(image, cores, grid_of_discs, score_of):
    table = cores.features.copy()
    table["h_score"], table["mine"] = 120.0, "x"
    cores.features = table
    set_scores(cores, slide_of_layer(image), [score_of(grid_of_discs["A-1"], "2+")])
    assert set(cores.features["h_score"]) == {120.0}
    assert set(cores.features["mine"]) == {"x"}


def test_geometry_of_shapes_that_are_no_circles():
    layer = Shapes()
    turned = np.array([[10, 50], [50, 90], [90, 50], [50, 10]]) + 0.0
    layer.add_ellipses(turned)
    layer.add_rectangles([[0, 0], [0, 40], [20, 40], [20, 0]])
    layer.add_polygons([[0, 0], [10, 30], [40, 60], [20, 10], [5, 5]])
    layer.add_lines([[0, 0], [10, 20]])
    expected = [(50, 50, 40 * 2**0.5), (10, 20, 30), (20, 30, 50), (5, 10, 15)]
    assert geometry(layer) == pytest.approx(np.array(expected))


def test_a_table_edited_into_nonsense_is_said_in_a_sentence(cores):
    table = cores.features.copy()
    table.loc[2, "state"] = "perhaps"
    cores.features = table
    with pytest.raises(CoresError, match="The state of core A-3"):
        grid_of_layer(cores)


def test_the_cores_of_an_image_are_found_again(viewer, image, cores):
    viewer.add_shapes(name="tma cores")
    cores.name, image.name = "renamed", "renamed too"
    assert find_cores_layer(viewer.layers, image) is cores
    other = viewer.add_image(image.data, rgb=True, name="tma")
    assert find_cores_layer(viewer.layers, other) is None
    loaded = viewer.add_shapes(cores.data, shape_type="ellipse", features=cores.features, name="tma cores [1]")
    loaded.name = "tma cores"
    viewer.layers.remove(viewer.layers[2])
    assert find_cores_layer(viewer.layers, other) in (loaded, None)


def test_five_hundred_cores_are_written_in_less_than_a_second(viewer, image, grid_of_discs, score_of):
    import time

    from napari_her2.cores import Core, CoreGrid

    grid = CoreGrid(tuple(Core(f"c{i}", i // 25, i % 25, 10.0 + i, 20.0 + i, 9.0) for i in range(500)))
    layer = add_cores_layer(viewer.layers, image, slide_of_layer(image), grid)
    start = time.perf_counter()
    set_scores(layer, slide_of_layer(image), [score_of(core, "2+") for core in grid])
    assert time.perf_counter() - start < 2
    assert set(layer.features["her2_score"]) == {"2+"}


def test_a_drawn_shape_has_nothing_in_the_users_own_columns(viewer, image, grid_of_discs):
    grid = CoreGrid(tuple(replace(core, extra={"ER": "pos"}) for core in grid_of_discs))
    layer = add_cores_layer(viewer.layers, image, slide_of_layer(image), grid)
    assert list(layer.features["ER"]) == ["pos"] * 8
    layer.add_ellipses(np.array([[300.0, 30.0], [300.0, 130.0], [400.0, 130.0], [400.0, 30.0]]))
    assert layer.features["ER"].iloc[-1] != "pos"


def test_flags_and_batch_of_a_score_stand_in_the_features_and_the_label(cores, image, grid_of_discs, score_of):
    slide = slide_of_layer(image)
    score = score_of(grid_of_discs["A-2"], "2+", flags=("Unfamiliar: a sentence.",), batch="run 7")
    set_scores(cores, slide, [score, score_of(grid_of_discs["A-3"], "0")])
    assert list(cores.features["flags"][:3]) == ["", "Unfamiliar: a sentence.", ""]
    assert list(cores.features["batch"][:3]) == ["", "run 7", ""]
    assert list(cores.features["label"][:3]) == ["A-1", "A-2: 2+!", "A-3: 0"]
    assert scores_of_layer(cores)["A-2"].flags == score.flags
    cores.metadata["napari_her2"]["kept"] = {}
    again = scores_of_layer(cores)["A-2"]
    assert (again.flags, again.batch) == (score.flags, "run 7")
    clear_scores(cores, ["A-2"])
    assert list(cores.features["label"][:3]) == ["A-1", "A-2", "A-3: 0"]
    assert set(cores.features["flags"]) == set(cores.features["batch"]) == {""}
