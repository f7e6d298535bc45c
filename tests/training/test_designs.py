"""A model that looks at one magnification alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from discs import MockEngine, discs_grid
from napari_her2.dense import dense_places
from napari_her2.errors import ModelError
from napari_her2.models import ScoringModel
from napari_her2.scoring import score_cores
from napari_her2.slide import Slide
from napari_her2.training.designs import Design, alone, one_magnification


def test_the_others_give_no_patch_and_have_no_say(mock_model: ScoringModel, discs_slide: Slide):
    model = replace(mock_model, familiar={"n": 1})
    fine, words = one_magnification(model, Design.FULL_RESOLUTION)
    whole, _ = one_magnification(model, Design.WHOLE_CORE)
    assert words == "full resolution alone"
    assert [level.count for level in fine.spec.levels] == [model.spec.levels[0].count, 0, 0]
    assert whole.calibration.level_weights == (0, 0, 1)
    assert (fine.familiar, whole.familiar) == ({"n": 1}, {})  # told by patches that a whole-core model does not draw
    assert one_magnification(model, Design.PLACES) == (model, "")
    for variant in (replace(fine, familiar={}), whole):
        scored = list(score_cores(discs_slide, discs_grid().cores, variant, engine=MockEngine(3)))
        assert [score.score for score in scored] == ["0", "1+", "2+", "3+"] * 2
        sizes = {round(float(size), 3) for score in scored for size in np.unique(score.places.size)}
        assert len(sizes) == 1


def test_what_it_does_not_look_at_it_is_not_asked(mock_model: ScoringModel, discs_slide: Slide):
    whole = alone(mock_model, 2)
    with pytest.raises(ModelError, match="does not look at full resolution: choose"):
        one_magnification(whole, Design.FULL_RESOLUTION)
    with pytest.raises(ModelError, match="knows no places at full resolution"):
        dense_places(discs_slide, discs_grid().cores[0], whole, MockEngine(3))
