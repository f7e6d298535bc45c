"""MeasureParams and Measurement: how a core is measured, and what was found on it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from napari_her2.cores import Core
from napari_her2.membrane.classes import CellClasses, Thresholds
from napari_her2.membrane.epithelium import EpitheliumParams
from napari_her2.membrane.finder import NucleusFinder
from napari_her2.membrane.flags import FlagParams
from napari_her2.membrane.labels import draw_cells
from napari_her2.membrane.nuclei import Nuclei
from napari_her2.membrane.polar import ANGLES
from napari_her2.membrane.rings import RingParams, Rings
from napari_her2.membrane.rules import BREAST, RuleSet
from napari_her2.regions import Region

__all__ = ["MPP", "MeasureParams", "Measurement"]

#: µm per pixel of the measurement: ring values within 10 % of those at 0.25; at 1 the intense class is lost.
MPP = 0.5


@dataclass(frozen=True)
class MeasureParams:
    """How a core is measured and scored.

    Attributes
    ----------
    thresholds : Thresholds
    rules : RuleSet
    epithelium : EpitheliumParams
    rings : RingParams
    flags : FlagParams
    min_tissue : float
        Share of the core's disc under which there is nothing to score: an emptied punch has under 0.01.
    min_cells : int
        Tumour-like cells under which percentages mean little.
    nuclear_od : (float, float)
        Haematoxylin OD of nuclei between which the thresholds were tried.
    threads : int
        Threads that share the work.
    finder : NucleusFinder or None
        Finds the nuclei, see `finders.open_finder`; None: `find_nuclei` does.
    """

    thresholds: Thresholds = field(default_factory=Thresholds)
    rules: RuleSet = BREAST
    epithelium: EpitheliumParams = field(default_factory=EpitheliumParams)
    rings: RingParams = field(default_factory=RingParams)
    flags: FlagParams = field(default_factory=FlagParams)
    min_tissue: float = 0.02
    min_cells: int = 150
    nuclear_od: tuple[float, float] = (0.06, 0.25)
    threads: int = min(2, os.cpu_count() or 1)
    finder: NucleusFinder | None = None


_NONE = np.empty(0, np.float32)
_NO_RAYS = np.empty((ANGLES, 0), np.float32)
_NO_RINGS = Rings(_NO_RAYS, _NO_RAYS, _NO_RAYS, _NO_RAYS.astype(bool), _NONE, _NONE)


@dataclass(frozen=True)
class Measurement:
    """What was measured on a core.

    Attributes
    ----------
    score : str
        "0", "1+", "2+", "3+", or "" where the core is not scorable.
    sentence : str
        The score explained, or why there is none.
    percent : tuple of 4 float
        Percent of tumour-like cells of class 0, 1+, 2+, 3+; NaN where none was counted.
    h_score : float
        1 x % of 1+, 2 x % of 2+, 3 x % of 3+: 0..300. NaN where none was counted.
    membrane_od, completeness : float
        Means over the counted cells: DAB OD of the membrane above the cytoplasm; share of the outline stained, 0..1.
    connectivity : float
        Share of sides with a neighbour that carry an unbroken stretch of brown (three rays, 34 degrees), 0..1.
    nuclear_od : float
        Median haematoxylin OD of the core's nuclei.
    tissue_fraction : float
        Share of the disc that is tissue, 0..1.
    count : int
        Cells counted.
    y, x : ndarray of float64, shape (n,)
        Centres of the counted cells in level-0 pixels.
    cells : CellClasses
        Class, intensity and completeness of each.
    rings : Rings
        Their membranes (lengths in µm), for `calibrate` and for drawing.
    nuclei : Nuclei
        All nuclei of the core (µm from `origin`), counted or not.
    counted : ndarray of int, shape (n,)
        Which of `nuclei` are counted.
    flags : tuple of str
        What makes the measurement doubtful.
    remark : str
        HER2-low or ultralow, derived.
    failed : bool
        The core could not be read; one with too little tissue or too few cells has not failed.
    core : Core or None
    regions : tuple of Region
        Those drawn on the core when it was measured, which decided what was counted.
    origin, pixel : (float, float), float
        Top left corner of what was measured in level-0 pixels, and level-0 pixels per µm.
    shape : (int, int)
        Of the pixels measured, at `MPP`.
    seconds : float
    """

    score: str = ""
    sentence: str = ""
    percent: tuple[float, float, float, float] = (math.nan,) * 4
    h_score: float = math.nan
    membrane_od: float = math.nan
    completeness: float = math.nan
    connectivity: float = math.nan
    nuclear_od: float = math.nan
    tissue_fraction: float = 0.0
    count: int = 0
    y: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    x: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    cells: CellClasses = field(default_factory=lambda: CellClasses(np.empty(0, np.uint8), _NONE, _NONE))
    rings: Rings = _NO_RINGS
    nuclei: Nuclei | None = None
    counted: npt.NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    flags: tuple[str, ...] = ()
    remark: str = ""
    failed: bool = False
    core: Core | None = None
    regions: tuple[Region, ...] = ()
    origin: tuple[float, float] = (0.0, 0.0)
    pixel: float = 1 / MPP
    shape: tuple[int, int] = (0, 0)
    seconds: float = 0.0

    @property
    def columns(self) -> dict[str, float | str]:
        """The columns of the table of cores that a measurement fills by itself."""
        shares = {f"percent_{k}": p for k, p in enumerate(self.percent)}
        return {
            "h_score": self.h_score,
            **shares,
            "membrane_completeness": self.completeness,
            "measured_score": self.score,
            "measured_reason": self.sentence,
        }

    def summed_up(self) -> Measurement:
        """The same without its cells: all that tables and reports need, 3 MB a core less."""
        none = Measurement()
        return replace(self, y=none.y, x=none.x, cells=none.cells, rings=none.rings, nuclei=None, counted=none.counted)

    def label_image(self, *, by_class: bool = True) -> npt.NDArray[np.int32]:
        """Counted cells at `MPP`, from `origin`: 1 + class, or numbers of their own from 1; 0 elsewhere."""
        if self.nuclei is None:
            return np.zeros(self.shape, np.int32)
        counted = self.nuclei[self.counted]
        values = self.cells.cls.astype(np.int32) + 1 if by_class else np.arange(1, len(counted) + 1)
        return draw_cells(counted.y / MPP, counted.x / MPP, self.rings.border / MPP, values, self.shape)
