from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_her2.networks import PlaceNetwork
from napari_her2.training.bank import TileBank, read_tile
from napari_her2.training.fit import FitParams, fit, place_loss, restained, tile_views
from napari_her2.training.staining import Laboratory


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> TileBank:
    made = TileBank(tmp_path_factory.mktemp("bank"), None, size=320)
    made.fill(4)
    return made


def test_a_bank_is_filled_once_and_the_same_again(bank: TileBank, tmp_path: Path):
    assert len(bank) == 4
    before = [p.stat().st_mtime_ns for p in bank.paths()]
    bank.fill(4)
    assert [p.stat().st_mtime_ns for p in bank.paths()] == before
    other = TileBank(tmp_path, None, size=320)
    other.fill(2)
    assert np.array_equal(read_tile(other.paths()[1]).classes, read_tile(bank.paths()[1]).classes)


def test_views_have_their_truth_at_every_place(bank: TileBank):
    full, half, low = tile_views(bank.paths()[0], np.random.default_rng(0), 16)
    assert len(full) == 2
    for picture, shares in (*full, *half, *low):
        assert picture.dtype == np.uint8
        assert shares.shape == (6, picture.shape[0] // 16, picture.shape[1] // 16)
        assert (shares.sum(axis=0) <= 1.0001).all()
    assert full[0][0].shape == (256, 256, 3)


def test_another_laboratory_stains_the_same_tissue(bank: TileBank):
    tile = read_tile(bank.paths()[0])
    lab = Laboratory(2 * tile.lab.blue, 0.5 * tile.lab.brown)
    other = restained(tile, lab, 1.0)
    np.testing.assert_allclose(other.hematoxylin, 2 * tile.hematoxylin, rtol=1e-5)
    np.testing.assert_allclose(other.dab, 0.5 * tile.dab, rtol=1e-5)
    assert np.array_equal(other.classes, tile.classes)
    assert other.lab == lab
    assert restained(tile, lab, 0.9).dab.shape == (288, 288)


def test_a_place_known_to_be_unstained_may_be_either_class():
    target = torch.zeros(1, 6, 1, 1)
    target[0, 5] = 1
    one, other, stained = (torch.full((1, 5, 1, 1), -9.0) for _ in range(3))
    one[0, 0], other[0, 1], stained[0, 3] = 9, 9, 9
    assert float(place_loss(one, target)) == pytest.approx(float(place_loss(other, target)))
    assert float(place_loss(one, target)) < 0.01 < 5 < float(place_loss(stained, target))


def test_a_killed_fit_goes_on_as_if_nothing_had_been(bank: TileBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    params = FitParams(steps=6, tiles=1)

    def run(checkpoint: Path, *, stop_at: int | None = None) -> PlaceNetwork:
        torch.manual_seed(0)
        network = PlaceNetwork()

        def report(step: int, loss: float, seconds: float) -> None:
            if step == stop_at:
                raise KeyboardInterrupt

        fit(network, bank.paths(), [], params, checkpoint, report=report)
        return network

    monkeypatch.setattr("napari_her2.training.fit.SAVE_EVERY", 3)
    whole = run(tmp_path / "whole.pt")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed.pt", stop_at=3)
    again = run(tmp_path / "killed.pt")
    for one, other in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_a_fit_leaves_the_ends_of_children_to_whom_they_were(bank: TileBank, tmp_path: Path):
    before = signal.getsignal(signal.SIGCHLD)
    fit(PlaceNetwork(), bank.paths(), [], FitParams(steps=1, tiles=1), tmp_path / "one.pt")
    assert signal.getsignal(signal.SIGCHLD) == before
