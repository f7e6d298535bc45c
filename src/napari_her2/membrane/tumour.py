"""tumour_of_places: where on a core the network saw tumour, for the measurement to count cells in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_her2.scores import Places

__all__ = ["TUMOUR_FROM", "tumour_of_places"]

#: Tumour share of a place from which its cells count: on 60 generated cores of stains and scanners kept apart, 0.89 of
#: the nuclei so counted were tumour and 0.91 of the tumour nuclei were counted.
TUMOUR_FROM = 0.4


def tumour_of_places(
    places: Places, box: tuple[int, int, int, int], step: float, least: float = TUMOUR_FROM
) -> npt.NDArray[np.bool_]:
    """Which squares of a core are tumour, by the places that the network judged.

    Places overlap and come at several magnifications: each square takes their mean tumour share, weighted by how finely
    a place looks (its inverse area). Squares that no place covers are not tumour.

    Parameters
    ----------
    places : Places
    box : tuple of 4 int
        (y0, x0, y1, x1) of the core in level-0 pixels, see `Core.box`.
    step : float
        Side of a square in level-0 pixels, about: the squares fill the box.
    least : float
        Share from which a square is tumour, 0..1.

    Returns
    -------
    ndarray of bool, shape (round((y1 - y0) / step), round((x1 - x0) / step))
    """
    y0, x0, y1, x1 = box
    rows, columns = max(1, round((y1 - y0) / step)), max(1, round((x1 - x0) / step))
    high, wide = (y1 - y0) / rows, (x1 - x0) / columns
    total, norm = np.zeros(rows * columns), np.zeros(rows * columns)
    for size in np.unique(places.size):
        of_size = places.size == size
        fineness = 1 / float(size) ** 2
        # a place larger than a square speaks for all the squares that it covers
        parts = max(1, int(np.ceil(size / min(high, wide))))
        shifts = (np.arange(parts) - (parts - 1) / 2) * (size / parts)
        share = places.tumour[of_size].astype(np.float64) * fineness
        for dy in shifts:
            i = ((places.y[of_size] + dy - y0) // high).astype(np.intp)
            for dx in shifts:
                j = ((places.x[of_size] + dx - x0) // wide).astype(np.intp)
                inside = (i >= 0) & (i < rows) & (j >= 0) & (j < columns)
                at = i[inside] * columns + j[inside]
                total += np.bincount(at, share[inside], minlength=len(total))
                norm += np.bincount(at, minlength=len(norm)) * fineness
    return np.asarray((total >= least * norm) & (norm > 0)).reshape(rows, columns)
