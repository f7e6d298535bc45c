from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_her2.errors import SlideError
from napari_her2.training.real_tissue import real_tiles
from napari_her2.training.render import Scanner, render
from napari_her2.training.tissue import IGNORE, UNSTAINED, Tissue, make_core


@pytest.fixture(scope="module")
def core_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stained and a plain core, as pictures of 0.25 µm per pixel."""
    folder = tmp_path_factory.mktemp("cores")
    for score in (0, 3):
        rng = np.random.default_rng(score)
        core = make_core(rng, score=score, diameter_um=200, mpp=0.25)
        Image.fromarray(render(core, Scanner.reference(), rng)).save(folder / f"{score}_made.jpg", quality=90)
    return folder


def check(tile: Tissue, size: int) -> None:
    assert tile.hematoxylin.dtype == tile.dab.dtype == np.float32
    assert tile.hematoxylin.shape == tile.dab.shape == tile.classes.shape == (size, size)
    assert np.isfinite(tile.hematoxylin).all()
    assert np.isfinite(tile.dab).all()
    assert tile.dab.min() >= 0
    assert set(np.unique(tile.classes).tolist()) <= {0, 1, 2, 3, 4, IGNORE, UNSTAINED}


def test_tiles_from_a_folder_of_pictures(core_folder: Path) -> None:
    tiles = list(real_tiles(core_folder, np.random.default_rng(0), 12, size=256))
    assert len(tiles) == 12
    for tile in tiles:
        check(tile, 256)
    again = list(real_tiles(core_folder, np.random.default_rng(0), 2, size=256))
    np.testing.assert_array_equal(tiles[1].dab, again[1].dab)
    seen = np.unique(np.concatenate([np.unique(t.classes) for t in tiles]))
    assert {0, 1, 4, IGNORE, UNSTAINED} <= set(seen.tolist())


def test_a_folder_without_cores_is_refused(tmp_path: Path, core_folder: Path) -> None:
    with pytest.raises(SlideError, match="no pictures of cores"):
        next(real_tiles(tmp_path, np.random.default_rng(0), 1))
    with pytest.raises(SlideError, match="no pictures of cores"):
        next(real_tiles(core_folder, np.random.default_rng(0), 1, exclude=("0_", "3_")))


def test_real_cores_restained_follow_their_labels(real_data: Path) -> None:
    """On two real cores: brown grows with the label, and what is left bare is labelled so."""
    others = ("0_9b", "1_", "2_", "3_99")
    tiles = list(real_tiles(real_data / "her2_cores", np.random.default_rng(3), 16, size=384, exclude=others))
    strong = []
    for label in (1, 2, 3, 4):
        inside = [t.dab[t.classes == label] for t in tiles]
        strong.append(float(np.percentile(np.concatenate(inside), 92)))
    assert strong[1] < strong[2] < strong[3]
    assert strong[0] < strong[2]
