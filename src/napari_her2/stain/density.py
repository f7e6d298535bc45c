"""Optical density against the slide's own glass, and what of a picture is tissue."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

__all__ = ["TISSUE_OD", "divide_white", "optical_density", "tissue_mask", "white_point"]

RGB = npt.NDArray[np.uint8]

#: Optical density, summed over R, G and B after a blur of a few µm, from which a pixel is tissue: finds 0.23 of the
#: picture of the palest real score-0 core (0.05 finds 0.14) and nothing on an emptied punch.
TISSUE_OD = 0.036
#: Pixels that are looked up at a time.
_AT_ONCE = 131_072
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
    small = picture[::step, ::step]
    sums = _sums_of_25(small)
    luminance = sums @ np.array([0.299 / 25, 0.587 / 25, 0.114 / 25], np.float32)
    # the blur smears the border of what is painted white: leave that out too
    unpainted = ~_grown(np.minimum(np.minimum(small[..., 0], small[..., 1]), small[..., 2]) >= 254, 3)
    if np.count_nonzero(unpainted & (luminance > _DARKEST_GLASS)) < 0.02 * luminance.size:
        unpainted = np.ones_like(unpainted)
    top = np.percentile(luminance[unpainted], 99.5)
    glass = unpainted & (luminance >= top - 10) & (luminance <= top + 10)
    white = np.array([_median(sums[..., channel], glass) / 25 for channel in range(3)])
    return white if white.min() >= _DARKEST_GLASS else np.full(3, 255.0)


# The next three do for whole numbers what SciPy does for any, 5 to 40 times faster: the first core waits for them.


def _sums_of_25(picture: RGB) -> npt.NDArray[np.uint16]:
    """Sum over the 5 x 5 pixels around each; beyond the border the picture is mirrored."""
    wide = np.pad(picture, ((2, 2), (2, 2), (0, 0)), mode="symmetric")
    rows = wide[:-4].astype(np.uint16)
    for k in range(1, 5):
        rows += wide[k : len(rows) + k]
    flat = rows.reshape(len(rows), -1)
    length = flat.shape[1] - 4 * 3
    sums = flat[:, :length].copy()
    for k in range(1, 5):
        sums += flat[:, 3 * k : length + 3 * k]
    return sums.reshape(picture.shape)


def _grown(mask: npt.NDArray[np.bool_], by: int) -> npt.NDArray[np.bool_]:
    """The mask and all that lies within so many steps up, down, left or right of it."""
    for _ in range(by):
        grown = mask.copy()
        grown[1:] |= mask[:-1]
        grown[:-1] |= mask[1:]
        grown[:, 1:] |= mask[:, :-1]
        grown[:, :-1] |= mask[:, 1:]
        mask = grown
    return mask


def _median(values: npt.NDArray[np.uint16], chosen: npt.NDArray[np.bool_]) -> float:
    """Median of the chosen values, by counting how often each comes."""
    nothing = 256 * 25
    counts = np.bincount(np.where(chosen, values, np.uint16(nothing)).ravel(), minlength=nothing)[:nothing]
    ranks, n = np.cumsum(counts), int(counts.sum())
    return float(np.searchsorted(ranks, [(n - 1) // 2, n // 2], side="right").mean())


def divide_white(picture: RGB, white: npt.ArrayLike) -> RGB:
    """The picture as if its glass were pure white: each channel times 255 / white, cut off at 255.

    Parameters
    ----------
    picture : ndarray of uint8, shape (..., x, 3)
    white : array-like, shape (3,)
        From `white_point`.

    Returns
    -------
    ndarray of uint8, the shape of `picture`
    """
    times = 255.0 / np.asarray(white, float)[:, None]
    table = np.clip(np.rint(np.arange(256) * times), 0, 255).astype(np.uint8).ravel().tolist()
    out = np.empty(picture.shape, np.uint8)
    rows, divided = (a.reshape(-1, *a.shape[-2:]) for a in (picture, out))
    # Pillow looks up 3 times faster than numpy; a few rows at a time stay in the processor's cache
    step = max(1, _AT_ONCE // max(1, picture.shape[-2]))
    for y in range(0, len(rows), step):
        divided[y : y + step] = np.asarray(Image.fromarray(rows[y : y + step]).point(table))
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
