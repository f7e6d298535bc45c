"""Laying places of a known grid onto discs: first all of them by one plain map, then smoothly, then one to one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

__all__ = ["Affine", "assign", "bend", "fit_affine", "mutual", "settle", "spacing", "worth"]

Points = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: A place and a disc further apart than this, in pitches, are not the same core.
_SAME = 0.5
#: Residuals (in pitches) above this lose their say in a fit.
_USUAL = 0.12
#: How many matches the wish to change nothing is worth: in a fit of one map, and around each place.
_CALM, _CALM_NEAR = 1.0, 1.5
#: How far (in pitches) the shift of a core tells that of its neighbours, from the first look to the last.
_NEAR = (4.0, 3.0, 2.2, 1.6, 1.6)


@dataclass(frozen=True)
class Affine:
    """Linear map and shift: ``points @ linear.T + shift``, points (y, x)."""

    linear: Points
    shift: Points

    def __call__(self, points: Points) -> Points:
        return points @ self.linear.T + self.shift

    def then(self, after: Affine) -> Affine:
        """First this, then `after`."""
        return Affine(after.linear @ self.linear, after(self.shift))


def spacing(places: Points, otherwise: float) -> Points:
    """Distance of each place to the next, but not under half the usual; shape (n,). `otherwise` for a single one."""
    if len(places) < 2:
        return np.full(len(places), otherwise)
    near = cKDTree(places).query(places, 2)[0][:, 1]
    usual = float(np.median(near)) or otherwise
    return np.asarray(np.clip(near, 0.5 * usual, 1.5 * usual))


def mutual(places: Points, discs: Points, reach: Points) -> tuple[Ints, Ints]:
    """Pairs of a place and a disc that are nearest to each other and within `reach` of the place."""
    if len(places) == 0 or len(discs) == 0:
        return np.empty(0, int), np.empty(0, int)
    away, to = cKDTree(discs).query(places)
    back = cKDTree(places).query(discs)[1]
    own = np.flatnonzero((away < reach) & (back[to] == np.arange(len(places))))
    return own, to[own]


def fit_affine(start: Points, end: Points, weight: Points) -> Affine:
    """Weighted least squares, held a little to a plain shift; few or aligned points give no wild map."""
    if len(start) == 0:
        return Affine(np.eye(2), np.zeros(2))
    weight = weight / max(float(weight.max()), 1e-9)
    middle, target = np.average(start, axis=0, weights=weight), np.average(end, axis=0, weights=weight)
    a, b = start - middle, end - target
    calm = (_CALM * float(np.mean(np.sum(a * a, axis=1))) + 1e-9) * np.eye(2)
    square = (a * weight[:, None]).T @ a
    linear = np.asarray(np.linalg.solve(square + calm, (a * weight[:, None]).T @ b + calm).T, float)
    return Affine(linear, target - linear @ middle)


def settle(places: Points, discs: Points, strength: Points, pitch: Points, rounds: int = 6) -> Points:
    """Move all places by one affine map onto the discs near them, found by matching and fitting in turn."""
    for _ in range(rounds):
        own, to = mutual(places, discs, _SAME * pitch)
        here, there = places[own], discs[to]
        away = np.hypot(*(there - here).T) / pitch[own]
        # at first everything is off, and the usual residual is large
        usual = max(_USUAL, float(np.median(away)) if len(away) else 0.0)
        places = fit_affine(here, there, strength[to] / (1 + (away / usual) ** 2))(places)
    return places


def worth(places: Points, discs: Points, strength: Points, pitch: Points) -> float:
    """How well places lie on discs: 1 for each that lies exactly on a sure disc."""
    own, to = mutual(places, discs, _SAME * pitch)
    away = np.hypot(*(discs[to] - places[own]).T) / pitch[own]
    return float(np.sum(strength[to] * np.clip(1 - (away / _SAME) ** 2, 0, None)))


def bend(places: Points, discs: Points, strength: Points, pitch: Points) -> Points:
    """Move each place as the discs around it tell: warp, drift and blocks that floated apart."""
    for reach in _NEAR:
        own, to = mutual(places, discs, _SAME * pitch)
        if len(own) == 0:
            break
        shift = discs[to] - places[own]
        near = np.sum((places[:, None] - places[None, own]) ** 2, axis=2) / (reach * pitch[:, None]) ** 2
        weight = np.exp(-near) * strength[to]
        move = (weight @ shift) / (weight.sum(axis=1) + _CALM_NEAR)[:, None]
        # a second look leaves out what does not move with its neighbours
        odd = np.hypot(*(shift - move[own]).T) / pitch[own]
        weight = weight / (1 + (odd / _USUAL) ** 2)
        places = places + (weight @ shift) / (weight.sum(axis=1) + _CALM_NEAR)[:, None]
    return places


def assign(places: Points, discs: Points, strength: Points, pitch: Points) -> tuple[Ints, Ints]:
    """One disc to a place and one place to a disc, within half a pitch, as near as can be for all together.

    Parameters
    ----------
    places : ndarray of float, shape (n, 2)
    discs : ndarray of float, shape (m, 2)
    strength : ndarray of float, shape (m,)
        Of two discs as near, the stronger is taken.
    pitch : ndarray of float, shape (n,)

    Returns
    -------
    place, disc : ndarray of int
        Indices of the pairs.
    """
    if len(places) == 0 or len(discs) == 0:
        return np.empty(0, int), np.empty(0, int)
    away = np.hypot(*np.moveaxis(places[:, None] - discs[None], 2, 0)) / (_SAME * pitch[:, None])
    worth = np.where(away < 1, 1.2 - away**2 + 0.5 * strength[None], 0.0)
    place, disc = linear_sum_assignment(-worth)
    kept = worth[place, disc] > 0
    return place[kept], disc[kept]
