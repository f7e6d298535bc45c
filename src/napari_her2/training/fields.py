"""Smooth random fields and nearest-cell maps: what the tissue generator is woven from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

__all__ = ["CellMap", "FloatImage", "cell_map", "hex_points", "pixel_grid", "smooth_noise", "upsample"]

FloatImage = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

#: Standard deviation of cubic B-splines over white noise in two dimensions, averaged over the grid.
_SPLINE_STD = 0.48


def _spline_rows(t: npt.NDArray[np.float64], columns: int) -> FloatImage:
    """Matrix of cubic B-spline weights: row i blends the nodes floor(t_i) .. floor(t_i) + 3."""
    base = np.floor(t).astype(int)
    f = t - base
    weights = ((1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, -3 * f**3 + 3 * f**2 + 3 * f + 1, f**3)
    matrix = np.zeros((len(t), columns), np.float32)
    for k, w in enumerate(weights):
        matrix[np.arange(len(t)), base + k] = w / 6
    return matrix


@lru_cache(maxsize=128)
def _noise_matrix(n: int, step: float) -> FloatImage:
    t = np.arange(n, dtype=np.float64) / step
    return _spline_rows(t, int(t[-1]) + 4)


@lru_cache(maxsize=32)
def _upsample_matrix(n: int, nodes: int, block: int) -> FloatImage:
    t = (np.arange(n) + 0.5) / block + 0.5  # two padded nodes before the first, one of them below the spline's foot
    return _spline_rows(t, nodes)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], step: float | tuple[float, float]) -> FloatImage:
    """Gaussian noise without detail finer than `step`, mean 0, standard deviation about 1.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : (int, int)
        Height and width in pixels.
    step : float or (float, float)
        Distance of the spline's nodes in pixels (y, x); blobs are about twice that wide.

    Returns
    -------
    ndarray of float32, shape (y, x)
    """
    step_y, step_x = (max(1.0, round(4 * s) / 4) for s in (step if isinstance(step, tuple) else (step, step)))
    rows, columns = _noise_matrix(shape[0], step_y), _noise_matrix(shape[1], step_x)
    nodes = rng.standard_normal((rows.shape[1], columns.shape[1]), dtype=np.float32)
    nodes /= np.float32(_SPLINE_STD)
    noise: FloatImage = rows @ (nodes @ columns.T)
    return noise


def upsample(coarse: FloatImage, shape: tuple[int, int], block: int) -> FloatImage:
    """Smooth a coarse field up to `shape`; coarse pixel i covers rows ``i * block`` to ``(i + 1) * block``."""
    padded = np.pad(coarse.astype(np.float32), 2, mode="edge")
    rows = _upsample_matrix(shape[0], padded.shape[0], block)
    columns = _upsample_matrix(shape[1], padded.shape[1], block)
    fine: FloatImage = rows @ (padded @ columns.T)
    return fine


def pixel_grid(shape: tuple[int, int], mpp: float) -> tuple[FloatImage, FloatImage]:
    """Centres of the pixels in µm: y of shape (y, 1) and x of shape (1, x)."""
    y = ((np.arange(shape[0], dtype=np.float32) + 0.5) * np.float32(mpp))[:, None]
    x = ((np.arange(shape[1], dtype=np.float32) + 0.5) * np.float32(mpp))[None, :]
    return y, x


def hex_points(
    rng: np.random.Generator, extent: tuple[float, float], spacing: float, jitter: float = 0.25
) -> npt.NDArray[np.float64]:
    """Points of a shaken hexagonal lattice over ``(0, 0)`` to `extent` and one spacing beyond, shape (n, 2)."""
    row = spacing * np.sqrt(3) / 2
    ys = np.arange(-spacing, extent[0] + spacing, row)
    xs = np.arange(-spacing, extent[1] + spacing, spacing)
    y, x = np.meshgrid(ys, xs, indexing="ij")
    x = x + (np.arange(len(ys)) % 2)[:, None] * spacing / 2
    points = np.stack([y.ravel(), x.ravel()], axis=1) + rng.uniform(-1, 1, 2) * spacing / 2
    shaken: npt.NDArray[np.float64] = points + rng.normal(0, jitter * spacing, points.shape)
    return shaken


@dataclass(frozen=True)
class CellMap:
    """Which cells lie around each of some pixels.

    Attributes
    ----------
    pixels : ndarray of int, shape (p,)
        Flat indices of the pixels.
    candidates : ndarray of int32, shape (k, p)
        The nearest cells, in no strict order.
    first, second : ndarray of int32, shape (p,)
        The cell a pixel belongs to, and the one across the nearest border.
    edge : ndarray of float32, shape (p,)
        Distance to that border in µm.
    """

    pixels: npt.NDArray[np.intp]
    candidates: IntArray
    first: IntArray
    second: IntArray
    edge: FloatImage


def cell_map(
    points: npt.NDArray[np.float64],
    power: FloatImage,
    mask: npt.NDArray[np.bool_],
    y: FloatImage,
    x: FloatImage,
    block: int,
    k: int = 4,
) -> CellMap:
    """Power diagram of cells over the pixels of a mask.

    The tree is asked once per block of pixels; which of those `k` cells is nearest is then decided per pixel.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
        Centres of the cells in µm (y, x); at least one.
    power : ndarray, shape (n,)
        Subtracted from the squared distance (µm²): larger cells have more.
    mask, y, x : ndarray, shape (height, width)
        Pixels wanted, and where each lies in µm.
    block : int
        Side of a block in pixels.
    """
    k = min(k, len(points))
    half = block // 2
    coarse_y, coarse_x = y[half::block, half::block], x[half::block, half::block]
    pixels = np.flatnonzero(mask)
    row, column = np.divmod(pixels, mask.shape[1])
    row, column = np.minimum(row // block, coarse_y.shape[0] - 1), np.minimum(column // block, coarse_y.shape[1] - 1)
    used, place = np.unique(row * coarse_y.shape[1] + column, return_inverse=True)
    centres = np.stack([coarse_y.ravel()[used], coarse_x.ravel()[used]], axis=1)
    near = cKDTree(points).query(centres, k=k)[1].reshape(len(used), k).astype(np.int32)
    candidates = np.ascontiguousarray(near[place].T)
    py, px = y.ravel()[pixels], x.ravel()[pixels]
    cy, cx = points[:, 0].astype(np.float32), points[:, 1].astype(np.float32)
    best = np.full(len(pixels), np.inf, np.float32)
    next_best = best.copy()
    first = np.zeros(len(pixels), np.int32)
    second = first.copy()
    for ids in candidates:
        d = (py - cy[ids]) ** 2 + (px - cx[ids]) ** 2 - power[ids]
        wins = d < best
        places = ~wins & (d < next_best)
        second = np.where(wins, first, np.where(places, ids, second))
        next_best = np.where(wins, best, np.where(places, d, next_best))
        first = np.where(wins, ids, first)
        best = np.where(wins, d, best)
    apart = np.hypot(cy[first] - cy[second], cx[first] - cx[second]) + np.float32(1e-3)
    edge = np.where(np.isfinite(next_best), (next_best - best) / (2 * apart), np.float32(1e3))
    return CellMap(pixels, candidates, first, second, edge.astype(np.float32))
