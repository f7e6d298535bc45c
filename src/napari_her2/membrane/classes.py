"""Class 0, 1+, 2+ or 3+ of each cell, from how intense and how complete its membrane is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from napari_her2.errors import StainError
from napari_her2.membrane.polar import FloatArray
from napari_her2.membrane.rings import Rings
from napari_her2.membrane.rules import RuleSet

__all__ = ["CellClasses", "Thresholds", "classify"]


@dataclass(frozen=True)
class Thresholds:
    """Where staining begins to be faint, moderate, intense; and how much of an outline is how complete.

    The defaults were set on generated cells of known class together with the look of six real cores: DAB densities do
    not carry over between laboratories, so calibrate them on control cores (`calibrate`).

    Attributes
    ----------
    faint : float
        DAB OD above the cytoplasm from which a ray meets a stained membrane (0.5 µm/px, smoothed over 0.35 µm).
    moderate, intense : float
        Mean DAB OD of the stained part of a membrane from which it is moderate, or intense.
    partial : float
        Share of the outline from which a cell is stained at all, 0..1.
    complete : float
        Share of the outline from which a membrane is complete, 0..1. Less than what is complete to the eye:
        sections cut some membranes at a slant, and where a cell borders no neighbour its membrane may be missed.

    Raises
    ------
    StainError
        If they do not rise, or a share is not between 0 and 1.
    """

    faint: float = 0.025
    moderate: float = 0.08
    intense: float = 0.27
    partial: float = 0.15
    complete: float = 0.5

    def __post_init__(self) -> None:
        if not (0 < self.faint < self.moderate < self.intense < 5 and math.isfinite(self.intense)):
            raise StainError(
                f"The thresholds of staining must rise from faint over moderate to intense, above 0 and below 5 OD: "
                f"they are {self.faint:g}, {self.moderate:g}, {self.intense:g}."
            )
        if not 0 < self.partial <= self.complete <= 1:
            raise StainError(
                f"The shares of the outline must lie between 0 and 1 and rise from partial to complete: they are "
                f"{self.partial:g} and {self.complete:g}."
            )

    def scaled(self, factor: float) -> Thresholds:
        """The same with the three densities times `factor`: for a batch that stains stronger or paler."""
        densities = (self.faint * factor, self.moderate * factor, self.intense * factor)
        return Thresholds(*densities, self.partial, self.complete)

    def for_rules(self, rules: RuleSet) -> Thresholds:
        """As they hold where basolateral staining counts: a third of the outline is as good as all of it."""
        return replace(self, complete=max(self.partial, 0.33)) if rules.basolateral else self


@dataclass(frozen=True)
class CellClasses:
    """What was made of each cell; every array has shape (n,).

    Attributes
    ----------
    cls : ndarray of uint8
        0 to 3, for 0, 1+, 2+, 3+.
    intensity : ndarray of float32
        Mean DAB OD of the stained part of the membrane above the cytoplasm; of the whole outline where none is stained.
    completeness : ndarray of float32
        Share of the outline that is stained (faint or more), 0..1.
    """

    cls: npt.NDArray[np.uint8]
    intensity: FloatArray
    completeness: FloatArray

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """How many cells are of class 0, 1+, 2+, 3+."""
        n = np.bincount(self.cls, minlength=4)
        return int(n[0]), int(n[1]), int(n[2]), int(n[3])


#: How much of the brown of the cytoplasm counts against the membrane: what lies above and below it in the section.
_CYTOPLASM = 0.5
#: The outline of a stained cell is on average browner than its cytoplasm by this factor; below it the whole cell is
#: brown, and no membrane is to be seen.
_RIDGE = 1.12
#: Weight of a side that has no neighbour: where its membrane runs is not known.
_FREE = 0.5


def classify(rings: Rings, thresholds: Thresholds) -> CellClasses:
    """Class of each cell, after the wording of ASCO/CAP for breast.

    3+: intense and complete. 2+: moderate and complete, or intense over half of the outline. 1+: stained over a part.
    0: less.

    Parameters
    ----------
    rings : Rings
        Of n cells.
    thresholds : Thresholds

    Returns
    -------
    CellClasses
    """
    above = rings.peak - np.float32(_CYTOPLASM) * rings.cytoplasm
    weight = rings.border * np.where(rings.free, np.float32(_FREE), np.float32(1))
    weight /= weight.sum(axis=0)
    ridge = (weight * rings.peak).sum(axis=0) >= _RIDGE * rings.cytoplasm
    on = (above >= thresholds.faint) & ridge
    completeness = (weight * on).sum(axis=0)
    partial = completeness >= thresholds.partial
    counted = np.where(partial, on, True)
    intensity = (weight * counted * above).sum(axis=0) / np.maximum((weight * counted).sum(axis=0), 1e-6)
    complete = completeness >= thresholds.complete
    intense = partial & (intensity >= thresholds.intense)
    second = (complete & (intensity >= thresholds.moderate)) | (intense & (completeness >= 0.5))
    cls = np.where(complete & intense, 3, np.where(second, 2, np.where(partial, 1, 0))).astype(np.uint8)
    return CellClasses(cls, intensity.astype(np.float32), completeness.astype(np.float32))
