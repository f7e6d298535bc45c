from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from napari_her2.cores import CoreGrid, CoreState
from napari_her2.dearray import DearrayParams
from napari_her2.errors import CoresError
from napari_her2.export import read_cores
from napari_her2.export.geojson import write_geojson
from napari_her2.export.qptma import write_qptma
from napari_her2.scores import SCORES
from napari_her2.scoring import slide_flags
from napari_her2.stain import QUPATH_STAINS
from napari_her2.table import cores_table
from napari_her2.viewer import results
from napari_her2.viewer.session import Session
from napari_her2.viewer.stain_layers import keep_stains, stains_of_layer
from napari_her2.viewer.steps import next_step

TOP = ["A-1", "A-2", "A-3", "A-4"]


def wait(session, qtbot):
    qtbot.waitUntil(lambda: not session.working, timeout=20_000)


def score(session, qtbot, names):
    session.score(names)
    wait(session, qtbot)


def given(session) -> dict[str, str]:
    return {name: s.score for name, s in session.scores().items()}


def heatmap_of(viewer):
    return next(layer for layer in viewer.layers if "heatmap" in layer.name)


def test_the_way_from_slide_to_scores(session, qtbot, viewer, grid_of_discs):
    assert session.slide.mpp == 2
    assert next_step(session)[0] == 1
    session.find()
    assert session.busy
    wait(session, qtbot)
    assert session.sentences == [("8 cores found.", False)]
    assert session.grid() == grid_of_discs
    assert session.cores_layer.mode == "select"
    assert next_step(session)[0] == 2
    score(session, qtbot, TOP)
    assert given(session) == dict(zip(TOP, SCORES, strict=True))
    assert session.rest() == ["B-1", "B-2", "B-3", "B-4"]
    assert session.sentences[-1] == ("4 of 4 cores of tma scored.", False)
    before = heatmap_of(viewer).data.copy()
    score(session, qtbot, session.rest())
    assert given(session) == {core.name: SCORES[core.column] for core in grid_of_discs}
    after = heatmap_of(viewer).data
    drawn = np.isfinite(before)
    assert np.array_equal(before[drawn], after[drawn])
    assert np.isfinite(after).sum() > 1.5 * drawn.sum()
    assert next_step(session)[0] == 3


def test_cores_without_tissue_are_not_scored(session, qtbot, grid_of_discs, monkeypatch):
    grid = grid_of_discs.with_state(["A-2"], CoreState.MISSING)
    monkeypatch.setattr("napari_her2.dearray.find_cores", lambda slide, params: grid)
    session.find()
    wait(session, qtbot)
    assert session.sentences[-1][0] == "8 cores found, 1 of them without tissue."
    assert len(session.rest()) == 7
    session.score(["A-2"])
    assert session.sentences[-1] == ("None of the selected cores holds tissue: select others.", True)
    score(session, qtbot, TOP)
    assert set(given(session)) == {"A-1", "A-3", "A-4"}


def test_no_pixel_size_lets_find_and_not_score(session, qtbot, viewer, image):
    plain = viewer.add_image(image.data, rgb=True, name="plain")
    assert session.image is plain
    assert session.slide.mpp is None
    session.find()
    wait(session, qtbot)
    assert len(session.grid()) == 8
    assert np.isnan(session.cores_layer.features["x_um"]).all()
    assert session.why_no_scoring() == "Give the pixel size in step 1 first."
    assert next_step(session)[0] == 0
    session.give_mpp(500)
    assert session.slide.mpp is None
    assert "cannot be right" in session.sentences[-1][0]
    session.give_mpp(2.0)
    score(session, qtbot, ["A-4"])
    assert given(session) == {"A-4": "3+"}
    assert session.cores_layer.features["x_um"][3] == 2 * session.grid()["A-4"].x


def test_finding_fails_in_one_sentence(session, qtbot, monkeypatch):
    def fail(slide, params):
        raise CoresError("tma shows no cores: is it a tissue microarray?")

    monkeypatch.setattr("napari_her2.dearray.find_cores", fail)
    session.find()
    wait(session, qtbot)
    assert session.sentences == [("tma shows no cores: is it a tissue microarray?", True)]
    assert session.cores_layer is None


