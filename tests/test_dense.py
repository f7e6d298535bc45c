from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_her2.dense import dense_pieces, dense_places
from napari_her2.errors import ModelError


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


def test_a_model_of_whole_cores_has_no_dense_map(discs_slide, grid_of_discs, mock_model, mock_engine):
    model = replace(mock_model, network={"design": "stacked"})
    with pytest.raises(ModelError, match="knows no places"):
        next(dense_pieces(discs_slide, grid_of_discs["A-1"], model, mock_engine))
