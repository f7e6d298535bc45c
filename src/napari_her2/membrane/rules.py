"""Rule sets: from the percent of cells in each class to a score, and the sentence that explains it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["BREAST", "GASTRIC_BIOPSY", "GASTRIC_RESECTION", "RULES", "RULES_OF", "RuleSet", "low_remark"]

#: Percent of intense complete cells from which "at most 10 %" is more than the odd wrong outline.
_SOME = 2.0


@dataclass(frozen=True)
class RuleSet:
    """How a score follows from cells.

    Attributes
    ----------
    name : str
        As the user chooses it.
    share : float
        Percent of tumour cells that must be passed; 10 wherever cells are counted.
    basolateral : bool
        Incomplete (basolateral or lateral) membranes count like complete ones, as in gastric cancer.
    cluster : int
        When above 0, a biopsy's rule: this many stained cells are enough, whatever their share.
    """

    name: str
    share: float = 10.0
    basolateral: bool = False
    cluster: int = 0

    def score(self, counts: tuple[int, int, int, int]) -> tuple[str, str]:
        """Score and sentence.

        Parameters
        ----------
        counts : tuple of 4 int
            Cells of class 0, 1+, 2+, 3+, by `classify` with `Thresholds.for_rules`.

        Returns
        -------
        score : str
            "0", "1+", "2+" or "3+".
        sentence : str
            Such as ``"3+: 64 % of 1,240 cells have complete intense membranes."``.
        """
        total = sum(counts)
        if not total:
            return "", "Not scorable: no tumour-like cell was found."
        at_least = [sum(counts[k:]) for k in range(4)]
        percent = [100 * n / total for n in at_least]
        words = _GASTRIC_WORDS if self.basolateral else _BREAST_WORDS
        for k in (3, 2, 1):
            if self._enough(at_least[k], percent[k]):
                return f"{k}+", f"{k}+: {_percent(percent[k])} of {total:,} cells have {words[k]}."
            if k == 2 and not self.basolateral and percent[3] > _SOME:
                share = f"{_percent(percent[3])} of {total:,} cells have {words[3]}"
                return "2+", f"2+: {share}, which is not more than {self.share:g} %."
        return "0", f"0: {_percent(percent[1])} of {total:,} cells have {words[1]}; more than {self.share:g} % make 1+."

    def margins(self, counts: tuple[int, int, int, int]) -> npt.NDArray[np.float64]:
        """How far a core is above what 1+, 2+ and 3+ ask for, on the scale of log odds; 0 where it has just that.

        Parameters
        ----------
        counts : tuple of 4 int
            See `score`; of at least one cell.

        Returns
        -------
        ndarray of float64, shape (3,)
        """
        at_least = np.array([sum(counts[k:]) for k in (1, 2, 3)], np.float64)
        if self.cluster:
            return np.asarray(np.log((at_least + 0.5) / (self.cluster - 0.5)))
        percent = 100 * at_least / sum(counts)
        # a percent point more on both sides: no share is infinitely far from the rule
        odds, asked = (percent + 1) / (101 - percent), (self.share + 1) / (101 - self.share)
        return np.asarray(np.log(odds / asked))

    def _enough(self, cells: int, percent: float) -> bool:
        return cells >= self.cluster if self.cluster else percent > self.share


_BREAST_WORDS = (
    "",
    "faint, incomplete membranes or more",
    "complete weak to moderate membranes or more",
    "complete intense membranes",
)
_GASTRIC_WORDS = (
    "",
    "faint membranes or more",
    "weak to moderate complete, basolateral or lateral membranes or more",
    "intense complete, basolateral or lateral membranes",
)

#: ASCO/CAP 2018, affirmed 2023: invasive breast cancer.
BREAST = RuleSet("ASCO/CAP breast 2018/2023")
#: Gastric and gastro-oesophageal junction (CAP/ASCP/ASCO 2016): basolateral staining counts.
GASTRIC_RESECTION = RuleSet("Gastric/GEJ resection", basolateral=True)
#: The same in a biopsy: a cluster of at least five stained cells, whatever their share.
GASTRIC_BIOPSY = RuleSet("Gastric/GEJ biopsy", basolateral=True, cluster=5)
RULES: Mapping[str, RuleSet] = {r.name: r for r in (BREAST, GASTRIC_RESECTION, GASTRIC_BIOPSY)}
#: The same by the short names of the command line.
RULES_OF: Mapping[str, RuleSet] = {
    "breast": BREAST,
    "gastric-resection": GASTRIC_RESECTION,
    "gastric-biopsy": GASTRIC_BIOPSY,
}


def low_remark(score: str, percent: tuple[float, float, float, float], ish: str = "") -> str:
    """What follows for "HER2-low" and "ultralow" in breast: a remark beside the score, never a score.

    Parameters
    ----------
    score : str
        "0", "1+", "2+", "3+" or "".
    percent : tuple of 4 float
        Percent of tumour cells of each class.
    ish : str
        Result of in-situ hybridisation: "positive", "negative", or "" where it is not known.

    Raises
    ------
    ValueError
        If `ish` is something else.
    """
    if ish not in ("", "positive", "negative"):
        raise ValueError(f'the ISH result is "positive", "negative" or empty, not "{ish}"')
    if score == "1+":
        return "HER2-low (1+)."
    if score == "2+":
        if not ish:
            return "Equivocal: in-situ hybridisation decides; with a negative result it is HER2-low."
        return "HER2-low (2+, ISH negative)." if ish == "negative" else "HER2-positive (2+, ISH positive)."
    if score == "0" and sum(percent[1:]) > 0:
        return "HER2-ultralow, if the faint staining of some cells is confirmed by eye."
    return ""


def _percent(value: float) -> str:
    return f"{value:.0f} %" if value >= 9.95 or value == 0 else f"{value:.1f} %"
