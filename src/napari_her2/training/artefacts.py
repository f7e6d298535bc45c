"""What goes wrong on a slide: brown edges, pigment, dust, folds, places out of focus."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_her2.training.fields import FloatImage, smooth_noise
from napari_her2.training.stroma import Canvas

__all__ = ["IGNORE", "UNSTAINED", "add_artefacts", "add_dust"]

#: Values of a class map where the truth is not known, or only that it is no stained tumour (not tumour, or 0).
IGNORE, UNSTAINED = 255, 254


def add_artefacts(
    rng: np.random.Generator, canvas: Canvas, inside: FloatImage, classes: npt.NDArray[np.uint8], dirt: float
) -> npt.NDArray[np.uint8]:
    """Spoil some of the pictures, and return the class map that is left.

    Parameters
    ----------
    rng : numpy.random.Generator
    canvas : Canvas
        Changed in place.
    inside : ndarray of float32, shape (y, x)
        Distance into the tissue from the glass in µm.
    classes : ndarray of uint8, shape (y, x)
    dirt : float
        How often, compared with what is good to learn from (1).
    """
    shape = canvas.shape
    if rng.random() < 0.15 * dirt:  # stain dries at edges
        reach = rng.uniform(2, 10)
        edge = np.exp(-np.clip(inside, 0, None) / reach) * (inside > 0)
        patchy = np.clip(0.6 + 0.6 * smooth_noise(rng, shape, 15 / canvas.mpp), 0, None)
        canvas.dab += (rng.uniform(0.1, 0.7) * edge * patchy).astype(np.float32)
    if rng.random() < 0.10 * dirt:
        _pigment(rng, canvas)
    if rng.random() < 0.35 * dirt:
        add_dust(rng, canvas, rng.poisson(4))
    if rng.random() < 0.06 * dirt:
        classes = _fold(rng, canvas, classes)
    if rng.random() < 0.18 * dirt:
        _defocus(rng, canvas)
    return classes


def _pigment(rng: np.random.Generator, canvas: Canvas) -> None:
    """Clumps of dark grains."""
    cloud = smooth_noise(rng, canvas.shape, rng.uniform(3, 8) / canvas.mpp) > rng.uniform(2.0, 2.8)
    grain = np.clip(0.5 * canvas.fine + 0.6, 0, None)
    canvas.dab += np.where(cloud, rng.uniform(0.3, 1.0) * grain, 0).astype(np.float32)
    canvas.hematoxylin += np.where(cloud, rng.uniform(0, 0.5) * grain, 0).astype(np.float32)


def add_dust(rng: np.random.Generator, canvas: Canvas, count: int) -> None:
    """Specks and fibres, dark grey or out of focus and pale."""
    shape = canvas.shape
    for _ in range(count):
        pale = rng.random() < 0.5
        radius = (rng.uniform(4, 12) if pale else rng.uniform(0.6, 2.5)) / canvas.mpp
        amount = rng.uniform(0.01, 0.04) if pale else rng.uniform(0.15, 0.8)
        row, column = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        reach = int(2 * radius) + 2
        y0, x0 = max(0, row - reach), max(0, column - reach)
        part = (slice(y0, row + reach), slice(x0, column + reach))
        yy, xx = np.ogrid[y0 : min(shape[0], row + reach), x0 : min(shape[1], column + reach)]
        stretch = rng.uniform(0.4, 1)
        far = np.hypot(yy - row, (xx - column) * stretch) / radius + 0.15 * canvas.ragged[part]
        stamp = (amount / (1 + np.exp(np.clip((far - 1) * (6 if pale else 9), -30, 30)))).astype(np.float32)
        canvas.hematoxylin[part] += stamp
        canvas.dab[part] += np.float32(0.85) * stamp


def _fold(rng: np.random.Generator, canvas: Canvas, classes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A band where the section lies double: what is seen there has no one class."""
    shape = canvas.shape
    angle = rng.uniform(0, np.pi)
    y, x = np.ogrid[: shape[0], : shape[1]]
    across = (
        np.cos(angle) * (y - rng.uniform(0, shape[0])) + np.sin(angle) * (x - rng.uniform(0, shape[1]))
    ) * canvas.mpp
    across = across + 10 * smooth_noise(rng, shape, 50 / canvas.mpp)
    band = 1 / (1 + np.exp(np.clip((np.abs(across) - rng.uniform(3, 14)) / 0.8, -30, 30)))
    shift = tuple(int(s) for s in rng.integers(10, 60, 2))
    for od in (canvas.hematoxylin, canvas.dab):
        od += (band * np.roll(od, shift, (0, 1))[:, ::-1]).astype(np.float32)
    return np.where((band > 0.3) & (classes > 0), np.uint8(IGNORE), classes)


def _defocus(rng: np.random.Generator, canvas: Canvas) -> None:
    """A region above or below the plane of focus."""
    weight = 1 / (
        1 + np.exp(np.clip(-4 * (smooth_noise(rng, canvas.shape, 60 / canvas.mpp) - rng.uniform(-0.8, 1.2)), -30, 30))
    )
    sigma = rng.uniform(0.7, 2.2) / canvas.mpp
    for od in (canvas.hematoxylin, canvas.dab):
        blurred = ndimage.gaussian_filter(od, sigma, truncate=2.5)
        od += (weight * (blurred - od)).astype(np.float32)
