"""Other cut points on scores that are there: each core's value is kept, what it is called follows; no network runs."""

from __future__ import annotations

import math
from dataclasses import replace

from napari.layers import Shapes

from napari_her2.models import Calibration, ScoringModel
from napari_her2.scores import CoreScore
from napari_her2.slide import Slide
from napari_her2.viewer.cores_scores import scores_of_layer, set_scores
from napari_her2.viewer.slide_layer import KEY

__all__ = ["model_of_layer", "recut", "recut_layer", "value_of"]


def value_of(score: CoreScore, made_with: Calibration) -> float:
    """The value of a core; from its probabilities where only those were kept, NaN where it has no score."""
    if math.isfinite(score.value) or not score.score:
        return score.value
    from napari_her2.recalibrate import value_of_probabilities  # brings in the engine: not at start-up

    return value_of_probabilities(score.probabilities, made_with)


def recut(score: CoreScore, made_with: Calibration, model: ScoringModel) -> CoreScore:
    """The score that a core has with the cut points of `model`; one without a score stays as it is."""
    if not score.score:
        return score
    from napari_her2.pooling import score_probabilities
    from napari_her2.scoring import BETWEEN, decided

    value = value_of(score, made_with)
    reason = "" if score.reason.startswith(BETWEEN) else score.reason  # any other (little tumour) stays
    new = decided(score.core, value, score_probabilities(value, model.calibration), model, reason)
    names = ("score", "probabilities", "value", "indeterminate", "reason")
    batch = str(model.recalibration.get("batch", ""))
    return replace(score, batch=batch, **{name: getattr(new, name) for name in names})


def model_of_layer(layer: Shapes) -> ScoringModel | None:
    """The model that made the scores of a layer, with its cut points; None when nobody knows."""
    model: ScoringModel | None = layer.metadata.get(KEY, {}).get("model")
    return model


def recut_layer(layer: Shapes, slide: Slide, model: ScoringModel) -> int:
    """Give all scores of a layer the cut points of `model`, and note it; returns how many are called otherwise now."""
    known = layer.metadata.setdefault(KEY, {})
    made_with = known.get("model") or model
    before = scores_of_layer(layer)
    after = [recut(score, made_with.calibration, model) for score in before.values()]
    set_scores(layer, slide, after)
    known["model"] = model
    if known.get("scored_with"):
        known["scored_with"] |= {
            "cuts": list(model.calibration.cuts),
            "batch": str(model.recalibration.get("batch", "")),
        }
    return sum(score.score != before[score.core.name].score for score in after)