def test_finding_again_keeps_the_scores_of_cores_found_at_the_same_places(
    found, qtbot, viewer, grid_of_discs, monkeypatch
):
    score(found, qtbot, TOP)
    heat = heatmap_of(viewer).data.copy()
    table = found.cores_layer.features.copy()
    table.loc[0, ["patient_id", "reader_score", "note"]] = ("P7", "1+", "torn")
    found.cores_layer.features = table
    # A-2 is found elsewhere, A-1 under another name
    again = [replace(core, y=core.y + 30) if core.name == "A-2" else core for core in grid_of_discs]
    again[0] = replace(again[0], name="Z-1")
    monkeypatch.setattr("napari_her2.dearray.find_cores", lambda slide, params: CoreGrid(tuple(again)))
    found.find()
    wait(found, qtbot)
    assert given(found) == {"Z-1": "0", "A-3": "2+", "A-4": "3+"}
    first = found.grid()["Z-1"]
    assert (first.patient_id, first.reader_score, first.note) == ("P7", "1+", "torn")
    assert "1 scores belonged to other places" in found.sentences[-1][0]
    assert np.isfinite(heat).sum() > np.isfinite(heatmap_of(viewer).data).sum() > 0
    found.watch.undo()
    assert given(found) == dict(zip(TOP, SCORES, strict=True))
    assert np.array_equal(heatmap_of(viewer).data, heat, equal_nan=True)
    assert [layer.name for layer in viewer.layers] == ["tma", "tma HER2 heatmap", "tma cores"]


def test_a_value_given_wrongly_is_told(found, qtbot, grid_of_discs, monkeypatch):
    asked = []

    def find(slide, params):
        asked.append(params)
        warnings.warn("You said 1.2 mm; the cores of tma look 0.2 mm across.", UserWarning, stacklevel=2)
        return grid_of_discs

    monkeypatch.setattr("napari_her2.dearray.find_cores", find)
    found.params = DearrayParams(core_diameter_um=1200)
    found.find()
    wait(found, qtbot)
    assert asked == [found.params]
    assert found.sentences[-1] == ("8 cores found. You said 1.2 mm; the cores of tma look 0.2 mm across.", False)


def test_cancel_keeps_what_is_done(found, qtbot, slow):
    slow.release(2)
    found.score(found.rest())
    qtbot.waitUntil(lambda: found.run.done == 2 and slow.entered == 3)
    assert found.run.progress_text().startswith("2 of 8 cores, ")
    assert found.why_no_scoring() == "tma is being scored."
    found.cancel()
    assert "stopping after this one" in found.run.progress_text()
    slow.release()
    wait(found, qtbot)
    assert given(found) == {"A-1": "0", "A-2": "1+", "A-3": "2+"}
    assert found.sentences[-1] == ("Cancelled: 3 of 8 cores of tma scored.", False)
    slow.release(100)
    score(found, qtbot, found.rest())
    assert len(given(found)) == 8


@pytest.mark.parametrize("name", ["tma", "tma cores", "tma HER2 heatmap"])
def test_deleting_a_layer_stops_the_run_and_keeps_the_rest(found, qtbot, viewer, slow, name):
    slow.release(2)
    cores_layer = found.cores_layer
    found.score(found.rest())
    qtbot.waitUntil(lambda: any("heatmap" in layer.name for layer in viewer.layers))
    run = found.run
    qtbot.waitUntil(lambda: run.done == 2)
    heatmap = heatmap_of(viewer)
    viewer.layers.remove(viewer.layers[name])
    slow.release(100)
    qtbot.waitUntil(lambda: not run.running)
    assert run.done < 8
    assert any(name in text and "deleted" in text for text, _ in found.sentences)
    kept = set(cores_layer.features["her2_score"]) - {""}
    if name != "tma cores":
        assert {"0", "1+"} <= kept
    if name != "tma HER2 heatmap":
        assert np.isfinite(heatmap.data).any()
    assert (found.image is None) == (name == "tma")


def test_renamed_layers_still_get_their_scores(found, qtbot, viewer, slow):
    slow.release(1)
    found.score(TOP)
    qtbot.waitUntil(lambda: found.run.done == 1)
    viewer.layers["tma"].name, found.cores_layer.name = "one", "two"
    slow.release(100)
    wait(found, qtbot)
    assert given(found) == dict(zip(TOP, SCORES, strict=True))
    assert len([layer for layer in viewer.layers if "heatmap" in layer.name]) == 1


