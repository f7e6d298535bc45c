"""Reader scores: given by key, undone, kept with the tissue, shown beside the model's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from napari.utils.key_bindings import KeyBinding

from napari_her2.colours import SCORE_COLOURS
from napari_her2.cores import CoreGrid, CoreState
from napari_her2.scores import SCORES
from napari_her2.viewer.cores_scores import set_scores
from napari_her2.viewer.grid_editor import GridEditor
from napari_her2.viewer.keys import bind_keys, grid_keys, release_keys
from napari_her2.viewer.reading import give_reading
from napari_her2.viewer.reading_layer import find_reading_layer, show_readings


@pytest.fixture
def editor(found):
    return GridEditor(found)


def select(editor, *names) -> None:
    layer = editor.session.cores_layer
    layer.selected_data = {i for i, name in enumerate(layer.features["core"]) if name in names}


def read(editor) -> dict[str, str]:
    return {core.name: core.reader_score for core in editor.session.grid() if core.reader_score}


def test_a_reading_is_given_changed_taken_off_and_undone(editor):
    give_reading(editor, "2+")
    assert editor.session.sentences[-1][0].startswith("Select cores with tissue first")
    select(editor, "A-1", "A-2")
    assert give_reading(editor, "2+") == "2+"
    assert read(editor) == {"A-1": "2+", "A-2": "2+"}
    select(editor, "A-2")
    give_reading(editor, "3+")
    select(editor, "A-1", "A-2")
    assert give_reading(editor, "3+") == "3+"  # not all had it
    assert give_reading(editor, "3+") == ""
    assert read(editor) == {}
    watch = editor.session.watch
    assert watch.undoes == "2 cores not read"
    for expected in ({"A-1": "3+", "A-2": "3+"}, {"A-1": "2+", "A-2": "3+"}, {"A-1": "2+", "A-2": "2+"}, {}):
        watch.undo()
        assert read(editor) == expected
    watch.redo()
    assert read(editor) == {"A-1": "2+", "A-2": "2+"}


def test_cores_without_tissue_are_not_read(editor):
    select(editor, "A-1")
    editor.mark(CoreState.MISSING)
    assert give_reading(editor, "0") == ""
    select(editor, "A-1", "A-2")
    give_reading(editor, "0")
    assert read(editor) == {"A-2": "0"}


def test_keys_stand_above_naparis_and_are_given_back(editor, viewer):
    from napari.layers.shapes import _shapes_key_bindings  # noqa: F401 (what napari binds at start-up)

    layer = editor.session.cores_layer
    theirs = {key: KeyBinding.from_str(key) for key in "0123"}
    before = dict(layer.keymap)
    keys = grid_keys(editor)
    bind_keys(layer, keys)
    select(editor, "A-3")
    layer.keymap[theirs["3"]](layer)
    assert read(editor) == {"A-3": "3+"}
    assert layer.nshapes == 8  # 3 is napari's key for deleting shapes
    release_keys(layer, keys)
    assert layer.keymap == before


def test_a_reading_survives_scoring_naming_and_finding_anew(editor, qtbot, grid_of_discs, monkeypatch):
    session = editor.session
    select(editor, "A-2")
    give_reading(editor, "3+")
    session.score(["A-2"])
    qtbot.waitUntil(lambda: not session.working)
    assert read(editor) == {"A-2": "3+"}
    assert session.scores()["A-2"].score == "1+"
    editor.renumber("bottom-right")
    assert read(editor) == {"B-3": "3+"}
    again = CoreGrid(tuple(replace(core, x=core.x + 3) for core in grid_of_discs))
    monkeypatch.setattr("napari_her2.dearray.find_cores", lambda slide, params: again)
    session.find()
    qtbot.waitUntil(lambda: not session.busy)
    assert read(editor) == {"A-2": "3+"}


def test_a_file_without_readings_takes_none_away_and_its_own_stand_above(editor, grid_of_discs):
    session = editor.session
    select(editor, "A-1", "A-2", "B-4")
    give_reading(editor, "1+")
    grid = CoreGrid(grid_of_discs.cores[:-1]).with_core(replace(grid_of_discs["A-2"], reader_score="0"))
    session.show(session.image, session.slide, grid, did="opening a file")
    assert read(editor) == {"A-1": "1+", "A-2": "0"}
    assert "1 reader scores lay where no core is now" in session.sentences[-1][0]
    session.watch.undo()
    assert read(editor) == {"A-1": "1+", "A-2": "1+", "B-4": "1+"}


def test_badges_follow_the_readings(editor, viewer, image, score_of):
    session, layer = editor.session, editor.session.cores_layer

    def badges():
        return show_readings(viewer.layers, image, layer, session.grid())

    assert badges() is None
    select(editor, "A-4")
    give_reading(editor, "3+")
    set_scores(layer, session.slide, [score_of(session.grid()["A-4"], "2+")])
    points = badges()
    core = session.grid()["A-4"]
    assert np.allclose(points.data, [(core.y + 40, core.x + 40)])
    assert points.size[0] == pytest.approx(40)
    colour = np.array([int(SCORE_COLOURS["3+"][k : k + 2], 16) / 255 for k in (1, 3, 5)])
    assert np.allclose(points.face_color[0, :3], colour, atol=1e-3)
    assert list(points.text.values) == ["3+"]
    assert layer.features["label"][3] == "A-4: 2+"
    assert viewer.layers.selection.active is layer
    for name, score in zip(("A-1", "A-2", "A-3"), SCORES, strict=False):
        select(editor, name)
        give_reading(editor, score)
    assert badges() is points
    assert sorted(points.text.values) == ["0", "1+", "2+", "3+"]
    assert len(points.data) == len(points.size) == len(points.face_color) == 4
    select(editor, "A-1", "A-2", "A-3", "A-4")
    give_reading(editor, "1+")
    give_reading(editor, "1+")
    assert len(badges().data) == 0
    assert find_reading_layer(viewer.layers, image) is points
    viewer.layers.remove(points)
    select(editor, "A-1")
    give_reading(editor, "0")
    assert badges() is not points
    assert list(badges().text.values) == ["0"]
    viewer.layers.remove(badges())
    assert badges() is None  # deleted by the user: it does not come back by itself, or no viewer could be closed
