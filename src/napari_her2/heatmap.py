"""Scores of places -> one coarse float image over the slide."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from napari_her2.cores import Core
from napari_her2.models import Calibration
from napari_her2.pooling import score_probabilities
from napari_her2.scores import CoreScore
from napari_her2.slide import Slide

__all__ = ["HEATMAP_UM", "KINDS", "Heatmap", "likely_map"]

#: Side of a heatmap pixel in µm, about a tumour cell across.
HEATMAP_UM = 16.0
#: What a heatmap can show: the expected score (0..3), the probability of 2+ or more, or that of the likeliest score.
KINDS = ("score", "at_least_2", "confidence")


@dataclass
class Heatmap:
    """Expected score (0..3) of each small square of a slide, NaN where nothing was scored.

    Attributes
    ----------
    slide_shape : tuple of int
        Height and width of level 0 in pixels.
    stride : int
        Level-0 pixels per pixel of the heatmap. Heatmap pixel (i, j) covers level-0 rows
        ``i * stride`` to ``(i + 1) * stride``, so its centre lies at ``i * stride + (stride - 1) / 2``.
    image : ndarray of float32, shape (ceil(height / stride), ceil(width / stride))
    """

    slide_shape: tuple[int, int]
    stride: int
    image: npt.NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        h, w = self.slide_shape
        self.image = np.full((-(-h // self.stride), -(-w // self.stride)), np.nan, np.float32)

    @classmethod
    def of(cls, slide: Slide) -> Heatmap:
        """An empty heatmap for a slide, its pixels about `HEATMAP_UM` wide (32 px when nobody knows the µm)."""
        stride = 32 if slide.mpp is None else max(1, round(HEATMAP_UM / slide.mpp))
        return cls(slide.shape, stride)

    @property
    def offset(self) -> float:
        """Where the centre of the first heatmap pixel lies, in level-0 pixels."""
        return (self.stride - 1) / 2

    def add(self, score: CoreScore) -> None:
        """Draw one core; a core that is scored again replaces what stood there.

        Each square shows the mean grade of the places over it, weighted by how finely a place looks
        (its inverse area), so that the full-resolution patches speak first.
        """
        places = score.places
        self.clear(score.core)
        if places is None or not len(places):
            return
        h, w = self.image.shape
        total, norm = np.zeros((h * w,), np.float64), np.zeros((h * w,), np.float64)
        for size in np.unique(places.size):
            chosen = places.size == size
            # a place larger than a square colours all the squares whose centres it covers
            steps = max(1, int(np.ceil(size / self.stride)))
            shifts = (np.arange(steps) - (steps - 1) / 2) * (size / steps)
            importance = 1.0 / float(size) ** 2
            for dy in shifts:
                for dx in shifts:
                    i = ((places.y[chosen] + dy) // self.stride).astype(np.intp)
                    j = ((places.x[chosen] + dx) // self.stride).astype(np.intp)
                    inside = (i >= 0) & (i < h) & (j >= 0) & (j < w)
                    flat = i[inside] * w + j[inside]
                    np.add.at(total, flat, places.grade[chosen][inside] * importance)
                    np.add.at(norm, flat, importance)
        drawn = norm > 0
        self.image.reshape(-1)[drawn] = (total[drawn] / norm[drawn]).astype(np.float32)

    def clear(self, core: Core) -> None:
        """Take one core off the heatmap: the squares whose centres lie in its disc, and a square around."""
        self.image[self._disc(core)] = np.nan

    def put_back(self, core: Core, image: npt.NDArray[np.float32]) -> None:
        """Draw one core as it stands in an earlier `image` of this heatmap."""
        disc = self._disc(core)
        self.image[disc] = image[disc]

    def _disc(self, core: Core) -> npt.NDArray[np.bool_]:
        i, j = np.ogrid[: self.image.shape[0], : self.image.shape[1]]
        y, x = i * self.stride + self.offset - core.y, j * self.stride + self.offset - core.x
        inside: npt.NDArray[np.bool_] = y**2 + x**2 <= (core.diameter / 2 + self.stride) ** 2
        return inside


def likely_map(image: npt.NDArray[np.float32], kind: str, calibration: Calibration) -> npt.NDArray[np.float32]:
    """What a heatmap says of each square beyond its expected score, as if the square were the whole core.

    It follows from the expected score and the cut points alone, so that it is there at once when those are refitted.

    Parameters
    ----------
    image : ndarray of float32
        `Heatmap.image`, or a part of it.
    kind : str
        One of `KINDS`.
    calibration : Calibration
        Of the model that scored, with the cut points in use.

    Returns
    -------
    ndarray of float32, the shape of `image`
        NaN where `image` is; 0..3 for "score", else 0..1.

    Raises
    ------
    ValueError
        If there is no such kind.

    Examples
    --------
    >>> squares = np.array([0.0, 1.3, 3.0, np.nan], np.float32)
    >>> likely_map(squares, "at_least_2", Calibration(cuts=(0.5, 1.3, 2.2))).round(2)
    array([0. , 0.5, 1. , nan], dtype=float32)
    """
    if kind not in KINDS:
        raise ValueError(f"a heatmap shows one of {', '.join(KINDS)}, not {kind}")
    if kind == "score":
        return image.copy()
    likely = score_probabilities(image, calibration)
    found = likely[..., 2:].sum(axis=-1) if kind == "at_least_2" else likely.max(axis=-1)
    return np.asarray(found, np.float32)
