"""What stands at each crossing of the lattice: a core, what is left of one, or nothing; and the cores off the grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from napari_her2.cores import Core, CoreState
from napari_her2.dearray._fit import Spot, Spots, is_core
from napari_her2.dearray._lattice import Lattice

__all__ = ["Position", "lone_position", "missing_position", "positions", "tissue_position"]

#: Least ring response of a disc that stands off the grid.
_LEAST_OFF = 0.6


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
    for (row, column), left in zip(empty, remains, strict=True):
        y, x = (float(n) for n in places[row, column])
        if left is not None:
            found[row, column] = tissue_position(left, float(np.hypot(left.y - y, left.x - x)) / lattice.pitch)
        else:
            found[row, column] = missing_position(finder.measure(y, x, usual, 0.0))
    return found, [lone_position(s) for s in lone]


def _off_grid(spots: list[Spot], radius: float) -> list[Spot]:
    """Cores among the discs off the grid: clear ones with company of their kind or with grain, and what is near."""
    clear = [s for s in spots if s.response > _LEAST_OFF]
    near = [[t for t in clear if t is not s and t.distance(s.place) < 6 * radius] for s in spots]
    return [s for s, n in zip(spots, near, strict=True) if n or (s.response > _LEAST_OFF and s.grain > 0.6)]


def tissue_position(spot: Spot, away: float) -> Position:
    """A core with tissue: sure when it is full, clear and in its place (`away` from it in pitches)."""
    full = 1 / (1 + np.exp(1.5 - 12 * min(spot.fill, max(0.0, spot.response) + 0.1)))
    confidence = float(full) * (1 - min(0.5, max(0.0, away - 0.25)))
    reasons = []
    if spot.fill < 0.3:
        reasons.append(f"tissue on {spot.fill:.0%} of the core only")
    if away > 0.3:
        reasons.append("far from its place in the grid")
    if spot.response < 0.3 <= spot.fill:
        reasons.append("hardly stands out from what is around it")
    return Position(spot, confidence, "; ".join(reasons))


def missing_position(spot: Spot) -> Position:
    """A position without a core; the more tissue or dirt there is all the same, the less sure."""
    confidence = float(1 / (1 + np.exp(12 * spot.fill - 3.5)))
    if not is_core(spot):
        confidence = max(confidence, 0.6)
    reason = f"{spot.fill:.0%} of the place is covered, but not by a core" if spot.fill > 0.1 else ""
    return Position(spot, confidence, reason, CoreState.MISSING)


def lone_position(spot: Spot) -> Position:
    """A core off the grid."""
    return Position(spot, 0.7, "stands off the grid")
