from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_her2.networks import PlaceNetwork
from napari_her2.training.bank import TileBank, read_tile
from napari_her2.training.fit import FitParams, fit, tile_views


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> TileBank:
    made = TileBank(tmp_path_factory.mktemp("bank"), None, size=192)
    made.fill(4)
    return made


def test_a_bank_is_filled_once_and_the_same_again(bank: TileBank, tmp_path: Path):
    assert len(bank) == 4
    before = [p.stat().st_mtime_ns for p in bank.paths()]
    bank.fill(4)
    assert [p.stat().st_mtime_ns for p in bank.paths()] == before
    other = TileBank(tmp_path, None, size=192)
    other.fill(2)
    assert np.array_equal(read_tile(other.paths()[1]).classes, read_tile(bank.paths()[1]).classes)


def test_views_have_their_truth_at_every_place(bank: TileBank):
    views = tile_views(bank.paths()[0], np.random.default_rng(0), 96, 16, 4.0)
    for picture, shares in views:
        assert picture.dtype == np.uint8
        assert shares.shape == (5, picture.shape[0] // 16, picture.shape[1] // 16)
        assert (shares.sum(axis=0) <= 1.0001).all()
    assert views[0][0].shape == (96, 96, 3)


def test_a_killed_fit_goes_on_as_if_nothing_had_been(bank: TileBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    params = FitParams(steps=50, tiles=1, crop=32)

    def run(checkpoint: Path, *, stop_at: int | None = None) -> PlaceNetwork:
        torch.manual_seed(0)
        network = PlaceNetwork()

        def report(step: int, loss: float, seconds: float) -> None:
            if step == stop_at:
                raise KeyboardInterrupt

        fit(network, bank.paths(), params, checkpoint, report=report)
        return network

    monkeypatch.setattr("napari_her2.training.fit.SAVE_EVERY", 25)
    whole = run(tmp_path / "whole.pt")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed.pt", stop_at=25)
    again = run(tmp_path / "killed.pt")
    for one, other in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
