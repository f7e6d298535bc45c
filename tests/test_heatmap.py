from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_her2.cores import Core
from napari_her2.heatmap import KINDS, Heatmap, likely_map
from napari_her2.models import Calibration
from napari_her2.scores import CoreScore, Places
from napari_her2.scoring import score_cores
from napari_her2.slide import Slide


def score_at(y: float, x: float, grade: float, *, size: float = 16.0, diameter: float = 32.0) -> CoreScore:
    one = np.array([1.0])
    places = Places(one * y, one * x, one * size, one * grade, one, one)
    return CoreScore(Core("A-1", 0, 0, y, x, diameter), score="2+", places=places)


def test_stride_and_offset():
    slide = Slide.from_arrays(np.full((100, 210, 3), 255, np.uint8), mpp=0.5)
    heatmap = Heatmap.of(slide)
    assert heatmap.stride == 32
    assert heatmap.image.shape == (4, 7)
    assert heatmap.offset == 15.5
    assert heatmap.image.dtype == np.float32
    assert np.isnan(heatmap.image).all()


def test_a_place_colours_the_square_it_lies_on():
    heatmap = Heatmap((160, 160), 16)
    heatmap.add(score_at(40, 72, 2.5))
    assert heatmap.image[2, 4] == 2.5
    assert np.isfinite(heatmap.image).sum() == 1


def test_a_large_place_covers_its_squares():
    heatmap = Heatmap((160, 160), 16)
    heatmap.add(score_at(64, 64, 1.0, size=64, diameter=64))
    assert np.isfinite(heatmap.image).sum() == 16
    assert np.isfinite(heatmap.image[2:6, 2:6]).all()


def test_scored_again_replaces_and_unscored_clears():
    heatmap = Heatmap((160, 160), 16)
    first = score_at(40, 72, 2.5)
    heatmap.add(first)
    heatmap.add(score_at(40, 72, 1.0))
    assert heatmap.image[2, 4] == 1.0
    heatmap.add(replace(first, places=None, score=""))
    assert np.isnan(heatmap.image).all()


def test_a_neighbour_is_left_alone():
    heatmap = Heatmap((320, 320), 16)
    heatmap.add(score_at(88, 88, 3.0, diameter=160))
    heatmap.add(score_at(88, 248, 1.0, diameter=160))
    heatmap.add(score_at(88, 248, 2.0, diameter=160))
    assert heatmap.image[5, 5] == 3.0
    assert heatmap.image[5, 15] == 2.0


def test_every_disc_shows_its_grade(discs_slide, grid_of_discs, mock_model, mock_engine):
    heatmap = Heatmap.of(discs_slide)
    for score in score_cores(discs_slide, grid_of_discs, mock_model):
        heatmap.add(score)
    for k, core in enumerate(grid_of_discs):
        middle = heatmap.image[int(core.y // heatmap.stride), int(core.x // heatmap.stride)]
        assert middle == pytest.approx(k % 4, abs=0.45)
    assert np.isnan(heatmap.image[0, 0])


def test_maps_of_probability_follow_from_the_expected_score():
    image = np.array([[0.0, 1.3], [2.9, np.nan]], np.float32)
    calibration = Calibration(slope=6, cuts=(0.5, 1.3, 2.2))
    likely = likely_map(image, "at_least_2", calibration)
    assert likely[0, 1] == pytest.approx(0.5)
    assert likely[0, 0] < 0.01 < 0.99 < likely[1, 0]
    sure = likely_map(image, "confidence", calibration)
    assert sure[0, 1] == pytest.approx(0.5, abs=0.01)
    assert sure[1, 0] > 0.9
    for kind in KINDS:
        found = likely_map(image, kind, calibration)
        assert found.dtype == np.float32
        assert np.isnan(found).tolist() == np.isnan(image).tolist()
    with pytest.raises(ValueError, match="at_least_2"):
        likely_map(image, "certainty", calibration)
