from __future__ import annotations

import os
import time

import pytest

from napari_her2.export import read_cores
from napari_her2.viewer.autosave import Autosave, autosave_path, saved_when
from napari_her2.viewer.cores_watch import CoresWatch
from napari_her2.viewer.slide_layer import slide_of_layer


@pytest.fixture
def watch(qtbot, viewer, image, cores):
    watch = CoresWatch(viewer.layers)
    watch.bind(cores, slide_of_layer(image))
    return watch


def test_changes_are_saved_after_a_moment_of_quiet(qtbot, watch, grid_of_discs, own_data_folder):
    autosave = Autosave(watch)
    path = autosave_path(watch.slide)
    assert path.is_relative_to(own_data_folder)
    assert "tma" not in path.name
    assert saved_when(watch.slide) is None
    watch.settle()
    autosave.flush()
    assert read_cores(path) == grid_of_discs
    assert saved_when(watch.slide) == pytest.approx(time.time(), abs=60)
    # one layer after another: nothing that was changed last is lost
    watch.layer.remove([0])
    watch.settle()
    watch.bind(None)
    autosave.flush()
    assert len(read_cores(path)) == 7


def test_a_folder_that_cannot_be_written_only_goes_to_the_log(watch, own_data_folder, caplog):
    (own_data_folder / "autosave").write_text("in the way")
    autosave = Autosave(watch)
    watch.settle()
    autosave.flush()
    assert "could not be saved against a crash" in caplog.text


def test_what_nobody_came_back_to_is_deleted_in_time(watch, own_data_folder):
    folder = own_data_folder / "autosave"
    folder.mkdir()
    for name, days in (("old", 91), ("new", 89)):
        (folder / f"{name}.cores.geojson").write_text("{}")
        os.utime(folder / f"{name}.cores.geojson", (0, time.time() - days * 86_400))
    autosave = Autosave(watch)
    watch.settle()
    autosave.flush()
    assert not (folder / "old.cores.geojson").exists()
    assert (folder / "new.cores.geojson").exists()
