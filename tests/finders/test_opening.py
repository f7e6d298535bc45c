"""Opening finders: what is refused, each time in one sentence, with or without their packages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from napari_her2.errors import ModelError
from napari_her2.finders import FINDERS, Source, open_finder
from napari_her2.membrane.finder import checksum


def test_a_finder_that_does_not_exist_and_weights_that_do_not(tmp_path: Path):
    with pytest.raises(ModelError, match="no finder of nuclei called watershed: choose one of cellpose, "):
        open_finder("watershed", tmp_path)
    for name in FINDERS:
        # a name that its library would download
        with pytest.raises(ModelError, match=r"There are no weights .*cpsam: download them yourself"):
            open_finder(name, tmp_path / "cpsam")


@pytest.mark.parametrize("name", FINDERS)
def test_a_package_that_is_not_installed_is_told_with_the_command(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "config.json").write_text('{"n_dim": 2, "n_channel_in": 3}')
    (tmp_path / "weights_best.h5").write_bytes(b"")
    for module in ("cellpose", "cellpose.models", "stardist", "stardist.models", "tensorflow", "instanseg"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModelError, match=rf'python -m pip install "napari-her2\[{name}\]"'):
        open_finder(name, tmp_path)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (None, "name the folder that holds config.json and weights"),
        ("{", "config.json of model is not that of a StarDist model"),
        ('{"n_dim": 3, "n_channel_in": 1}', "for 3D pictures of 1 channels: 2D and 1 or 3 are needed"),
        ('{"n_dim": 2, "n_channel_in": 4}', "for 2D pictures of 4 channels"),
    ],
)
def test_folders_that_are_no_stardist_model_are_refused_before_tensorflow_starts(
    config: str | None, sentence: str, tmp_path: Path
):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights_best.h5").write_bytes(b"")
    if config is not None:
        (folder / "config.json").write_text(config)
    with pytest.raises(ModelError, match=sentence):
        open_finder("stardist", folder)


def test_what_is_recorded_tells_weights_of_one_name_apart(tmp_path: Path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"1")
    b.write_bytes(b"2")
    assert len({checksum([a]), checksum([b]), checksum([a, b])}) == 3
    assert Source("built-in").record() == {"finder": "built-in"}
