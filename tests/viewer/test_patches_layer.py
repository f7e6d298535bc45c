"""The patches of a core are those that it was judged by, and their shares are the whole of its value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_her2.errors import ModelError
from napari_her2.pyramid import sample
from napari_her2.scoring import judge_places
from napari_her2.stain import white_point
from napari_her2.viewer.patches_layer import find_patches_layer, hide_patches, patches_of, show_patches


@pytest.fixture
def scored(found, qtbot, mock_engine):
    found.score(["A-3"])
    qtbot.waitUntil(lambda: not found.working)
    return found


def test_shares_are_those_of_the_places_on_each_patch(scored, mock_model, mock_engine):
    score, slide = scored.scores()["A-3"], scored.slide
    runs = mock_engine.runs
    patches = patches_of(slide, score, mock_model)
    assert mock_engine.runs == runs
    assert patches.share.sum() == pytest.approx(1, abs=1e-5)
    assert np.nansum(patches.share * patches.grade) == pytest.approx(score.value, abs=1e-2)
    # against the network's own answer
    drawn = sample(slide, score.core, mock_model.spec, white=white_point(slide.overview()[0]))
    answer = mock_engine.run(drawn.pixels)
    places, patch, _ = judge_places(drawn, answer[0] if isinstance(answer, tuple) else answer, mock_model.calibration)
    expected = np.bincount(patch, places.weight, len(drawn.y))
    assert np.allclose(np.sort(expected), patches.share, atol=1e-5)
    order = np.argsort(expected, kind="stable")
    assert np.array_equal(np.sort(drawn.size[order]), np.sort(patches.size))
    assert np.all(np.diff(patches.share) >= 0)


def test_a_score_from_a_file_has_no_places_to_tell(scored, mock_model):
    score = scored.scores()["A-3"]
    with pytest.raises(ModelError, match="score it again"):
        patches_of(scored.slide, replace(score, places=None), mock_model)


def test_another_pyramid_is_noticed(scored, mock_model):
    other = replace(mock_model, spec=replace(mock_model.spec, levels=mock_model.spec.levels[:1]))
    with pytest.raises(ModelError, match="cannot be drawn again"):
        patches_of(scored.slide, scored.scores()["A-3"], other)


def test_the_layer_shows_squares_with_figures_and_goes(scored, viewer, image, mock_model):
    patches = patches_of(scored.slide, scored.scores()["A-3"], mock_model)
    layer = show_patches(viewer.layers, image, scored.cores_layer, patches)
    assert layer.nshapes == len(patches.share)
    assert viewer.layers.selection.active is scored.cores_layer
    k = int(np.argmax(patches.share))
    assert np.allclose(layer.data[k].min(0), (patches.y[k], patches.x[k]), atol=1e-3)
    assert np.allclose(np.ptp(layer.data[k], axis=0), patches.size[k], atol=1e-3)
    assert max(layer.edge_width) == pytest.approx(0.02 * patches.size.min())
    assert layer.edge_color[k, 3] == pytest.approx(1)
    told = [float(t.rstrip(" %")) for t in layer.features["label"] if t]
    assert sum(told) == pytest.approx(100, abs=5)
    assert find_patches_layer(viewer.layers, image) is layer
    again = show_patches(viewer.layers, image, scored.cores_layer, patches)
    assert [la for la in viewer.layers if "patches" in la.name] == [again]
    hide_patches(viewer.layers, image)
    assert find_patches_layer(viewer.layers, image) is None
