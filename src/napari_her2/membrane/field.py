"""CellField: the square of a core in which the cells that its score rests on lie closest, with their outlines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_her2.membrane.measurement import MPP, Measurement
from napari_her2.membrane.polar import DOWN, RIGHT, FloatArray
from napari_her2.scores import SCORES

__all__ = ["CellField", "choose_field"]

#: Side of the square in µm: a few hundred cells lie in it, and each can be told on a page.
_SIDE = 250.0
#: Squares are tried this many µm apart.
_STEP = 25.0
#: Outlines are drawn this many µm inside the borders: the membrane is seen between those of two neighbours.
_INSIDE = 0.8


@dataclass(frozen=True)
class CellField:
    """A small square of a core, and the counted cells in it: 0.1 MB where `Measurement` holds 3 MB.

    Attributes
    ----------
    y, x, side : float
        Top left corner and side in level-0 pixels.
    side_um : float
        The side in µm.
    least : int
        Class that was looked for: of all squares tried this one holds the most cells of this class (0..3) or above.
    chosen, of : int
        How many cells of `least` and above have their centres in it, and on the whole core.
    counts : tuple of 4 int
        How many cells with their centres in it are of class 0, 1+, 2+, 3+.
    cls : ndarray of uint8, shape (n,)
        Class of each counted cell that reaches into the square.
    outlines : ndarray of float32, shape (n, ANGLES, 2)
        A line just inside their borders, (y, x) in µm from the corner of the square.
    """

    y: float
    x: float
    side: float
    side_um: float
    least: int
    chosen: int
    of: int
    counts: tuple[int, int, int, int]
    cls: npt.NDArray[np.uint8]
    outlines: FloatArray


def choose_field(measured: Measurement) -> CellField | None:
    """The square to look at.

    A score of 1+ or more rests on its cells of that class and above: where most of these lie, the square is. A score of
    0, and none, rest on all counted cells.

    Parameters
    ----------
    measured : Measurement
        With its cells.

    Returns
    -------
    CellField or None
        None where no cell was counted.
    """
    if measured.nuclei is None or not measured.count:
        return None
    cells, cls = measured.nuclei[measured.counted], measured.cells.cls
    least = SCORES.index(measured.score) if measured.score else 0
    decisive = cls >= least
    height, width = (MPP * n for n in measured.shape)
    side = min(_SIDE, height, width)
    top, left = _densest(cells.y[decisive], cells.x[decisive], height, width, side)
    rays = measured.rings.border - np.float32(_INSIDE)
    outlines = np.stack([(cells.y + DOWN[:, None] * rays - top).T, (cells.x + RIGHT[:, None] * rays - left).T], axis=-1)
    inside: npt.NDArray[np.bool_] = np.all((outlines > 0) & (outlines < side), axis=2)
    reach = inside.any(axis=1)
    within = (cells.y >= top) & (cells.y < top + side) & (cells.x >= left) & (cells.x < left + side)
    n = np.bincount(cls[within], minlength=4)
    return CellField(
        y=measured.origin[0] + top * measured.pixel,
        x=measured.origin[1] + left * measured.pixel,
        side=side * measured.pixel,
        side_um=side,
        least=least,
        chosen=int(n[least:].sum()),
        of=int(np.count_nonzero(decisive)),
        counts=(int(n[0]), int(n[1]), int(n[2]), int(n[3])),
        cls=cls[reach],
        outlines=outlines[reach].astype(np.float32),
    )


def _densest(y: FloatArray, x: FloatArray, height: float, width: float, side: float) -> tuple[float, float]:
    """Top left corner of the square with the most of these points; the first of equal ones. All lengths in µm."""
    edges = [np.arange(0, end + _STEP, _STEP) for end in (height, width)]
    count = np.histogram2d(y, x, bins=edges)[0]
    n = max(1, int(side / _STEP))
    windows = np.lib.stride_tricks.sliding_window_view(count, (n, n)).sum(axis=(2, 3))
    i, j = np.unravel_index(int(windows.argmax()), windows.shape)
    return min(float(i) * _STEP, height - side), min(float(j) * _STEP, width - side)
