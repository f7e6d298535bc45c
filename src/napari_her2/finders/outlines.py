"""outlines_of_labels: the objects of a label image as star-shaped outlines, as the measurement needs them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_her2.membrane.polar import ANGLES, DOWN, RIGHT, FloatArray

__all__ = ["outlines_of_labels"]

#: Samples along a ray are this many pixels apart.
_STEP = 0.25
#: µm from its centre behind which no outline reaches: nuclei have a radius of 2.5 to 7.5.
_FARTHEST = 25.0
#: Objects worked on at a time.
_CHUNK = 512


def outlines_of_labels(labels: npt.NDArray[np.integer], mpp: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Centres, and on each ray the distance at which the object ends.

    An object is seen from its centre of mass; where that lies outside, as in a sickle, from its own nearest pixel.
    What lies behind the first gap on a ray is not seen.

    Parameters
    ----------
    labels : ndarray of int, shape (rows, columns)
        0 is background.
    mpp : float
        µm per pixel.

    Returns
    -------
    y, x : ndarray of float32, shape (n,)
        In µm from the top left corner, ordered by label.
    radius : ndarray of float32, shape (ANGLES, n)
        In µm, half a pixel or more.
    """
    v, u = np.nonzero(labels)
    values, index = np.unique(labels[v, u], return_inverse=True)
    area = np.bincount(index)
    y, x = (np.bincount(index, weights=w) / np.maximum(area, 1) for w in (v, u))
    outside = np.flatnonzero(labels[np.rint(y).astype(int), np.rint(x).astype(int)] != values)
    for k in outside.tolist():
        own = np.flatnonzero(index == k)
        nearest = own[np.argmin((v[own] - y[k]) ** 2 + (u[own] - x[k]) ** 2)]
        y[k], x[k] = v[nearest], u[nearest]
    reach = np.hypot(v - y[index], u - x[index]).max(initial=0.0) + 1
    steps = np.arange(0.5, min(reach, _FARTHEST / mpp) / _STEP) * _STEP
    chunks = [slice(k, k + _CHUNK) for k in range(0, len(values), _CHUNK)]
    seen = [_ends(labels, values[c], y[c], x[c], steps) for c in chunks]
    radius = np.concatenate(seen, axis=1) if seen else np.empty((ANGLES, 0))
    return (
        ((y + 0.5) * mpp).astype(np.float32),
        ((x + 0.5) * mpp).astype(np.float32),
        (np.maximum(radius, 0.5) * mpp).astype(np.float32),
    )


def _ends(
    labels: npt.NDArray[np.integer],
    values: npt.NDArray[np.integer],
    y: npt.NDArray[np.float64],
    x: npt.NDArray[np.float64],
    steps: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Distance in pixels at which each ray leaves its object, shape (ANGLES, n).

    The share of the object is read between pixel centres and followed to one half, which smooths the stairs of pixels.
    """
    rows = y + DOWN[:, None, None] * steps[:, None]
    columns = x + RIGHT[:, None, None] * steps[:, None]
    i, j = np.floor(rows).astype(np.intp), np.floor(columns).astype(np.intp)
    down, right = rows - i, columns - j
    framed = np.pad(labels, 1)
    share = np.zeros(rows.shape)
    for di, wi in ((1, 1 - down), (2, down)):
        for dj, wj in ((1, 1 - right), (2, right)):
            at = np.clip(i + di, 0, framed.shape[0] - 1), np.clip(j + dj, 0, framed.shape[1] - 1)
            share += wi * wj * (framed[at] == values)
    left = np.concatenate([share < 0.5, np.ones((ANGLES, 1, len(values)), bool)], axis=1)
    return np.asarray(left.argmax(axis=1) * _STEP)
