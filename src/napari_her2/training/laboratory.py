"""A laboratory trains a model on its own labels: what the viewer and the command line call. No Qt.

In order: `collect` encodes labelled cores, `too_few` says whether they are enough, `cross_validate` measures,
`fit_head` fits to all, `laboratory_card` says what was done, `save_laboratory_model` writes.
"""

from __future__ import annotations

from napari_her2.training.lab_compare import Comparison, compare_on, cross_validate
from napari_her2.training.lab_features import CoreFeatures, collect, default_cache, open_encoder
from napari_her2.training.lab_folds import LEAST_CORES, LEAST_PATIENTS, too_few
from napari_her2.training.lab_head import Head, LabParams, LearningPoint, fit_head
from napari_her2.training.lab_save import check_name, laboratory_card, save_laboratory_model

__all__ = [
    "LEAST_CORES",
    "LEAST_PATIENTS",
    "Comparison",
    "CoreFeatures",
    "Head",
    "LabParams",
    "LearningPoint",
    "check_name",
    "collect",
    "compare_on",
    "cross_validate",
    "default_cache",
    "fit_head",
    "laboratory_card",
    "open_encoder",
    "save_laboratory_model",
    "too_few",
]
