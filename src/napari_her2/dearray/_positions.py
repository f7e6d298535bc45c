"""What stands at each crossing of the lattice: a core, what is left of one, or nothing; and the cores off the grid."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from napari_her2.cores import Core, CoreState
from napari_her2.dearray._fit import Spot, Spots, is_core
from napari_her2.dearray._lattice import Lattice

__all__ = ["DOUBTFUL", "Position", "lone_position", "missing_position", "positions", "tissue_position"]

#: Least ring response of a disc that stands off the grid.
_LEAST_OFF = 0.6

#: Below this confidence a position is doubtful, and says why.
DOUBTFUL = 0.9
# Chances that a position is right, as logistic functions. Fitted to all positions found on the 8 real overviews
# (1,093 with tissue, 7 of them wrong; 174 missing, 5 wrong) and on 30 real layouts drawn under 5 conditions (26,020
# with tissue, 44 wrong; 8,613 missing, 3 wrong); the real ones counted 4 times (tissue) and 300 times (missing), as no
# drawing knows how dirty slides are. `benchmarks/dearray.py` prints how often they hold.
#: That there is a core: 1, its fill, its ring response (both up to 0.6); and that it is this one: 1, pitches away.
_TISSUE, _PLACE = (-2.7, 1.6, 18.7), (9.6, -15.6)
#: That there is none: 1, what is covered all the same; what is smooth is no tissue and counts less.
_MISSING, _SMOOTH, _LEAST_MISSING = (4.4, -22.5), 0.3, 0.3
#: A core off the grid is one and belongs off it, if it is one (108, 4 of them wrong).
_LONE = 0.96
#: A line without any core between full ones may be a gap between sectors.
_BARE = 0.7


@dataclass(frozen=True)
class Position:
    """A position of the grid: its disc, how sure its state is, and what is doubtful."""

    spot: Spot
    confidence: float
    reason: str = ""
    state: CoreState = CoreState.TISSUE

    def core(self, name: str, row: int, column: int, downsample: float) -> Core:
        s = self.spot
        y, x = (s.y + 0.5) * downsample, (s.x + 0.5) * downsample
        return Core(
            name,
            row,
            column,
            y,
            x,
            2 * s.radius * downsample,
            self.state,
            found_confidence=round(self.confidence, 3),
            reason=self.reason,
            tissue_fraction=round(s.fill, 3),
        )


def positions(
    finder: Spots, spots: list[Spot], weak: list[Spot], lattice: Lattice | None
) -> tuple[dict[tuple[int, int], Position], list[Position]]:
    """What stands at each (row, column), and the cores off the grid.

    Parameters
    ----------
    finder : Spots
    spots : list of Spot
        Clear discs, in the order of the lattice's points.
    weak : list of Spot
        Discs that are cores only where the lattice expects one.
    lattice : Lattice or None
        None for a single core.
    """
    if lattice is None:
        return {(0, 0): tissue_position(max(spots, key=lambda s: s.response), 0.0)}, []
    known = {
        (int(lattice.row[i]), int(lattice.column[i])): (spots[i], float(lattice.residual[i]))
        for i in np.flatnonzero(lattice.row >= 0)
    }
    places = lattice.places(np.array([s.place for s in spots]))
    near = cKDTree(places.reshape(-1, 2))
    stray = []
    for spot in weak:
        away, index = near.query(spot.place)
        cell = (int(index) // places.shape[1], int(index) % places.shape[1])
        if away < 0.5 * lattice.pitch and cell not in known:
            known[cell] = spot, float(away) / lattice.pitch
        else:
            stray.append(spot)
    lone = _off_grid([spots[i] for i in np.flatnonzero(lattice.row < 0)] + stray, finder.radius)
    empty = [cell for cell in np.ndindex(*places.shape[:2]) if cell not in known]
    remains = finder.remains(
        np.array([places[cell] for cell in empty]).reshape(-1, 2),
        lattice.pitch,
        [s for s, _ in known.values()] + lone,
    )
    usual = float(np.median([s.radius for s, _ in known.values()]))
    found = {cell: tissue_position(spot, away) for cell, (spot, away) in known.items()}
    for cell, left in zip(empty, remains, strict=True):
        if left is not None:
            found[cell] = tissue_position(left, left.distance(places[cell]) / lattice.pitch)
    full = np.zeros(places.shape[:2], bool)
    full[tuple(np.transpose(list(found)))] = True
    bare = _bare_lines(full)
    for cell in empty:
        if cell not in found:
            y, x = (float(n) for n in places[cell])
            found[cell] = missing_position(finder.measure(y, x, usual, 0.0), bare.get(cell, ""))
    return found, [lone_position(s) for s in lone]


def _bare_lines(full: npt.NDArray[np.bool_]) -> dict[tuple[int, int], str]:
    """Positions in a row or column that is wholly empty between two that are mostly full, and which of both it is."""
    bare: dict[tuple[int, int], str] = {}
    for axis, name in enumerate(("row", "column")):
        share = full.mean(axis=1 - axis)
        for n in np.flatnonzero(share == 0):
            sides = share[:n][share[:n] > 0][-1:], share[n:][share[n:] > 0][:1]
            if all((side > 0.5).all() for side in sides):
                line = [(int(n), k) if axis == 0 else (k, int(n)) for k in range(full.shape[1 - axis])]
                bare |= dict.fromkeys(line, name)
    return bare


def _off_grid(spots: list[Spot], radius: float) -> list[Spot]:
    """Cores among the discs off the grid: clear ones with company of their kind or with grain, and what is near."""
    clear = [s for s in spots if s.response > _LEAST_OFF]
    near = [[t for t in clear if t is not s and t.distance(s.place) < 6 * radius] for s in spots]
    return [s for s, n in zip(spots, near, strict=True) if n or (s.response > _LEAST_OFF and s.grain > 0.6)]


def tissue_position(spot: Spot, away: float) -> Position:
    """A core with tissue: sure when it stands out and is in its place (`away` from it in pitches)."""
    there = _chance(_TISSUE[0] + _TISSUE[1] * min(spot.fill, 0.6) + _TISSUE[2] * min(max(0.0, spot.response), 0.6))
    placed = _chance(_PLACE[0] + _PLACE[1] * away)
    sure, reasons = there * placed, []
    if sure < DOUBTFUL:
        if there < placed and spot.fill < 0.3:
            reasons.append(f"tissue on {spot.fill:.0%} of the core only")
        elif there < placed:
            reasons.append("hardly stands out from what is around it")
        if placed < 0.95:
            reasons.append("far from its place in the grid")
    return Position(spot, sure, "; ".join(reasons))


def missing_position(spot: Spot, bare_line: str = "") -> Position:
    """A position without a core; the more tissue or dirt there is all the same, the less sure.

    `bare_line`: "row" or "column" when no core of that line is left although its neighbours are full.
    """
    dirt = spot.fill if is_core(spot) else _SMOOTH * spot.fill
    sure, reason = max(_LEAST_MISSING, _chance(_MISSING[0] + _MISSING[1] * dirt)), ""
    if sure < DOUBTFUL:
        reason = f"{spot.fill:.0%} of the place is covered, but not by a core"
    if bare_line:
        sure = min(sure, _BARE)
        reason = reason or f"the whole {bare_line} is empty: lost, or a gap between sectors"
    return Position(spot, sure, reason, CoreState.MISSING)


def lone_position(spot: Spot) -> Position:
    """A core off the grid."""
    found = tissue_position(spot, 0.0)
    return replace(found, confidence=_LONE * found.confidence, reason=found.reason or "stands off the grid")


def _chance(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))
