"""One fixed colour per score, the same in the viewer, in the report and in QuPath.

Chosen by search for the largest of the smallest colour differences (CIEDE2000) under normal, protanope and
deuteranope sight (Machado et al. 2009, doi 10.1109/TVCG.2009.113, severity 1), and checked for tritanopes: any two
scores differ by at least 15, and a score differs by at least 14 from glass, pale and blue tissue and DAB brown.
No colour stands alone: names and scores are written beside them everywhere.
"""

from __future__ import annotations

from napari_her2.cores import CoreState

__all__ = ["SCORE_COLOURS", "core_colour"]

#: Hex colour of each score; "" is a core that has none yet, and the two last are cores that get none.
SCORE_COLOURS: dict[str, str] = {
    "0": "#1a58ec",
    "1+": "#0cb798",
    "2+": "#df931c",
    "3+": "#c21784",
    "": "#404040",
    "missing": "#9a9a9a",
    "excluded": "#9a9a9a",
}


def core_colour(state: CoreState | str, score: str = "") -> str:
    """Hex colour of a core: that of its state when it holds no tissue to score, else that of its score.

    Examples
    --------
    >>> core_colour("tissue", "3+"), core_colour("missing")
    ('#c21784', '#9a9a9a')
    """
    return SCORE_COLOURS[score if state == CoreState.TISSUE else str(state)]
