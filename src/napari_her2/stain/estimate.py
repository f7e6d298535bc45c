"""estimate_stains: glass, haematoxylin and DAB of a slide from its own tissue.

Each stain is looked for where the other is scarce: haematoxylin in nuclei that carry the least brown, DAB in brown that
carries the least blue. A factorisation of all pixels at once (PCA, NMF) fails where there is next to no brown: it makes
a DAB vector of noise and dust. Where a stain is scarce its vector stays near the default, and `Stains` says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_her2.errors import SlideError
from napari_her2.slide import RGB, Slide
from napari_her2.stain.density import optical_density, tissue_mask, white_point
from napari_her2.stain.vectors import QUPATH_DAB, QUPATH_HEMATOXYLIN, Stains, angle, as_vector, unit

__all__ = ["estimate_stains", "sample_tissue"]

FloatArray = npt.NDArray[np.floating]

#: µm per pixel that stains are looked at with; coarser, a membrane blends with the nuclei beside it.
_MPP = 0.5
#: Side of the squares read from a slide in pixels, and how many: spread over its tissue, and where it is brownest.
_SQUARE, _SPREAD, _BROWNEST = 320, 20, 8
_OVERVIEW = 1536
#: Summed OD from which a pixel has a colour to speak of.
_COLOURED = 0.06
#: DAB (OD) that is brown beyond noise, compression and counterstain.
_BROWN = 0.15
#: Share of the nuclear pixels with the least brown, and of the brown pixels with the least blue, that give the vectors:
#: on 24 generated cores of as many scanners they come within 0.9 and 1.5 degrees (defaults: 6.5 and 5.4).
_LEAST_BROWN, _LEAST_BLUE = 30.0, 10.0
#: Pixels at which a measured vector weighs as much as the default.
_HALF_SURE = 400
#: Degrees from the default beyond which a vector is dust, pen or another stain, not a scanner's way of seeing.
_FARTHEST = 15.0


def estimate_stains(source: Slide | RGB | Sequence[RGB], *, white: npt.ArrayLike | None = None) -> Stains:
    """Colours of a slide, estimated from its own tissue.

    Parameters
    ----------
    source : Slide, ndarray of uint8 with shape (y, x, 3), or sequence of such arrays
        A slide is sampled: about 28 squares of tissue at 0.5 µm/px. Pictures should have 0.25 to 0.7 µm per pixel.
    white : array-like, shape (3,), optional
        Glass, where it is known; else it is found on the slide's overview or on the pictures.

    Returns
    -------
    Stains
        Vectors that could not be measured are QuPath's defaults; `Stains.warnings` says so.

    Raises
    ------
    SlideError
        If the slide cannot be read.
    """
    if isinstance(source, Slide):
        glass = white_point(source.overview(_OVERVIEW)[0]) if white is None else np.asarray(white, float)
        pictures = sample_tissue(source, glass)
    else:
        pictures = [source] if isinstance(source, np.ndarray) else list(source)
        glass = white_point(_beside(pictures)) if white is None else np.asarray(white, float)
    return _from_density(_coloured(pictures, glass), glass)


def sample_tissue(slide: Slide, white: npt.ArrayLike) -> list[RGB]:
    """Squares of tissue at about 0.5 µm/px, spread over the slide and where it is brownest."""
    overview, down = slide.overview(_OVERVIEW)
    density = ndimage.uniform_filter(optical_density(overview, white), (3, 3, 1))
    rows, columns = np.nonzero(tissue_mask(overview, white))
    if not len(rows):
        return []
    brown = (density[..., 2] - density[..., 0])[rows, columns]
    spread = np.linspace(0, len(rows) - 1, _SPREAD).astype(int)
    # the very brownest pixels are dirt: go down the list in steps
    browner = np.argsort(-brown)[:: max(1, len(brown) // 400)][1 : _BROWNEST + 1]
    zoom = max(1.0, _MPP / slide.mpp) if slide.mpp else 1.0
    level = slide.level_for(zoom)
    factor = max(1, round(zoom / slide.downsamples[level]))
    side = _SQUARE * factor
    squares = []
    for k in dict.fromkeys([*spread.tolist(), *browner.tolist()]):
        y, x = ((int(n) + 0.5) * down / slide.downsamples[level] for n in (rows[k], columns[k]))
        try:
            block = slide.read(level, int(y - side / 2), int(x - side / 2), side, side)
        except SlideError:
            continue  # a damaged place must not cost the whole slide
        squares.append(block.reshape(_SQUARE, factor, _SQUARE, factor, 3).mean((1, 3)).astype(np.uint8))
    return squares


def _beside(pictures: Sequence[RGB]) -> RGB:
    """One picture of all, for the glass: pixels in a row of columns will do."""
    if len(pictures) == 1:
        return pictures[0]
    height = min(p.shape[0] for p in pictures)
    return np.concatenate([p[:height, :, :3] for p in pictures], axis=1)


def _coloured(pictures: Sequence[RGB], white: npt.ArrayLike) -> FloatArray:
    """OD of the coloured pixels, blurred over 3 pixels since the colour of JPEG is coarse; at most 2 million."""
    parts = []
    for picture in pictures:
        light = ndimage.uniform_filter(picture[..., :3].astype(np.float32), (3, 3, 1))
        density = -np.log10(np.maximum(light, 1) / np.asarray(white, np.float32)).reshape(-1, 3)
        parts.append(density[density.sum(axis=1) > _COLOURED])
    all_of_them = np.concatenate(parts) if parts else np.empty((0, 3), np.float32)
    return all_of_them[:: max(1, len(all_of_them) // 2_000_000)]


def _from_density(density: FloatArray, white: FloatArray) -> Stains:
    warnings = []
    blue, blue_sure = np.array(QUPATH_HEMATOXYLIN), 0.0
    brown, brown_sure = np.array(QUPATH_DAB), 0.0
    h, d = _unmix(density, blue, brown)
    if len(h):
        nuclear = (h > np.percentile(h, 85)) & (d < 0.6 * h)
        blue, blue_sure = _direction(density[nuclear], (d / np.maximum(h, 1e-3))[nuclear], _LEAST_BROWN, blue)
        h, d = _unmix(density, blue, brown)
        strong = (d > _BROWN) & (h < 0.5 * d)
        brown, brown_sure = _direction(density[strong], (h / np.maximum(d, 1e-3))[strong], _LEAST_BLUE, brown)
    if blue_sure < 0.5:
        warnings.append("Haematoxylin could not be measured on this slide: QuPath's default stands in for it.")
    if brown_sure < 0.5:
        warnings.append("DAB is scarce on this slide: its colour is near QuPath's default, not measured.")
    if angle(blue, brown) < 25:
        warnings.append("Haematoxylin and DAB look much alike on this slide: unmixing will be noisy.")
    glass = as_vector(np.asarray(white, np.float64))
    return Stains(glass, as_vector(blue), as_vector(brown), blue_sure, brown_sure, tuple(warnings), "estimated")


def _unmix(density: FloatArray, blue: FloatArray, brown: FloatArray) -> tuple[FloatArray, FloatArray]:
    amounts = density @ np.linalg.pinv(np.array([blue, brown]).T).T.astype(np.float32)
    return amounts[:, 0], amounts[:, 1]


def _direction(density: FloatArray, other: FloatArray, share: float, default: FloatArray) -> tuple[FloatArray, float]:
    """Median direction of the `share` percent of pixels with the least of the other stain, drawn to the default.

    Returns
    -------
    vector : ndarray, shape (3,)
    sure : float
        Weight of what was measured, 0..1.
    """
    if len(density) < 50:
        return default, 0.0
    pure = density[other <= np.percentile(other, share)].astype(float)
    found = unit(np.median(pure / np.linalg.norm(pure, axis=1, keepdims=True), axis=0))
    if angle(found, default) > _FARTHEST:
        return default, 0.0
    sure = len(density) / (len(density) + _HALF_SURE)
    return unit(sure * found + (1 - sure) * default), sure
