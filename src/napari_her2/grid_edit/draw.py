"""A grid drawn by hand: four corners, so many rows and columns."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_her2.cores import Core, CoreGrid
from napari_her2.errors import CoresError
from napari_her2.naming import Naming

__all__ = ["draw_grid"]

#: Usual diameter of a core in pitches.
_DIAMETER = 0.85
_MOST = 10_000


def draw_grid(
    corners: npt.ArrayLike, rows: int, columns: int, diameter: float | None = None, naming: Naming | None = None
) -> CoreGrid:
    """Cores with tissue on an even lattice between four corners, which need not be a rectangle.

    Parameters
    ----------
    corners : array_like, shape (4, 2)
        (y, x) in level-0 pixels of the centres of the outermost cores: first row first column, first row last column,
        last row last column, last row first column. Of a single row only the middle between both ends counts.
    rows, columns : int
        Size of the grid.
    diameter : float or None
        In level-0 pixels; by default 0.85 of the smaller pitch.
    naming : Naming or None
        Scheme of the names; by default A-1, A-2, ...

    Raises
    ------
    CoresError
        If the corners cross or coincide, or the size or the diameter is not a possible one.
    """
    if rows < 1 or columns < 1 or rows * columns > _MOST:
        raise CoresError(f"A grid of {rows} x {columns} cores cannot be drawn: 1 to {_MOST} cores can.")
    quad = np.asarray(corners, float).reshape(4, 2)
    if rows == 1:
        quad = (quad + quad[[3, 2, 1, 0]]) / 2
    if columns == 1:
        quad = (quad + quad[[1, 0, 3, 2]]) / 2
    _check(quad, rows, columns)
    across = [np.hypot(*(quad[b] - quad[a])) / (columns - 1) for a, b in ((0, 1), (3, 2)) if columns > 1]
    down = [np.hypot(*(quad[b] - quad[a])) / (rows - 1) for a, b in ((0, 3), (1, 2)) if rows > 1]
    if diameter is None:
        if not across + down:
            raise CoresError("A single core has no neighbour to tell its size: give its diameter.")
        diameter = _DIAMETER * float(min(across + down))
    if not 0 < diameter < np.inf:
        raise CoresError("The core diameter must be more than 0: correct it, or leave it out.")
    scheme = (naming or Naming()).sized(rows, columns)
    cores = []
    for row, column in np.ndindex(rows, columns):
        t, s = row / max(1, rows - 1), column / max(1, columns - 1)
        y, x = (1 - t) * ((1 - s) * quad[0] + s * quad[1]) + t * ((1 - s) * quad[3] + s * quad[2])
        cores.append(Core(scheme.name(row, column), row, column, float(y), float(x), float(diameter)))
    return CoreGrid(tuple(cores))


def _check(quad: npt.NDArray[np.float64], rows: int, columns: int) -> None:
    """Corners in an order that makes a grid."""
    side, after = np.roll(quad, -1, axis=0) - quad, np.roll(quad, -2, axis=0) - np.roll(quad, -1, axis=0)
    turn = side[:, 0] * after[:, 1] - side[:, 1] * after[:, 0]
    length = np.hypot(*side.T)
    if not np.isfinite(quad).all():
        raise CoresError("A corner of the grid has no place.")
    if (columns > 1 and not (length[[0, 2]] > 0).all()) or (rows > 1 and not (length[[1, 3]] > 0).all()):
        raise CoresError("Two corners of the grid lie on the same place: pull them apart.")
    flat = np.abs(turn) < 1e-6 * length * np.roll(length, -1)
    if rows > 1 and columns > 1 and (flat.any() or abs(np.sign(turn).sum()) != 4):
        raise CoresError("The sides of the grid cross, or run along one line: put its corners in their order.")
