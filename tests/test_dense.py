from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_her2.dense import dense_pieces, dense_places
from napari_her2.errors import ModelError
from napari_her2.stain import QUPATH_STAINS, normaliser, on_white


def test_a_dense_map_covers_the_tissue_and_no_place_twice(discs_slide, grid_of_discs, mock_model, mock_engine):
    core = grid_of_discs["A-4"]
    done = [share for _, share in dense_pieces(discs_slide, core, mock_model, mock_engine)]
    places = dense_places(discs_slide, core, mock_model, mock_engine)
    assert done == sorted(done)
    assert done[-1] == 1
    assert len(np.unique(np.stack([places.y, places.x]), axis=1).T) == len(places)
    area, disc = float((places.size**2).sum()), np.pi * (core.diameter / 2) ** 2
    assert 0.9 * disc < area < 1.3 * disc
    assert places.weight.sum() == pytest.approx(1)
    assert np.median(places.grade) > 2.5


def test_normalised_the_network_sees_what_it_sees_when_scoring_so(discs_slide, grid_of_discs, mock_model, mock_engine):
    seen, run, core = [], mock_engine.run, grid_of_discs["A-3"]
    mock_engine.run = lambda pixels: (seen.append(pixels.copy()), run(pixels))[1]
    dense_places(discs_slide, core, mock_model, mock_engine)
    plain = np.concatenate(seen)
    seen.clear()
    stains = replace(QUPATH_STAINS, white=(236.0, 236.0, 242.0), dab=(0.4, 0.6, 0.7))
    dense_places(discs_slide, core, mock_model, mock_engine, normalise=stains)
    turned = normaliser(on_white(stains), mock_model.reference_stains)
    assert np.array_equal(np.concatenate(seen), np.stack([turned(patch) for patch in plain]))
    assert not np.array_equal(np.concatenate(seen), plain)
    calibrated = replace(mock_model, recalibration={"batch": "run 7"})
    with pytest.raises(ModelError, match="run 7 was made without normalised colours"):
        dense_places(discs_slide, core, calibrated, mock_engine, normalise=stains)


def test_a_model_of_whole_cores_has_no_dense_map(discs_slide, grid_of_discs, mock_model, mock_engine):
    model = replace(mock_model, network={"design": "stacked"})
    with pytest.raises(ModelError, match="knows no places"):
        next(dense_pieces(discs_slide, grid_of_discs["A-1"], model, mock_engine))
