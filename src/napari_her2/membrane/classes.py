"""Class 0, 1+, 2+ or 3+ of each cell, from how intense and how complete its membrane is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from napari_her2.errors import StainError
from napari_her2.membrane.features import described, outline_od, shipped_network
from napari_her2.membrane.polar import FloatArray
from napari_her2.membrane.rings import Rings
from napari_her2.membrane.rules import RuleSet

__all__ = ["CellClasses", "Thresholds", "classify"]


@dataclass(frozen=True)
class Thresholds:
    """Where staining begins to be faint, moderate, intense, for one laboratory and scanner.

    Where a threshold is twice as high, a cell has to be twice as brown for that class. DAB densities do not carry over
    between laboratories, so calibrate them on control cores (`calibrate`).

    Attributes
    ----------
    faint, moderate, intense : float
        Typical DAB OD of a membrane above its cytoplasm from which a cell is 1+, 2+, 3+ (0.5 µm/px, smoothed over
        0.35 µm). From `faint` on a stretch of outline counts as stained.
    outline : float
        Share of the outline that may speak for all of it, the brownest, 0..1.

    Raises
    ------
    StainError
        If they do not rise, or the share is not between 0 and 1.
    """

    faint: float = 0.035
    moderate: float = 0.08
    intense: float = 0.27
    outline: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.faint < self.moderate < self.intense < 5 and math.isfinite(self.intense)):
            raise StainError(
                f"The thresholds of staining must rise from faint over moderate to intense, above 0 and below 5 OD: "
                f"they are {self.faint:g}, {self.moderate:g}, {self.intense:g}."
            )
        if not 0 < self.outline <= 1:
            raise StainError(f"The share of the outline must lie between 0 and 1: it is {self.outline:g}.")

    @classmethod
    def from_dict(cls, content: Mapping[str, float]) -> Thresholds:
        """From what `dataclasses.asdict` gave.

        Raises
        ------
        StainError
            If it is of another version, or they cannot be.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(content.keys() - known):
            raise StainError(
                f"These thresholds ({', '.join(unknown)}) are of another version of napari-her2, which told the "
                "classes of cells otherwise: measure and calibrate again."
            )
        return cls(**{name: float(value) for name, value in content.items()})

    def scaled(self, factor: float) -> Thresholds:
        """The same with the three densities times `factor`: for a batch that stains stronger or paler."""
        return Thresholds(self.faint * factor, self.moderate * factor, self.intense * factor, self.outline)

    def for_rules(self, rules: RuleSet) -> Thresholds:
        """As they hold where basolateral staining counts: the palest third of the outline, the apical, may be bare."""
        return replace(self, outline=min(self.outline, 2 / 3)) if rules.basolateral else self


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


#: Thresholds that the network was fitted with. The default of `faint` is higher, so that two real cores labelled 0 are.
_FITTED = (0.025, 0.08, 0.27)
#: How much of the brown of the cytoplasm counts against the membrane: what lies above and below it in the section.
_CYTOPLASM = 0.5
#: The outline of a stained cell is on average browner than its cytoplasm by this factor; below it the whole cell is
#: brown, and no membrane is to be seen.
_RIDGE = 1.12
#: Weight of a side that has no neighbour: where its membrane runs is not known.
_FREE = 0.5


def classify(rings: Rings, thresholds: Thresholds) -> CellClasses:
    """Class of each cell: how brown its outline is and how much of it, beside the other cells of the core.

    A small network, fitted to generated cells whose class is known by the wording of ASCO/CAP for breast (3+: intense
    and complete; 2+: weak to moderate, over most of it; 1+: faint, over a part; 0: none), says whether a cell is at
    least 1+, 2+ and 3+, see `features`.

    Parameters
    ----------
    rings : Rings
        Of all n counted cells of one core.
    thresholds : Thresholds

    Returns
    -------
    CellClasses
    """
    if not rings.peak.size:
        none = np.empty(0, np.float32)
        return CellClasses(none.astype(np.uint8), none, none)
    cls, completeness = _seen(rings, thresholds)
    if thresholds.outline < 1:  # what may be bare makes no cell paler
        whole = _seen(rings, replace(thresholds, outline=1.0))
        cls, completeness = np.maximum(cls, whole[0]), np.maximum(completeness, whole[1])
    return CellClasses(cls, _intensity(rings, thresholds), completeness)


def _seen(rings: Rings, thresholds: Thresholds) -> tuple[npt.NDArray[np.uint8], FloatArray]:
    """Class and completeness of each cell."""
    network, asked = shipped_network(), (thresholds.faint, thresholds.moderate, thresholds.intense)
    od = outline_od(rings, thresholds.outline)
    logits = cache(lambda factor: network(described(od, factor)))
    factors = [threshold / fitted for threshold, fitted in zip(asked, _FITTED, strict=True)]
    at_least = [logits(factor)[:, k] > 0 for k, factor in enumerate(factors)]
    cls = np.minimum.accumulate(at_least).sum(axis=0).astype(np.uint8)
    return cls, expit(logits(factors[0])[:, 3]).astype(np.float32)


def _intensity(rings: Rings, thresholds: Thresholds) -> FloatArray:
    """Mean DAB OD above the cytoplasm where the outline is stained; of all of it where it is nowhere."""
    above = rings.peak - np.float32(_CYTOPLASM) * rings.cytoplasm
    weight = rings.border * np.where(rings.free, np.float32(_FREE), np.float32(1))
    ridge = (weight * rings.peak).sum(axis=0) >= _RIDGE * rings.cytoplasm * weight.sum(axis=0)
    on = (above >= thresholds.faint) & ridge
    counted = weight * np.where(on.any(axis=0), on, True)
    return np.asarray((counted * above).sum(axis=0) / np.maximum(counted.sum(axis=0), 1e-6), np.float32)