def test_a_second_slide_does_not_disturb_the_run(found, qtbot, viewer, image, slow):
    slow.release(1)
    first = found.cores_layer
    found.score(TOP)
    qtbot.waitUntil(lambda: found.run.done == 1)
    second = viewer.add_image(image.data, rgb=True, name="second", scale=(2, 2), units=("um", "um"))
    assert found.image is image
    found.choose(second)
    assert found.cores_layer is None
    assert found.why_no_scoring() == "Find the cores first."
    slow.release(100)
    wait(found, qtbot)
    assert list(first.features["her2_score"])[:4] == list(SCORES)
    assert found.image is second
    found.choose(image)
    assert found.cores_layer is first
    assert len(given(found)) == 4


def test_closing_stops_the_run_and_the_layers_keep_it_for_the_next(found, qtbot, viewer, slow, mock_model):
    slow.release(2)
    found.score(found.rest())
    run = found.run
    qtbot.waitUntil(lambda: run.done == 2 and slow.entered == 3)
    said = len(found.sentences)
    found.close()
    slow.release(100)
    qtbot.waitUntil(lambda: not run.running)
    assert run.done == 3
    assert len(found.sentences) == said
    again = Session(viewer)
    again.model = mock_model
    again.open()
    assert given(again) == {"A-1": "0", "A-2": "1+", "A-3": "2+"}
    assert again.scores()["A-2"].value == pytest.approx(1, abs=0.3)
    score(again, qtbot, again.rest())
    assert len(given(again)) == 8
    assert len([layer for layer in viewer.layers if "heatmap" in layer.name]) == 1
    again.close()


def test_an_error_in_scoring_is_one_sentence(found, qtbot, mock_engine):
    def fail(pixels):
        raise ZeroDivisionError("bad network")

    mock_engine.run = fail
    score(found, qtbot, TOP)
    text, bad = found.sentences[-1]
    assert bad
    assert "ZeroDivisionError: bad network" in text
    assert "\n" not in text
    assert not found.working


def test_moving_a_scored_core_asks(found, qtbot, answers):
    score(found, qtbot, TOP)
    layer = found.cores_layer
    answers.append(False)
    layer.data = [layer.data[0] + 40, *layer.data[1:]]
    qtbot.waitUntil(lambda: bool(answers.asked))
    assert answers.asked[-1].startswith("A-1 was moved.")
    assert given(found)["A-1"] == "0"
    assert found.grid()["A-1"].y == 80
    answers.append(True)
    layer.data = [layer.data[0] + 40, *layer.data[1:]]
    qtbot.waitUntil(lambda: "A-1" not in given(found))
    assert found.grid()["A-1"].y == 120
    assert found.rest() == ["A-1", "B-1", "B-2", "B-3", "B-4"]


def test_a_drawn_core_has_the_name_of_its_place_at_once(found, qtbot, viewer):
    found.cores_layer.remove([3])
    square = np.array([[30, 390], [30, 490], [130, 490], [130, 390]])
    found.cores_layer.add_ellipses(square)
    qtbot.waitUntil(lambda: len(found.grid()) == 8)
    assert found.sentences[-1][0].startswith("New core A-4")
    core = found.grid()["A-4"]
    assert (core.row, core.column, core.y, core.x) == (0, 3, 80, 440)
    score(found, qtbot, ["A-4"])
    assert given(found) == {"A-4": "3+"}


def test_micrometres_follow_the_pixel_size(found):
    found.give_mpp(0.5)
    assert found.cores_layer.features["x_um"][3] == 0.5 * found.grid()["A-4"].x
    assert found.cores_layer.features["diameter_um"][3] == 50


def test_another_pixel_size_does_not_mix_into_the_table(found, qtbot, answers):
    score(found, qtbot, TOP)
    found.give_mpp(1.0)
    assert len(found.rest()) == 8
    answers.append(False)
    found.score(["B-1"])
    assert not found.working
    assert "4 other cores were scored with mock at 2 µm" in answers.asked[0]
    answers.append(True)
    score(found, qtbot, ["B-1"])
    assert set(given(found)) == {"B-1"}


def test_results_are_written_and_replaced_only_when_asked(found, qtbot, tmp_path, answers):
    score(found, qtbot, TOP)
    results.export(found, tmp_path)
    wait(found, qtbot)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *("tma.cores.csv", "tma.cores.geojson", "tma.heatmap.ome.tif", "tma.qptma", "tma.report.html", "tma.run.json")
    ]
    assert found.sentences[-1][0].startswith("6 files written to ")
    assert read_cores(tmp_path / "tma.cores.csv") == found.grid()
    stamp = (tmp_path / "tma.cores.csv").stat().st_mtime_ns
    answers.append(False)
    results.export(found, tmp_path)
    assert "already holds results of tma" in answers.asked[-1]
    assert not found.busy
    assert (tmp_path / "tma.cores.csv").stat().st_mtime_ns == stamp
    answers.append(True)
    results.export(found, tmp_path)
    wait(found, qtbot)
    assert (tmp_path / "tma.cores.csv").stat().st_mtime_ns > stamp


