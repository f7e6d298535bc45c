"""Files of cores through napari's own Open and Save, by way of npe2."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import npe2
import numpy as np
import pandas as pd
import pytest
from napari.layers import Layer, Shapes

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.errors import CoresError
from napari_her2.export import read_cores, read_cores_file
from napari_her2.export.csv import write_csv
from napari_her2.export.geojson import write_geojson
from napari_her2.export.qptma import write_qptma
from napari_her2.scores import SCORES
from napari_her2.table import cores_table
from napari_her2.tma_map import apply_map, match_map, parse_map
from napari_her2.viewer.cores_files import OUTLINES, get_reader, read_layers
from napari_her2.viewer.cores_layer import add_cores_layer, find_cores_layer, grid_of_layer
from napari_her2.viewer.cores_scores import scores_of_layer, set_scores
from napari_her2.viewer.edit_layer import write_grid
from napari_her2.viewer.slide_layer import KEY, slide_of_layer


@pytest.fixture
def manager(npe2pm):
    """npe2 with this plugin alone."""
    npe2pm.register(npe2.PluginManifest.from_distribution("napari-her2"))
    return npe2pm


@pytest.fixture
def grid(grid_of_discs) -> CoreGrid:
    """The discs with all that can be known of a core, and one off the grid."""
    cores = [
        replace(c, y=c.y + 1 / 3, x=c.x + 1 / 7, patient_id=f"P{c.row}", extra={"Age": "63"}) for c in grid_of_discs
    ]
    cores[0] = replace(cores[0], outline=((20.5, 30.25), (90.0, 31.0), (60.0, 99.0)), tissue_fraction=0.75)
    cores[1] = replace(cores[1], state=CoreState.MISSING, reason="No tissue.", found_confidence=1 / 3)
    return CoreGrid((*cores, Core("X-1", -1, -1, 5.0, 5.0, 40.0, note="control")))


@pytest.fixture
def scored(viewer, image, grid, score_of) -> Shapes:
    slide = slide_of_layer(image)
    layer = add_cores_layer(viewer.layers, image, slide, CoreGrid(tuple(replace(core, extra={}) for core in grid)))
    write_grid(layer, slide, grid)
    chosen = [grid["A-1"], grid["A-3"]]
    set_scores(layer, slide, [replace(score_of(c, SCORES[c.column]), reason="Look.") for c in chosen])
    return layer


def saved(path: Path, layer: Shapes, manager) -> Path:
    assert npe2.write(str(path), [layer], plugin_name="napari-her2") == [str(path)]
    return path


def opened(path: Path) -> Shapes:
    (data,) = npe2.read([str(path)], stack=False, plugin_name="napari-her2")
    layer = Layer.create(*data)
    assert isinstance(layer, Shapes)
    return layer


def test_it_reads_what_ends_like_a_file_of_cores():
    assert get_reader("tma.GeoJSON") is get_reader(["tma.qptma", "tma.cores.csv"]) is read_layers
    assert get_reader("tma.csv") is None
    assert get_reader(["tma.qptma", "tma.tif"]) is None


def test_a_layer_that_is_saved_comes_back_exactly(tmp_path, manager, scored, grid):
    path = saved(tmp_path / "tma.geojson", scored, manager)
    assert read_cores(path) == grid
    again = saved(tmp_path / "again.geojson", opened(path), manager)
    assert json.loads(again.read_text()) == json.loads(path.read_text())
    layer = opened(again)
    assert layer.name == "tma cores"
    columns = list(scored.features.columns)
    pd.testing.assert_frame_equal(layer.features[columns], scored.features, check_dtype=False)
    assert scores_of_layer(layer)["A-3"].probabilities == scores_of_layer(scored)["A-3"].probabilities
    assert list(layer.text.values) == list(scored.text.values)
    assert np.allclose(layer.edge_color, scored.edge_color)
    assert layer.edge_width == scored.edge_width


def test_what_was_moved_is_saved_where_it_lies_now(tmp_path, manager, scored):
    scored.data = [scored.data[0] + 30, *scored.data[1:]]
    found = read_cores_file(saved(tmp_path / "tma.geojson", scored, manager))
    assert found.grid["A-1"].y == pytest.approx(grid_of_layer(scored)["A-1"].y, abs=1e-3)
    assert found.table["y_um"][0] == pytest.approx(2 * found.grid["A-1"].y)


def test_shapes_without_a_name_are_said(tmp_path, manager, scored, grid):
    scored.add(scored.data[0] + 500, shape_type="ellipse")
    with pytest.warns(UserWarning, match="1 shapes without a name of their own were not written"):
        path = saved(tmp_path / "tma.geojson", scored, manager)
    assert read_cores(path) == grid


def test_a_grid_for_qupath_is_written_by_its_ending(tmp_path, manager, scored, grid):
    with pytest.warns(UserWarning, match="X-1 stand off the grid"):
        path = saved(tmp_path / "tma.qptma", scored, manager)
    assert [core.name for core in read_cores(path)] == [core.name for core in grid if core.row >= 0]
    assert path.read_text().startswith("tma\n")


@pytest.mark.parametrize("ending", [".geojson", ".cores.csv", ".qptma"])
def test_cores_opened_before_their_image_are_taken_up_by_it(tmp_path, viewer, manager, image, grid, ending):
    viewer.layers.remove(image)
    path = tmp_path / f"tma{ending}"
    table = cores_table("tma", grid, {}, 2.0)
    if ending == ".qptma":
        write_qptma(path, grid, "tma.tif")
    elif ending == ".geojson":
        write_geojson(path, table, grid)
    else:
        write_csv(path, table)
    layer = opened(path)
    viewer.add_layer(layer)
    viewer.add_layer(image)
    assert find_cores_layer(viewer.layers, image) is layer
    assert layer.metadata[KEY]["image"] == str(image.unique_id)
    found = {core.name: core for core in grid_of_layer(layer)}
    assert found["A-2"].x == pytest.approx(grid["A-2"].x)
    assert found["A-1"].patient_id == "P0"
    if ending != ".qptma":  # which knows no micrometres
        assert layer.scale.tolist() == [2, 2]
        assert layer.units == image.units


def test_cores_opened_over_their_image_lie_on_it(tmp_path, viewer, manager, image, grid, monkeypatch):
    monkeypatch.setattr("napari.current_viewer", lambda: SimpleNamespace(layers=viewer.layers))
    path = tmp_path / "other name.geojson"
    write_geojson(path, cores_table("tma", grid, {}, None), grid)
    layer = opened(path)
    viewer.add_layer(layer)
    assert find_cores_layer(viewer.layers, image) is layer
    assert grid_of_layer(layer) == grid
    core = grid["A-3"]
    assert layer.data_to_world((core.y, core.x)) == image.data_to_world((core.y, core.x))
    # the image has its cores now: a second file is a layer beside them
    assert KEY not in opened(path).metadata


def test_outlines_wait_for_the_image(tmp_path, manager, scored, grid):
    layer = opened(saved(tmp_path / "tma.geojson", scored, manager))
    assert layer.metadata[OUTLINES]["A-1"].outline == grid["A-1"].outline


def test_other_shapes_and_other_files_are_refused_in_one_sentence(tmp_path, manager):
    shapes = Shapes([np.zeros((4, 2))], name="notes")
    with pytest.raises(CoresError, match="notes is no layer of cores") as error:
        npe2.write(str(tmp_path / "a.geojson"), [shapes], plugin_name="napari-her2")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())
    (tmp_path / "map.geojson").write_text(
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": null}]}'
    )
    with pytest.raises(CoresError, match=r"map\.geojson: No object in it is a core"):
        opened(tmp_path / "map.geojson")


def test_a_layer_without_named_cores_is_refused(tmp_path, manager, scored):
    scored.features = scored.features.assign(core="")
    with pytest.raises(CoresError, match="holds no core that has a name"):
        npe2.write(str(tmp_path / "a.geojson"), [scored], plugin_name="napari-her2")


def test_the_widget_works_on_cores_from_a_file(tmp_path, manager, viewer, session, image, grid):
    path = tmp_path / "tma.geojson"
    write_geojson(path, cores_table("tma", grid, {}, 2.0), grid)
    layer = viewer.add_layer(opened(path))
    session.choose(image)
    assert session.cores_layer is layer
    assert [core.name for core in session.grid()] == [core.name for core in grid]
    session.watch.edit("TMA map", apply_map(session.grid(), match_map(grid, parse_map("core,patient,ER\nA-1,P7,90\n"))))
    assert (session.grid()["A-1"].patient_id, session.grid()["A-1"].extra) == ("P7", {"Age": "63", "ER": "90"})
    assert read_cores(saved(tmp_path / "out.geojson", layer, manager)) == session.grid()
