"""The verbs of the grid page on a session without a widget."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_her2.cores import CoreGrid, CoreState
from napari_her2.dearray.reuse import Reuse
from napari_her2.export import read_cores
from napari_her2.scores import SCORES
from napari_her2.tma_map import match_map, parse_map
from napari_her2.viewer.autosave import autosave_path
from napari_her2.viewer.grid_editor import GridEditor
from napari_her2.viewer.selection import selected_names


@pytest.fixture
def editor(found) -> GridEditor:
    return GridEditor(found)


def choose(editor, *names: str) -> None:
    layer = editor.session.cores_layer
    layer.selected_data = {i for i, n in enumerate(layer.features["core"]) if n in names}


def names(editor) -> list[str]:
    return [core.name for core in editor.session.grid()]


def wait(editor, qtbot) -> None:
    qtbot.waitUntil(lambda: not editor.session.working, timeout=20_000)


def said(editor) -> str:
    return editor.session.sentences[-1][0]


def test_one_key_marks_and_the_same_key_takes_it_back(editor):
    choose(editor, "A-1", "B-2")
    editor.mark(CoreState.MISSING)
    assert [c.name for c in editor.session.grid() if c.state is CoreState.MISSING] == ["A-1", "B-2"]
    assert said(editor) == "2 cores called missing."
    assert selected_names(editor.session.cores_layer) == ["A-1", "B-2"]
    editor.mark(CoreState.MISSING)
    assert all(c.state is CoreState.TISSUE for c in editor.session.grid())
    choose(editor, "A-1")
    editor.mark(CoreState.EXCLUDED)
    choose(editor, "A-1", "A-2")
    editor.mark(CoreState.EXCLUDED)
    assert [c.name for c in editor.session.grid() if c.state is CoreState.EXCLUDED] == ["A-1", "A-2"]
    editor.session.watch.undo()
    assert [c.name for c in editor.session.grid() if c.state is CoreState.EXCLUDED] == ["A-1"]


def test_nothing_selected_is_said(editor):
    editor.session.cores_layer.selected_data = set()
    for act in (lambda: editor.mark(CoreState.MISSING), editor.confirm):
        act()
        assert "Select" in said(editor)
    editor.insert("row", after=True)
    assert said(editor) == "Select one core of the row first."
    choose(editor, "A-1", "B-1")
    editor.insert("row", after=True)
    assert said(editor) == "Select cores of one row only."
    assert editor.session.watch.undoes == ""


def test_doubtful_cores_come_one_after_the_other_until_they_are_called_right(editor):
    grid = editor.session.grid()
    grid = grid.with_core(replace(grid["B-2"], reason="tissue on 9% of the core only", found_confidence=0.4))
    grid = grid.with_core(replace(grid["A-3"], found_confidence=0.7, reason="far from its place in the grid"))
    editor.session.watch.edit("doubts", grid)
    editor.next_doubtful()
    assert selected_names(editor.session.cores_layer) == ["B-2"]
    editor.next_doubtful()
    assert selected_names(editor.session.cores_layer) == ["A-3"]
    editor.next_doubtful()
    assert selected_names(editor.session.cores_layer) == ["B-2"]
    camera = (
        editor.session.viewer.scene.camera if hasattr(editor.session.viewer, "scene") else editor.session.viewer.camera
    )
    there = editor.session.cores_layer.data_to_world((grid["B-2"].y, grid["B-2"].x))
    assert np.allclose(camera.center[-2:], there)
    editor.confirm()
    assert [core.name for core in editor.session.grid().doubtful] == ["A-3"]
    editor.next_doubtful()
    editor.mark(CoreState.MISSING)
    assert editor.session.grid().doubtful == []
    editor.next_doubtful()
    assert said(editor) == "No core is doubtful."


def test_names_after_labels_corners_and_order(editor):
    editor.rename("C-D", "01-04", True)
    assert names(editor)[:5] == ["C-01", "C-02", "C-03", "C-04", "D-01"]
    editor.rename("C-D", "01-04", False)
    assert names(editor)[:2] == ["01-C", "02-C"]
    editor.rename("", "", True)
    assert names(editor)[:2] == ["A-1", "A-2"]
    editor.renumber("bottom-right")
    corner = max(editor.session.grid(), key=lambda core: core.y + core.x)
    assert corner.name == "A-1"
    before = names(editor)
    editor.rename("A-C-", "1-4", True)
    text, bad = editor.session.sentences[-1]
    assert bad
    assert "A-C-" in text
    assert names(editor) == before


def test_lines_are_inserted_shifted_renamed_and_deleted_with_undo(editor):
    first = editor.session.grid()
    choose(editor, "A-2")
    editor.insert("column", after=False)
    assert len(editor.session.grid()) == 10
    assert editor.session.grid()["A-2"].state is CoreState.MISSING
    assert said(editor) == "Column inserted before 2."
    choose(editor, "B-4")
    editor.rename_line("row", "K")
    assert "K-4" in editor.session.grid()
    choose(editor, "K-4")
    editor.shift("row", 1)
    choose(editor, "K-2")
    editor.delete("row")
    assert {core.row for core in editor.session.grid()} == {0}
    for _ in range(4):
        editor.session.watch.undo()
    assert {c.name: c for c in editor.session.grid()} == {c.name: c for c in first}


def test_a_map_brings_patients_and_columns_and_patients_select_their_cores(editor):
    from napari_her2.viewer.selection import select_patients

    grid = editor.session.grid()
    editor.apply_map(match_map(grid, parse_map("core,patient,ER\nA-1,P1,pos\nB-3,P1,neg\nA-2,P2,\n")))
    layer = editor.session.cores_layer
    assert list(layer.features["patient_id"]) == ["P1", "P2", "", "", "", "", "P1", ""]
    assert list(layer.features["ER"]) == ["pos", "", "", "", "", "", "neg", ""]
    choose(editor, "A-1")
    select_patients(layer)
    assert selected_names(layer) == ["A-1", "B-3"]
    editor.session.watch.undo()
    assert "ER" not in layer.features.columns


def test_a_drawn_grid_is_laid_onto_the_tissue_and_keeps_patients(editor, qtbot, monkeypatch):
    first = editor.session.grid()
    editor.apply_map(match_map(first, parse_map("core,patient\nA-1,P1\n")))
    asked = []

    def snap(slide, grid):
        asked.append(grid)
        return CoreGrid(tuple(replace(core, name=f"N{core.name}") for core in first))

    monkeypatch.setattr("napari_her2.dearray.snap.snap_grid", snap)
    editor.use_drawn(CoreGrid(first.cores[:4]))
    wait(editor, qtbot)
    assert len(asked) == 1
    assert editor.session.grid()["NA-1"].patient_id == "P1"
    editor.session.watch.undo()
    assert names(editor) == [core.name for core in first]


def test_the_grid_of_another_slide_is_taken_over_and_its_fit_is_told(editor, qtbot, monkeypatch):
    first = editor.session.grid()
    taken = CoreGrid(tuple(replace(core, patient_id="P9", reader_score="") for core in first))
    result = Reuse(taken, 7, 8, -12.0, True, 1.0, True, "The array fits equally well turned by 180°: check A-1.")
    monkeypatch.setattr("napari_her2.dearray.reuse.reuse_grid", lambda slide, grid: result)
    editor.reuse(first, "section 1")
    wait(editor, qtbot)
    assert editor.session.grid()["B-4"].patient_id == "P9"
    assert "7 of 8 cores of section 1 lie on tissue here, turned by -12°, mirrored." in said(editor)
    assert "check A-1" in said(editor)


def test_what_is_saved_is_opened_with_its_scores(editor, qtbot, tmp_path):
    session = editor.session
    session.score(["A-2", "B-4"])
    wait(editor, qtbot)
    first = session.grid()
    editor.save(tmp_path / "tma.cores.geojson")
    assert said(editor).startswith("8 cores written to ")
    assert {c.name: c for c in read_cores(tmp_path / "tma.cores.geojson")} == {c.name: c for c in first}
    session.watch.edit("nothing left", CoreGrid())
    assert session.scores() == {}
    editor.open(tmp_path / "tma.cores.geojson")
    assert {c.name: c for c in session.grid()} == {c.name: c for c in first}
    assert {n: s.score for n, s in session.scores().items()} == {"A-2": SCORES[1], "B-4": SCORES[3]}
    session.watch.undo()
    assert len(session.grid()) == 0
    editor.open(tmp_path / "nothing.geojson")
    assert session.sentences[-1][1]


@pytest.mark.parametrize("ending", ["cores.csv", "qptma"])
def test_other_kinds_of_files_are_written_by_their_ending(editor, tmp_path, ending):
    path = tmp_path / f"tma.{ending}"
    editor.save(path)
    assert [core.name for core in read_cores(path)] == names(editor)


def test_a_crash_loses_nothing(editor, viewer, qtbot, image):
    session = editor.session
    assert editor.saved() == ""
    choose(editor, "A-1")
    editor.mark(CoreState.MISSING)
    session.score(["B-4"])
    wait(editor, qtbot)
    saved = autosave_path(session.slide)
    qtbot.waitUntil(lambda: saved.exists() and '"3+"' in saved.read_text(encoding="utf-8"), timeout=10_000)
    assert editor.saved()
    # the layer is gone, as after a crash
    viewer.layers.remove(session.cores_layer)
    assert session.cores_layer is None
    editor.restore()
    assert session.grid()["A-1"].state is CoreState.MISSING
    assert session.scores()["B-4"].score == "3+"


def test_grid_verbs_before_there_are_cores_say_what_to_do(session):
    editor = GridEditor(session)
    editor.renumber("top-right")
    assert said(editor) == "Find the cores first, or draw the grid by hand."
    editor.next_doubtful()
    editor.restore()
    assert session.cores_layer is None