def test_a_folder_that_cannot_be_written_is_said(found, tmp_path):
    (tmp_path / "file").write_text("")
    results.export(found, tmp_path / "file")
    text, bad = found.sentences[-1]
    assert bad
    assert "cannot be written" in text


def test_a_table_edited_into_nonsense_is_told_once(found):
    table = found.cores_layer.features.copy()
    table.loc[0, "state"] = "perhaps"
    found.cores_layer.features = table
    assert found.grid() == CoreGrid()
    assert found.scores() == {}
    assert [text for text, bad in found.sentences if bad] == [
        'The state of core A-1 is "perhaps": it can be tissue, missing, excluded.'
    ]


def test_cores_opened_from_a_file_are_taken_up_with_outlines_and_place(session, viewer, image, grid_of_discs, tmp_path):
    from napari_her2.viewer.cores_files import read_layers

    outline = ((30.0, 30.0), (30.0, 130.0), (130.0, 80.0))
    grid = grid_of_discs.with_core(replace(grid_of_discs["A-1"], outline=outline, extra={"ER": "pos"}))
    path = tmp_path / "tma.cores.geojson"
    write_geojson(path, cores_table("tma", grid, {}, 2.0), grid)
    assert session.cores_layer is None
    data, attributes, kind = read_layers(str(path))[0]
    layer = viewer._add_layer_from_data(data, attributes, kind)[0]
    assert session.cores_layer is layer
    assert session.grid() == grid
    assert np.allclose(layer.data_to_world((80, 80)), image.data_to_world((80, 80)))


def test_cores_opened_before_their_slide_are_taken_up_when_it_comes(session, viewer, image, grid_of_discs, tmp_path):
    from napari_her2.viewer.cores_files import read_layers

    picture = image.data
    viewer.layers.clear()
    path = tmp_path / "tma.qptma"
    write_qptma(path, grid_of_discs, "tma.tif")
    viewer._add_layer_from_data(*read_layers(str(path))[0])
    again = viewer.add_image(picture, rgb=True, name="tma", scale=(2.0, 2.0), units=("um", "um"), translate=(5.0, 7.0))
    assert session.image is again
    assert [core.name for core in session.grid()] == [core.name for core in grid_of_discs]
    there = session.cores_layer.data_to_world((80, 80))
    assert np.allclose(there, again.data_to_world((80, 80)))


def test_cores_are_written_in_reading_order_whatever_the_order_of_the_shapes(found, qtbot, tmp_path):
    found.cores_layer.remove([1])
    found.cores_layer.add_ellipses(np.array([[30, 150], [30, 250], [130, 250], [130, 150]]))
    qtbot.waitUntil(lambda: len(found.grid()) == 8)
    assert found.grid().cores[-1].name == "A-2"
    results.export(found, tmp_path)
    wait(found, qtbot)
    assert [core.name for core in read_cores(tmp_path / "tma.cores.csv")] == [*TOP, "B-1", "B-2", "B-3", "B-4"]


def test_a_slide_stained_beyond_the_models_range_is_told(found, qtbot):
    found.model = replace(found.model, stain_range={"blue": [5.0, 6.0], "brown": [0.0, 9.0]})
    found.score(TOP)
    qtbot.waitUntil(lambda: not found.working, timeout=20_000)
    assert "calibrate on control cores" in found.sentences[-1][0]
    assert not found.sentences[-1][1]


def test_flags_of_the_slide_go_by_the_stains_that_are_kept_with_it(found, qtbot):
    found.model = replace(found.model, stain_range={"blue": [5.0, 6.0], "brown": [0.0, 9.0]})
    keep_stains(found.image, replace(QUPATH_STAINS, white=(200.0, 200.0, 200.0)))
    by_these, by_own = (slide_flags(found.slide, [], found.model, s) for s in (stains_of_layer(found.image), None))
    assert by_these != by_own
    score(found, qtbot, TOP)
    assert found.cores_layer.metadata["napari_her2"]["slide_flags"] == list(by_these)
