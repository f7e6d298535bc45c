"""How strongly each tumour cell stains, so that the ASCO/CAP score of the tissue follows by definition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_her2.training.fields import FloatImage

__all__ = ["CellStain", "Laboratory", "cell_levels", "draw_percent", "draw_stain", "score_of_percent"]

FloatArray = npt.NDArray[np.float64]

#: Level of staining (class of the cell, with a fraction) -> peak DAB OD of its membrane line on the reference scanner.
#: Between classes lies a step of about 1.5: a reader tells faint from moderate from intense, and a laboratory's
#: gain is not known better than to some 20 %, so finer classes would be no truth that anyone could learn.
_LEVELS = (0.0, 0.9, 1.05, 1.9, 2.1, 2.9, 3.1, 4.0)
_LINE_OD = (0.0, 0.02, 0.065, 0.16, 0.25, 0.45, 0.68, 1.35)
#: ... -> share of the cell's outline that carries the line.
_COMPLETE = (0.0, 0.06, 0.25, 0.52, 0.80, 0.94, 0.97, 1.0)
#: Blue and brown of laboratories that are kept for blind sets; see `Laboratory.random`.
_BLIND_BLUE, _BLIND_BROWN = (0.21, 0.25), (1.08, 1.32)


def score_of_percent(percent: Sequence[float]) -> int:
    """Score of a core from the percent of its tumour cells in each class.

    ASCO/CAP 2018 for breast: complete intense staining in more than 10 % is 3+; weak to moderate complete staining in
    more than 10 %, or complete intense in at most 10 %, is 2+; faint incomplete in more than 10 % is 1+.
    Intense complete cells count towards the 2+ rule and both towards the 1+ rule, since "more" never lowers a score.

    Parameters
    ----------
    percent : sequence of 4 float
        Percent of tumour cells that are 0, 1+, 2+ and 3+; sums to 100.

    Returns
    -------
    int
        0 to 3.

    Examples
    --------
    >>> score_of_percent((50, 30, 5, 15)), score_of_percent((80, 10, 2, 8)), score_of_percent((90, 10, 0, 0))
    (3, 2, 0)
    """
    _, faint, moderate, intense = percent
    if intense > 10:
        return 3
    if moderate + intense > 10 or intense > 1:
        return 2
    return 1 if faint + moderate + intense > 10 else 0


def draw_percent(rng: np.random.Generator, score: int) -> tuple[float, float, float, float]:
    """Draw what percent of the tumour cells is 0, 1+, 2+ and 3+ in tissue of that score.

    Raises
    ------
    ValueError
        If `score` is not 0 to 3.
    """
    if score not in (0, 1, 2, 3):
        raise ValueError(f"a HER2 score is 0, 1, 2 or 3, not {score}")
    # a percent off the 10 % border, because cells are counted one by one; else as spread as in real series: most 3+ is
    # 3+ nearly all over, most 0 has next to nothing, and about one core in sixty is within 2 percent points of a rule
    if score == 0:
        intense, moderate, faint = 0.0, 0.0, 9 * rng.beta(0.6, 1.2)
    elif score == 1:
        intense, moderate = 0.0, 8.5 * rng.beta(0.6, 2.5)
        faint = min(11 + 87 * rng.beta(1.1, 1.2), 100 - moderate)
    elif score == 2 and rng.random() < 0.04:  # intense and complete, but in no more than a tenth
        intense, moderate = rng.uniform(3, 9), rng.uniform(0, 8)
        faint = (90 - intense - moderate) * rng.random()
    elif score == 2:
        intense = 8.5 * rng.beta(1, 2) if rng.random() < 0.35 else 0.0
        moderate = 11.5 + (88 - intense) * rng.beta(1.5, 1.0)
        moderate = min(moderate, 100 - intense)
        faint = (100 - intense - moderate) * rng.beta(2, 1)
    else:
        intense = 11.5 + 88.5 * rng.beta(1.8, 0.7)
        moderate = (100 - intense) * rng.beta(2, 1)
        faint = (100 - intense - moderate) * rng.random()
    return 100 - intense - moderate - faint, faint, moderate, intense


def cell_levels(rng: np.random.Generator, percent: Sequence[float], regional: FloatArray, mixing: float) -> FloatArray:
    """Give every cell its level of staining, with exactly those shares (to one cell).

    Parameters
    ----------
    rng : numpy.random.Generator
    percent : sequence of 4 float
        Percent of cells of each class.
    regional : ndarray, shape (n,)
        A smooth field of standard deviation 1 at the cells: neighbours stain alike.
    mixing : float
        Standard deviation of what cells do on their own.

    Returns
    -------
    ndarray of float, shape (n,)
        From 0 to below 4; the whole part is the class, the fraction its place inside the class.
    """
    n = len(regional)
    order = np.argsort(regional + mixing * rng.standard_normal(n), kind="stable")
    ends = np.round(np.cumsum(percent) / 100 * n).astype(int)
    levels = np.empty(n)
    start = 0
    lean = float(np.clip(rng.normal(0, 0.1), -0.15, 0.15))  # a tumour's classes may all be weak or strong of their kind
    for score, end in enumerate(ends):
        # cells stain a little more where the whole region does, so classes grade into one another
        levels[order[start:end]] = score + np.clip(
            lean + np.linspace(0.15, 0.85, max(end - start, 0)) + rng.normal(0, 0.1, max(end - start, 0)), 0.05, 0.95
        )
        start = max(start, end)
    return levels


@dataclass(frozen=True)
class CellStain:
    """What the stainer did to a piece of tissue.

    Attributes
    ----------
    line, complete, cytoplasm : ndarray of float32, shape (n,)
        Of each tumour cell: peak DAB OD of the membrane line, share of the outline that carries it, DAB OD of the
        cytoplasm.
    basal, apical : float
        Strength of the line at the stroma and at the lumen, relative to that between cells.
    width : float
        Standard deviation of the line in µm.
    blue, nuclear_brown, background : float
        Haematoxylin OD of a typical nucleus; DAB OD of nuclei and of stroma where there should be none.
    clumpy : float
        0..1: how granular the brown of the cytoplasm is.
    """

    line: FloatImage
    complete: FloatImage
    cytoplasm: FloatImage
    basal: float
    apical: float
    width: float
    blue: float
    nuclear_brown: float
    background: float
    clumpy: float


@dataclass(frozen=True)
class Laboratory:
    """One laboratory's way of staining: all cores of a slide share it.

    Attributes
    ----------
    blue : float
        Haematoxylin OD of a typical nucleus.
    brown : float
        Gain on all DAB; 1 is like the real cores that the generator was compared with.
    dirt : float
        How often brown lies where it should not, and how often the slide is spoilt; 1 is often, to learn from.
    """

    blue: float = 0.2
    brown: float = 1.0
    dirt: float = 1.0

    @classmethod
    def random(cls, rng: np.random.Generator, *, blind: bool = False) -> Laboratory:
        """Any laboratory; with `blind` one of those that no training tile comes from.

        Absolute brown differs between laboratories by more than a class; its ratio to haematoxylin differs less, so the
        gains of both stains are drawn together.
        """
        while True:
            both, blue, brown = rng.normal(0, 1, 3)
            lab = cls(0.20 * float(np.exp(0.34 * both + 0.16 * blue)), float(np.exp(0.26 * both + 0.12 * brown)))
            kept = _BLIND_BLUE[0] < lab.blue < _BLIND_BLUE[1] or _BLIND_BROWN[0] < lab.brown < _BLIND_BROWN[1]
            if kept == blind:
                return lab


def draw_stain(rng: np.random.Generator, levels: FloatArray, columnar: bool, lab: Laboratory) -> CellStain:
    """Draw the staining of cells of those levels, as `lab` would have done it."""
    gain = lab.brown * float(np.exp(rng.normal(0, 0.05)))
    cell = np.exp(rng.normal(0, 0.15, len(levels)))
    line = gain * cell * np.interp(levels, _LEVELS, _LINE_OD)
    cytoplasm = line * rng.uniform(0.03, 0.25) * np.exp(rng.normal(0, 0.3, len(levels)))
    clumpy = 0.0
    if (
        rng.random() < 0.3 * lab.dirt
    ):  # brown of the cytoplasm that is no membrane; weak membranes would drown in strong brown
        # what hides membranes from every eye has no truth: the cytoplasm stays paler than the weakest of them
        mean = float(levels.mean()) if len(levels) else 0.0
        strong = rng.random() < 0.4 and (levels.max(initial=0) < 1 or mean > 3)
        diffuse = rng.uniform(0.12, 0.5) if strong else rng.uniform(0.02, 0.12 if mean > 2 else 0.06)
        cytoplasm = cytoplasm + gain * diffuse * np.exp(rng.normal(0, 0.35, len(levels)))
        clumpy = float(rng.random())
    basolateral = columnar and rng.random() < 0.75
    return CellStain(
        line=line.astype(np.float32),
        complete=np.interp(levels, _LEVELS, _COMPLETE).astype(np.float32),
        cytoplasm=cytoplasm.astype(np.float32),
        basal=float(rng.uniform(0.4, 1.0)),
        apical=float(rng.uniform(0.0, 0.25) if basolateral else rng.uniform(0.3, 0.9)),
        width=float(rng.uniform(0.30, 0.52)),
        blue=lab.blue * float(np.exp(rng.normal(0, 0.06))),
        nuclear_brown=float(gain * rng.uniform(0.05, 0.3)) if rng.random() < 0.08 * lab.dirt else 0.0,
        background=float(gain * rng.uniform(0.02, 0.15))
        if rng.random() < 0.14 * lab.dirt
        else float(rng.uniform(0, 0.01)),
        clumpy=clumpy,
    )
