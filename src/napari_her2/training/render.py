"""Stain amounts to pixels: what a microscope, a camera and a JPEG file make of tissue."""

from __future__ import annotations

from dataclasses import dataclass, replace

import imagecodecs
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from napari_her2.training.fields import FloatImage, smooth_noise
from napari_her2.training.tissue import Tissue

__all__ = ["Scanner", "render"]

Vector = tuple[float, float, float]

# Unit OD vectors (red, green, blue). Haematoxylin: Ruifrok & Johnston 2001 as QuPath has it, and three bluer or greyer
# ones of scanners; DAB: QuPath's default, and the redder end measured on dark membranes.
_BLUES = np.array([[0.651, 0.701, 0.290], [0.655, 0.620, 0.432], [0.740, 0.610, 0.290], [0.610, 0.650, 0.450]])
_BROWNS = np.array([[0.269, 0.568, 0.778], [0.330, 0.575, 0.749], [0.400, 0.590, 0.700]])
# Scanners kept for blind sets: red to green of the blue, red to blue of the brown, and brightness of the glass
_BLIND_HUE, _BLIND_BROWN_HUE, _BLIND_GLASS = (1.08, 1.16), (0.37, 0.42), (221.0, 229.0)


@dataclass(frozen=True)
class Scanner:
    """How stain becomes colour.

    Attributes
    ----------
    h_vector, dab_vector : tuple of 3 float
        Unit OD vectors (red, green, blue) of the two stains.
    white : tuple of 3 float
        Grey values of empty glass, 0..255.
    blur_um : float
        Standard deviation of the point spread in µm.
    sharpen : float
        Strength of the scanner's unsharp mask (0: none; 1 shows pale rims as many scanners do).
    noise : float
        Standard deviation of camera noise in grey values.
    gamma : float
        Exponent on transmitted light.
    shade : float
        Peak grey values of uneven light over the field.
    jpeg_quality : int or None
        None: not compressed.
    """

    h_vector: Vector = (0.694, 0.607, 0.387)
    dab_vector: Vector = (0.310, 0.567, 0.763)
    white: Vector = (242.0, 241.0, 248.0)
    blur_um: float = 0.22
    sharpen: float = 0.9
    noise: float = 0.8
    gamma: float = 1.0
    shade: float = 0.0
    jpeg_quality: int | None = 85

    @classmethod
    def reference(cls) -> Scanner:
        """A scanner much like the one of the real cores that the generator was compared with."""
        return cls()

    @classmethod
    def random(cls, rng: np.random.Generator, *, blind: bool = False, wide: bool = False) -> Scanner:
        """Any laboratory's scanner; with `blind` one whose glass and whose blue or brown no training tile has.

        With `wide` colours and blur spread further than those of any scanner that is measured on: to learn from.
        """
        while True:
            scanner = cls._any(rng)
            scanner = scanner._spread(rng) if wide else scanner
            blue = _BLIND_HUE[0] < scanner.h_vector[0] / scanner.h_vector[1] < _BLIND_HUE[1]
            brown = _BLIND_BROWN_HUE[0] < scanner.dab_vector[0] / scanner.dab_vector[2] < _BLIND_BROWN_HUE[1]
            glass = _BLIND_GLASS[0] < scanner.white[1] < _BLIND_GLASS[1]
            if (glass and (blue or brown)) if blind else not (glass or blue or brown):
                return scanner

    @classmethod
    def _any(cls, rng: np.random.Generator) -> Scanner:
        bright = rng.uniform(205, 250)
        white = np.clip(bright + rng.normal(0, 2.5, 3) + rng.normal(0, 2.5) * np.array([1, 0, -1]), 190, 254)
        return cls(
            h_vector=_blend(rng, _BLUES, 0.02),
            dab_vector=_blend(rng, _BROWNS, 0.012),
            white=(float(white[0]), float(white[1]), float(white[2])),
            blur_um=float(rng.uniform(0.15, 0.6) if rng.random() < 0.8 else rng.uniform(0.6, 1.3)),
            sharpen=float(rng.uniform(0, 1.2)),
            noise=float(rng.uniform(0.3, 3.0)),
            gamma=float(np.exp(rng.normal(0, 0.08))),
            shade=float(rng.uniform(0, 4)),
            jpeg_quality=int(rng.integers(40, 96)),
        )

    def _spread(self, rng: np.random.Generator) -> Scanner:
        return replace(
            self,
            h_vector=_blend(rng, np.array([self.h_vector]), 0.03),
            dab_vector=_blend(rng, np.array([self.dab_vector]), 0.03),
            blur_um=max(self.blur_um, float(rng.uniform(0.5, 1.4))) if rng.random() < 0.25 else self.blur_um,
        )


def _blend(rng: np.random.Generator, vectors: npt.NDArray[np.float64], jitter: float) -> Vector:
    vector = rng.dirichlet(np.full(len(vectors), 0.7)) @ vectors + rng.normal(0, jitter, 3)
    vector = vector / np.linalg.norm(vector)
    return float(vector[0]), float(vector[1]), float(vector[2])


def render(tissue: Tissue, scanner: Scanner, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Picture of a piece of tissue, as that scanner would have taken it.

    Light through the stain follows Beer and Lambert: ``white * 10 ** -(h * H + d * D)`` per channel.

    Parameters
    ----------
    tissue : Tissue
    scanner : Scanner
    rng : numpy.random.Generator
        For noise and uneven light.

    Returns
    -------
    ndarray of uint8, shape (y, x, 3)
    """
    stains = np.stack([tissue.hematoxylin.ravel(), tissue.dab.ravel()], axis=1)
    od = stains @ np.array([scanner.h_vector, scanner.dab_vector], np.float32)
    light: FloatImage = np.exp(od * np.float32(-np.log(10) * scanner.gamma))
    light = (light * np.array(scanner.white, np.float32)).reshape(*tissue.dab.shape, 3)
    sigma = scanner.blur_um / tissue.mpp
    if sigma > 0.1:
        light = gaussian_filter(light, (sigma, sigma, 0), truncate=2.5)
    if scanner.sharpen:
        light += np.float32(scanner.sharpen) * (light - gaussian_filter(light, (1, 1, 0), truncate=2.0))
    shape = (light.shape[0], light.shape[1])
    if scanner.shade:
        light += np.float32(scanner.shade) * smooth_noise(rng, shape, 0.4 * max(shape))[..., None]
    if scanner.noise:
        light += np.float32(scanner.noise) * rng.standard_normal(light.shape, dtype=np.float32)
    picture: npt.NDArray[np.uint8] = np.clip(light + np.float32(0.5), 0, 255).astype(np.uint8)
    if scanner.jpeg_quality is None:
        return picture
    coded = imagecodecs.jpeg8_encode(picture, level=scanner.jpeg_quality, subsampling="420")
    decoded: npt.NDArray[np.uint8] = imagecodecs.jpeg8_decode(coded)
    return decoded
