"""Measured membrane staining: nuclei, cells, rings, classes, rules, quality flags. `napari_her2.measure` joins them."""

from napari_her2.membrane.classes import CellClasses, Thresholds, classify
from napari_her2.membrane.epithelium import EpitheliumParams
from napari_her2.membrane.flags import FlagParams
from napari_her2.membrane.rings import RingParams
from napari_her2.membrane.rules import BREAST, GASTRIC_BIOPSY, GASTRIC_RESECTION, RULES, RuleSet, low_remark

__all__ = [
    "BREAST",
    "GASTRIC_BIOPSY",
    "GASTRIC_RESECTION",
    "RULES",
    "CellClasses",
    "EpitheliumParams",
    "FlagParams",
    "RingParams",
    "RuleSet",
    "Thresholds",
    "classify",
    "low_remark",
]
