"""Stacks of a manifest's cores: made once, remade when they are damaged, and never more than the disk holds."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_her2.errors import OutputError
from napari_her2.manifest import Manifest, ManifestCore
from napari_her2.pyramid import LevelSpec, PyramidSpec, sample
from napari_her2.slide import Slide
from napari_her2.stain import white_point
from napari_her2.training import stacks
from napari_her2.training.laboratory import CoreFeatures
from napari_her2.training.stacks import labelled_bank, stack_bytes
from tiny_model import many_discs

SPEC = PyramidSpec(mpp=1.0, patch=32, levels=(LevelSpec(2, 1.0), LevelSpec(1, 0.0)))


@pytest.fixture
def discs(tmp_path: Path) -> tuple[Manifest, list[CoreFeatures]]:
    picture, grid = many_discs(8)
    Image.fromarray(picture).save(tmp_path / "tma.png")
    rows, cores = [], []
    for line, core in enumerate(grid.cores, 2):
        rows.append(ManifestCore(line, tmp_path / "tma.png", core.name, line % 4, ""))
        place = {"y": core.y, "x": core.x, "diameter": core.diameter}
        none = np.empty(0, np.intp)
        cores.append(CoreFeatures("tma", core.name, line % 4, "", none, np.empty((1, 0, 1), np.float16), line, **place))
    return Manifest("labels.csv", "", tuple(rows)), cores


def test_a_stack_is_what_scoring_would_look_at(discs: tuple[Manifest, list[CoreFeatures]], tmp_path: Path):
    manifest, cores = discs
    bank = labelled_bank(cores[::-1], manifest, SPEC, tmp_path / "stacks", pixel_size=1.0)
    slide = Slide.open(tmp_path / "tma.png", mpp=1.0)
    core = many_discs(8)[1].cores[2]
    expected = sample(slide, core, SPEC, white=white_point(slide.overview()[0])).pixels
    assert np.array_equal(bank.stack(5), expected)
    assert bank.scores.tolist() == [core.score for core in cores[::-1]]
    assert stack_bytes(SPEC) == expected.nbytes
    assert bank.of([5, 0]).scores.tolist() == [cores[2].score, cores[7].score]


def test_stacks_are_made_once_and_damaged_ones_again(
    discs: tuple[Manifest, list[CoreFeatures]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    manifest, cores = discs
    made, real = [], stacks.sample
    monkeypatch.setattr(
        stacks, "sample", lambda slide, core, *a, **k: (made.append(core.name), real(slide, core, *a, **k))[1]
    )
    told = []

    def filled(**other: object) -> stacks.StackBank:
        made.clear()
        told.clear()
        how = {"pixel_size": 1.0, "progress": lambda *done: told.append(done)} | other
        return labelled_bank(cores, manifest, SPEC, tmp_path / "stacks", **how)

    bank = filled()
    assert made == [core.name for core in cores]
    assert told == [(k, 8) for k in range(9)]
    bank.files[3].write_bytes(bank.files[3].read_bytes()[:-10])
    bank.files[4].write_bytes(b"")
    assert filled().files == bank.files
    assert made == [cores[3].name, cores[4].name]
    assert told == [(6, 8), (7, 8), (8, 8)]
    assert not set(filled(seed=1).files) & set(bank.files)
    assert not set(filled(pixel_size=0.9).files) & set(bank.files)


def test_a_disk_without_room_is_one_sentence_before_any_work(
    discs: tuple[Manifest, list[CoreFeatures]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    usage = shutil.disk_usage(tmp_path)._replace(free=8 * stack_bytes(SPEC) - 1)
    monkeypatch.setattr(stacks.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OutputError, match=r"need .* GB .* --cache"):
        labelled_bank(discs[1], discs[0], SPEC, tmp_path / "stacks", pixel_size=1.0)
    assert not (tmp_path / "stacks").exists()
