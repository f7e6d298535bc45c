"""A finder led over a core in tiles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from discs import Pieces
from napari_her2.errors import ModelError
from napari_her2.finders import tiles
from napari_her2.finders.tiles import outlines_by
from napari_her2.measure import measure_pixels
from napari_her2.stain import unmix
from test_measure import PARAMS, PITCH, STAINS, cells, measured


def found(picture: np.ndarray, finder: Pieces, tissue: np.ndarray | None = None) -> np.ndarray:
    tissue = np.ones((3, 3), bool) if tissue is None else tissue
    return np.stack(outlines_by(finder, picture, unmix(picture, STAINS)[0], tissue)[:2])


@pytest.mark.parametrize("own", [100, 137])
def test_tiles_find_each_nucleus_once_and_where_one_look_finds_it(own: int, monkeypatch: pytest.MonkeyPatch):
    picture = cells(0.0)
    whole, alone = found(picture, alone := Pieces()), alone
    assert len(alone.seen) == 1
    assert whole.shape[1] == 121
    monkeypatch.setattr(tiles, "_OWN", own)
    finder = Pieces()
    parts = found(picture, finder)
    assert len(finder.seen) == (-(-len(picture) // own)) ** 2
    assert max(max(seen.shape) for seen in finder.seen) <= own + 2 * 48
    assert parts.shape == whole.shape
    order = [np.lexsort(np.rint(table)) for table in (whole, parts)]
    assert np.abs(whole[:, order[0]] - parts[:, order[1]]).max() < 0.5


def test_a_nucleus_right_on_a_border_is_there_once(monkeypatch: pytest.MonkeyPatch):
    picture = np.full((300, 300, 3), 240, np.uint8)
    y, x = np.mgrid[:300, :300]
    picture[np.hypot(y - 150, x - 80) < 14] = (90, 80, 160)
    picture[np.hypot(y - 150, x - 220) < 14] = (90, 80, 160)
    monkeypatch.setattr(tiles, "_OWN", 150)
    assert np.sort(found(picture, Pieces())[1]).tolist() == pytest.approx([40, 110], abs=0.5)


def test_all_tiles_are_shown_alike_and_empty_ones_are_passed_over(monkeypatch: pytest.MonkeyPatch):
    picture = cells(0.0)
    monkeypatch.setattr(tiles, "_OWN", 100)
    finder, tissue = Pieces(colours=True), np.zeros((2, 2), bool)
    tissue[0, 0] = True
    assert 0 < found(picture, finder, tissue).shape[1] < 60
    assert len(finder.seen) == 4
    assert all(seen.dtype == np.float32 and seen.shape[2] == 3 for seen in finder.seen)
    # glass is as bright in a tile of glass alone as beside tissue
    assert finder.seen[0][:20, :20].mean() == pytest.approx(1, abs=0.1)


def test_the_measurement_takes_the_nuclei_of_a_finder():
    picture = cells(0.8, stained=6 / 11)
    one, own = measure_pixels(picture, STAINS, replace(PARAMS, finder=Pieces())), measured(picture)
    assert one.count == pytest.approx(own.count, abs=6)
    assert one.score == own.score == "3+"
    assert one.percent[3] == pytest.approx(own.percent[3], abs=6)
    row = (one.y - 40) % PITCH - PITCH / 2
    assert np.abs(row).max() < 4
    # a finder that finds nothing leaves nothing to score
    none = Pieces()
    none.labels = lambda tile: np.zeros(tile.shape[:2], int)  # type: ignore[method-assign]
    assert measure_pixels(picture, STAINS, replace(PARAMS, finder=none)).count == 0


def test_a_finder_that_fails_is_one_sentence():
    finder, picture = Pieces(), cells(0.0)

    def fails(tile: np.ndarray) -> np.ndarray:
        raise RuntimeError("Traceback of TorchScript:\n  at line 3\nout of memory.")

    finder.labels = fails  # type: ignore[method-assign]
    with pytest.raises(ModelError, match=r"cellpose failed on a tile \(out of memory\): try"):
        found(picture, finder)
    finder.labels = lambda tile: tile[..., 0]  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="cellpose gave no label image of 366 x 366 pixels"):
        found(picture, finder)
