"""Optical density against the slide's own glass, and what of a picture is tissue."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["TISSUE_OD", "divide_white", "optical_density", "tissue_mask", "white_point"]

RGB = npt.NDArray[np.uint8]

#: Optical density, summed over R, G and B after a blur of a few µm, from which a pixel is tissue: finds 0.23 of the
#: picture of the palest real score-0 core (0.05 finds 0.14) and nothing on an emptied punch.
TISSUE_OD = 0.036
#: A white point darker than this is not glass but a black, unscanned or wholly stained picture.
_DARKEST_GLASS = 150.0


def white_point(picture: RGB) -> npt.NDArray[np.float64]:
    """Colour of the empty glass of a slide.

    The median colour of the pixels whose luminance, blurred over 5 pixels, lies within 10 grey levels of its 99.5th
    percentile; pixels that are saturated (painted white by the scanner, as around an unscanned area) do not count
    while others are left.

    Parameters
    ----------
    picture : ndarray of uint8, shape (y, x, 3)
        An overview that shows some glass.

    Returns
    -------
    ndarray of float64, shape (3,)
        R, G, B of the glass, 150..255; white (255) where no glass can be told.
    """
    step = max(1, int(np.sqrt(picture.shape[0] * picture.shape[1] / 1_000_000)))
    small = picture[::step, ::step].astype(np.float32)
    smooth = ndimage.uniform_filter(small, size=(5, 5, 1))
    luminance = smooth @ np.array([0.299, 0.587, 0.114], np.float32)
    # the blur smears the border of what is painted white: leave that out too
    unpainted = ~ndimage.binary_dilation(small.min(axis=2) >= 254, iterations=3)
    if np.count_nonzero(unpainted & (luminance > _DARKEST_GLASS)) < 0.02 * luminance.size:
        unpainted = np.ones_like(unpainted)
    top = np.percentile(luminance[unpainted], 99.5)
    glass = unpainted & (luminance >= top - 10) & (luminance <= top + 10)
    white = np.median(smooth[glass], axis=0).astype(np.float64)
    return white if white.min() >= _DARKEST_GLASS else np.full(3, 255.0)


def divide_white(picture: RGB, white: npt.ArrayLike) -> RGB:
    """The picture as if its glass were pure white: each channel times 255 / white, cut off at 255.

    Parameters
    ----------
    picture : ndarray of uint8, shape (..., 3)
    white : array-like, shape (3,)
        From `white_point`.

    Returns
    -------
    ndarray of uint8, the shape of `picture`
    """
    grey = np.arange(256)
    out = np.empty_like(picture)
    for channel, glass in enumerate(np.asarray(white, float)):
        table = np.clip(np.rint(grey * (255.0 / glass)), 0, 255).astype(np.uint8)
        out[..., channel] = table[picture[..., channel]]
    return out


def optical_density(picture: RGB, white: npt.ArrayLike = (255, 255, 255)) -> npt.NDArray[np.float32]:
    """Optical density OD = -log10(I / I0), as QuPath defines it; black counts as one grey level.

    Parameters
    ----------
    picture : ndarray of uint8, shape (..., 3)
    white : array-like, shape (3,)
        I0 of each channel.

    Returns
    -------
    ndarray of float32, the shape of `picture`; below 0 where a pixel is brighter than the glass
    """
    grey = np.maximum(np.arange(256), 1)
    out = np.empty(picture.shape, np.float32)
    for channel, glass in enumerate(np.asarray(white, float)):
        out[..., channel] = (-np.log10(grey / glass)).astype(np.float32)[picture[..., channel]]
    return out


def tissue_mask(picture: RGB, white: npt.ArrayLike = (255, 255, 255), *, blur: float = 1.0) -> npt.NDArray[np.bool_]:
    """Where a picture shows tissue: summed OD above `TISSUE_OD` after a light blur.

    Parameters
    ----------
    picture : ndarray of uint8, shape (y, x, 3)
    white : array-like, shape (3,)
    blur : float
        Standard deviation of the blur in pixels; 4 to 8 µm keep the pale tissue of score-0 cores whole.

    Returns
    -------
    ndarray of bool, shape (y, x)
    """
    density = optical_density(picture, white).sum(axis=-1)
    return np.asarray(ndimage.gaussian_filter(density, blur) > TISSUE_OD)
