"""Rows and columns: from the places of discs to a labelled lattice.

Neighbours are linked along two directions; a smooth map of the slide (a polynomial whose differences along the links
are one column or one row) takes out rotation, shear, warp and drifting pitch; links give blocks of whole-number
labels; blocks are put together where their rows and columns line up, with gaps of any width between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from napari_her2.dearray._blocks import UNTOLD, Told, label_blocks

__all__ = ["Lattice", "Straight", "fit_lattice"]

Points = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: How much more each higher power of the map is held back.
_STIFF = 3.0
#: A link may miss its step by this share of the pitch.
_TOLERANCE = 0.33
#: How near to a told pitch (as a ratio, in its logarithm) and rotation (degrees) steps between neighbours count fully.
_LIKE_PITCH, _LIKE_TURN = 0.2, 6.0


@dataclass(frozen=True)
class Straight:
    """Smooth map from the picture to (column, row) units: one pitch is 1, gaps between blocks keep their width."""

    centre: Points
    scale: float
    powers: Ints
    weights: Points

    def __call__(self, points: Points) -> Points:
        """(y, x) of shape (n, 2) to (column, row) of shape (n, 2)."""
        return _terms((np.atleast_2d(points) - self.centre) / self.scale, self.powers) @ self.weights

    def invert(self, target: Points, start: Points) -> Points:
        """Places (y, x) whose (column, row) is `target`, looked for around `start`; both of shape (n, 2)."""
        place = start.copy()
        step = 1e-3 * self.scale
        for _ in range(3):
            here = self(place)
            dy = (self(place + np.array([step, 0.0])) - here) / step
            dx = (self(place + np.array([0.0, step])) - here) / step
            det = dy[:, 0] * dx[:, 1] - dy[:, 1] * dx[:, 0]
            det = np.where(np.abs(det) < 1e-12, 1e-12, det)
            miss = target - here
            place = place + np.stack(
                [
                    (miss[:, 0] * dx[:, 1] - miss[:, 1] * dx[:, 0]) / det,
                    (miss[:, 1] * dy[:, 0] - miss[:, 0] * dy[:, 1]) / det,
                ],
                axis=1,
            )
        return place


@dataclass(frozen=True)
class Lattice:
    """Points with their row and column.

    Attributes
    ----------
    row, column : ndarray of int, shape (n,)
        -1 where the point stands off the grid.
    rows, columns : ndarray of float
        Place of every row and column in the units of `straight`.
    residual : ndarray of float, shape (n,)
        Distance of each point from the crossing of its row and column, in pitches; inf off the grid.
    pitch : float
        Smaller of the two steps, in pixels.
    across, down : ndarray of float, shape (2,)
        Step (y, x) in pixels from a column to the next and from a row to the next, in the middle of the grid.
    links : int
        Pairs of neighbours that stand a step apart.
    """

    row: Ints
    column: Ints
    rows: Points
    columns: Points
    residual: Points
    straight: Straight
    pitch: float
    across: Points
    down: Points
    links: int

    def places(self, points: Points) -> Points:
        """Where every crossing lies in the picture, as its neighbours tell it; shape (rows, columns, 2)."""
        on = np.flatnonzero(self.row >= 0)
        flat = self.straight(points[on])
        cells = np.stack(np.meshgrid(self.columns, self.rows), axis=-1).reshape(-1, 2)
        nominal = np.stack([self.columns[self.column[on]], self.rows[self.row[on]]], axis=1)
        k = min(6, len(on))
        near, index = cKDTree(nominal).query(cells, k)
        near, index = near.reshape(len(cells), k), index.reshape(len(cells), k)
        weight = 1 / (0.3 + near**2)
        shift = (weight[..., None] * (flat - nominal)[index]).sum(1) / weight.sum(1)[:, None]
        # neighbours far away know little of the place, and a polynomial nothing: fall back on the crossing
        shift *= np.exp(-((near[:, :1] / 4) ** 2))
        start = points[on][index[:, 0]]
        return self.straight.invert(cells + shift, start).reshape(len(self.rows), len(self.columns), 2)


def _terms(p: Points, powers: Ints) -> Points:
    return np.stack([p[:, 0] ** i * p[:, 1] ** j for i, j in powers], axis=1)


def fit_lattice(points: Points, strength: Points, radius: float, told: Told = UNTOLD) -> Lattice | None:
    """Find the rows and columns of discs.

    Parameters
    ----------
    points : ndarray of float, shape (n, 2)
        (y, x) of the discs.
    strength : ndarray of float, shape (n,)
        How sure each is a core, 0..1.
    radius : float
        Common radius of the discs.
    told : Told
        What is known of the grid; followed as far as the points allow.

    Returns
    -------
    Lattice or None
        None when no two neighbours tell a direction.
    """
    basis = _basis(points, strength, radius, told)
    if basis is None:
        return None
    u, v = basis
    pitch = float(min(np.hypot(*u), np.hypot(*v)))
    centre = points.mean(axis=0)
    scale = float(max(np.ptp(points, axis=0).max() / 2, pitch))
    # (column, row) of a step d solves d = column * u + row * v
    linear = np.linalg.inv(np.stack([u, v], axis=1)).T * scale
    straight = Straight(centre, scale, np.array([[1, 0], [0, 1]]), linear)
    links = _links(straight(points))
    for degree in (1, 2, 3, 3):
        count = (degree + 1) * (degree + 2) // 2 - 1
        if sum(len(a) for a in links) < 12 * count:
            break
        straight = _straighten(points, strength, links, centre, scale, degree, linear)
        links = _links(straight(points))
    row, column, rows, columns = label_blocks(straight(points), links, strength, told)
    flat = straight(points)
    on = row >= 0
    residual = np.full(len(points), np.inf)
    residual[on] = np.hypot(flat[on, 0] - columns[column[on]], flat[on, 1] - rows[row[on]])
    across, down = _steps(straight, points[on].mean(axis=0) if on.any() else centre)
    return Lattice(row, column, rows, columns, residual, straight, pitch, across, down, sum(len(a) for a in links))


def _steps(straight: Straight, place: Points) -> tuple[Points, Points]:
    """Step to the next column and to the next row around a place."""
    h = 1e-3 * straight.scale
    here = straight(place)
    slope = np.stack([straight(place + np.array(d)) - here for d in ([h, 0.0], [0.0, h])])[:, 0] / h
    across, down = np.linalg.inv(slope)
    return across, down


def _basis(points: Points, strength: Points, radius: float, told: Told) -> tuple[Points, Points] | None:
    """Commonest step to a neighbour along the rows (within 45 degrees of level) and one along the columns."""
    if len(points) < 2:
        return None
    k = min(len(points), 7)
    distance, index = cKDTree(points).query(points, k)
    first = np.repeat(np.arange(len(points)), k - 1)
    second, length = index[:, 1:].ravel(), distance[:, 1:].ravel()
    near = (length > 1.4 * radius) & (length < 8 * radius)
    step = (points[second] - points[first])[near]
    weight = (strength[first] * strength[second])[near] * (radius / length[near]) ** 2
    if len(step) == 0:
        return None
    step, weight = np.concatenate([step, -step]), np.concatenate([weight, weight])
    i, j = cKDTree(step).query_pairs(radius, output_type="ndarray").T
    like = np.exp(-np.sum((step[i] - step[j]) ** 2, axis=1) / (0.18 * radius**2))
    n = len(step)
    votes = weight + np.bincount(i, weight[j] * like, n) + np.bincount(j, weight[i] * like, n)
    angle = np.degrees(np.arctan2(step[:, 0], step[:, 1]))
    if told.pitch is not None:
        votes *= np.exp(-0.5 * (np.log(np.hypot(*step.T) / told.pitch) / _LIKE_PITCH) ** 2)
    if told.degrees is not None:
        away = (angle - told.degrees + 45) % 90 - 45  # along rows or columns
        votes *= np.exp(-0.5 * (away / _LIKE_TURN) ** 2)

    def best(chosen: npt.NDArray[np.bool_]) -> Points | None:
        if not chosen.any():
            return None
        top = step[np.flatnonzero(chosen)[np.argmax(votes[chosen])]]
        close = np.hypot(*(step - top).T) < 0.5 * radius
        return np.asarray(np.average(step[close], axis=0, weights=weight[close]))

    level, wide = (0.0, 45) if told.degrees is None else (told.degrees, 30)
    u = best(np.abs(angle - level) <= wide)
    v = best(np.abs(angle - level - 90) <= wide)
    if u is None and v is None:
        return None
    if u is not None and v is not None:
        # the clearer of the two decides which partner is its own
        along, down = np.degrees(np.arctan2(*u)), np.degrees(np.arctan2(*v))
        if abs(down - along - 90) > 30:
            v = best(np.abs(angle - along - 90) <= 30)
    if u is None:
        # v is (y, x); a quarter turn of it points along the row
        u = np.array([-v[1], v[0]]) if v is not None else np.array([0.0, 1.0])
    return u, np.array([u[1], -u[0]]) if v is None else v


def _links(flat: Points) -> tuple[Ints, Ints]:
    """Pairs of neighbours along the columns' axis and along the rows' axis, each of shape (n, 2)."""
    tree = cKDTree(flat)
    found = []
    for step in ([1.0, 0.0], [0.0, 1.0]):
        ahead, to = tree.query(flat + step, distance_upper_bound=_TOLERANCE)
        _, back = tree.query(flat - step, distance_upper_bound=_TOLERANCE)
        start = np.flatnonzero(np.isfinite(ahead))
        mutual = start[back[to[start]] == start]
        found.append(np.stack([mutual, to[mutual]], axis=1))
    return found[0], found[1]


def _straighten(
    points: Points,
    strength: Points,
    links: tuple[Ints, Ints],
    centre: Points,
    scale: float,
    degree: int,
    linear: Points,
) -> Straight:
    """Polynomial whose difference along every link is one column or one row."""
    powers = np.array([(i, j) for n in range(1, degree + 1) for i in range(n, -1, -1) for j in [n - i]])
    terms = _terms((points - centre) / scale, powers)
    pairs = np.concatenate(links)
    target = np.zeros((len(pairs), 2))
    target[: len(links[0]), 0] = 1
    target[len(links[0]) :, 1] = 1
    weight = np.sqrt(strength[pairs[:, 0]] * strength[pairs[:, 1]])[:, None]
    a = (terms[pairs[:, 1]] - terms[pairs[:, 0]]) * weight
    # a little pull towards the plain lattice keeps a direction without links where it was
    prior = np.zeros((len(powers), 2))
    prior[:2] = linear
    # ... and higher powers, which run away outside of the links, small
    ridge = np.diag(0.01 * _STIFF ** (powers.sum(axis=1) - 1.0)) * np.sqrt(len(pairs)) / np.linalg.norm(linear)
    left, right = np.concatenate([a, ridge]), np.concatenate([target * weight, ridge @ prior])
    return Straight(centre, scale, powers, np.linalg.lstsq(left, right, rcond=None)[0])
