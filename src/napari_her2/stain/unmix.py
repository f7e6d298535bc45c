"""unmix: how much haematoxylin and DAB each pixel holds; normalise: the slide as another scanner would show it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from napari_her2.slide import RGB
from napari_her2.stain.vectors import Stains

__all__ = ["normalise", "normaliser", "normalising_matrix", "unmix"]

FloatImage = npt.NDArray[np.float32]

#: Steps per unit of optical density in the table that turns density back into grey values, and its ends.
_STEPS, _LOWEST, _HIGHEST = 1000, -0.5, 4.0


def unmix(picture: RGB, stains: Stains) -> tuple[FloatImage, FloatImage]:
    """Amount of each stain at every pixel.

    The optical density of a channel depends on its grey value alone, so each amount is a sum of three table look-ups.

    Parameters
    ----------
    picture : ndarray of uint8, shape (..., 3)
    stains : Stains

    Returns
    -------
    hematoxylin, dab : ndarray of float32, shape (...)
        Optical density along the stain's unit vector; below 0 where a pixel is brighter than glass or of a colour
        that the stains cannot make.
    """
    tables = (_density_tables(stains.white)[None] * stains.unmixing[:, :, None]).astype(np.float32)
    red, green, blue = (np.ascontiguousarray(picture[..., c]) for c in range(3))
    amounts = []
    for table in tables:
        amount = table[0].take(red)
        amount += table[1].take(green)
        amount += table[2].take(blue)
        amounts.append(amount)
    return amounts[0], amounts[1]


def normalising_matrix(stains: Stains, reference: Stains) -> npt.NDArray[np.float64]:
    """Matrix of shape (3, 3) that turns the OD of one slide into that of another with the same amounts of stain."""
    return np.asarray(reference.mixing @ np.linalg.inv(stains.mixing))


def normaliser(stains: Stains, reference: Stains) -> Callable[[RGB], RGB]:
    """`normalise` for many pictures of one slide: the matrix and its tables are made once."""
    matrix = normalising_matrix(stains, reference)
    tables = (_density_tables(stains.white)[None] * matrix[:, :, None] * _STEPS).astype(np.float32)
    density = np.arange(int((_HIGHEST - _LOWEST) * _STEPS) + 1) / _STEPS + _LOWEST
    light = np.clip(np.rint(np.array(reference.white)[:, None] * 10**-density), 0, 255).astype(np.uint8)

    def normalised(picture: RGB) -> RGB:
        channels = [np.ascontiguousarray(picture[..., c]) for c in range(3)]
        out = np.empty(picture.shape, np.uint8)
        for c in range(3):
            place = sum(tables[c, k].take(channels[k]) for k in range(3)) + np.float32(0.5 - _LOWEST * _STEPS)
            out[..., c] = light[c].take(np.asarray(place).astype(np.int16), mode="clip")
        return out

    return normalised


def normalise(picture: RGB, stains: Stains, reference: Stains) -> RGB:
    """The picture with the glass and the stain vectors of another slide, and the amounts of stain that it has.

    Parameters
    ----------
    picture : ndarray of uint8, shape (..., 3)
    stains : Stains
        Of the picture.
    reference : Stains
        Of the slide that it should look like.

    Returns
    -------
    ndarray of uint8, the shape of `picture`
    """
    return normaliser(stains, reference)(picture)


def _density_tables(white: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """Optical density of each grey value in each channel, shape (3, 256); black counts as one grey level."""
    grey = np.maximum(np.arange(256), 1)
    return np.asarray(-np.log10(grey[None] / np.array(white)[:, None]))
