"""Cells as a label image, to look at: made on demand, never needed to measure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from skimage.draw import polygon

from napari_her2.membrane.polar import DOWN, RIGHT, FloatArray

__all__ = ["draw_cells"]


def draw_cells(
    y: FloatArray, x: FloatArray, border: FloatArray, values: npt.NDArray[np.integer], shape: tuple[int, int]
) -> npt.NDArray[np.int32]:
    """Draw every cell filled with its value; 0 is background.

    Parameters
    ----------
    y, x : ndarray of float32, shape (n,)
        Centres in pixels of the answer.
    border : ndarray of float32, shape (ANGLES, n)
        Distance of the outline along each ray, in pixels of the answer.
    values : ndarray of int, shape (n,)
        Above 0.
    shape : (int, int)
        Of the answer.
    """
    labels = np.zeros(shape, np.int32)
    rows, columns = y + DOWN[:, None] * border - 0.5, x + RIGHT[:, None] * border - 0.5
    for k, value in enumerate(values.tolist()):
        labels[polygon(rows[:, k], columns[:, k], shape)] = value  # type: ignore[no-untyped-call]
    return labels
