"""Pyramid sampling: a core as patches at several magnifications, and where each patch lies.

The published set (Selcuk et al. 2024, doi 10.34133/bmef.0048) is the default: 40 patches of 512 x 512 pixels at full
resolution, 10 at half resolution, and the whole core resized to 512 x 512.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_her2.cores import Core
from napari_her2.slide import GLASS, RGB, Slide
from napari_her2.square import MASK_STEP, in_disc, read_square
from napari_her2.stain import divide_white, tissue_mask

__all__ = ["LevelSpec", "PyramidSample", "PyramidSpec", "core_rng", "sample", "tiles"]


@dataclass(frozen=True)
class LevelSpec:
    """How many patches one magnification gives.

    Attributes
    ----------
    count : int
        Patches drawn.
    downsample : float
        Relative to the full resolution of the set (1 is full, 2 is half); 0 is the whole core in one patch.
    """

    count: int
    downsample: float


@dataclass(frozen=True)
class PyramidSpec:
    """What a pyramid-sampling set consists of.

    Attributes
    ----------
    mpp : float
        µm per pixel that "full resolution" stands for; a slide with another pixel size is resampled.
    patch : int
        Side of every patch in pixels.
    levels : tuple of LevelSpec
        From fine to coarse.
    """

    mpp: float = 0.5
    patch: int = 512
    levels: tuple[LevelSpec, ...] = (LevelSpec(40, 1.0), LevelSpec(10, 2.0), LevelSpec(1, 0.0))


@dataclass(frozen=True)
class PyramidSample:
    """The patches of one core.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (n, patch, patch, 3)
        RGB, with the glass of the slide brought to white.
    level : ndarray of int, shape (n,)
        Index into ``spec.levels``, ascending.
    y, x : ndarray of float64, shape (n,)
        Top left corner of each patch in level-0 pixels of the slide.
    size : ndarray of float64, shape (n,)
        Side of each patch in level-0 pixels.
    tissue : ndarray of bool, shape (rows, columns)
        What of the core is tissue, inside its disc.
    tissue_step : float
        Side of a pixel of `tissue` in level-0 pixels; its first pixel begins at `origin`.
    origin : tuple of float
        (y, x) of the top left corner of the block, in level-0 pixels.
    """

    pixels: RGB
    level: npt.NDArray[np.intp]
    y: npt.NDArray[np.float64]
    x: npt.NDArray[np.float64]
    size: npt.NDArray[np.float64]
    tissue: npt.NDArray[np.bool_] = field(repr=False)
    tissue_step: float
    origin: tuple[float, float]

    @property
    def tissue_fraction(self) -> float:
        """Share of the core's disc that is tissue, 0..1."""
        radius = min(self.tissue.shape) / 2
        return float(min(1.0, self.tissue.sum() / max(1.0, np.pi * radius**2)))

    def in_tissue(self, y: npt.NDArray[np.floating], x: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
        """Whether places given in level-0 pixels lie in the core's tissue."""
        i = np.floor((y - self.origin[0]) / self.tissue_step).astype(np.intp)
        j = np.floor((x - self.origin[1]) / self.tissue_step).astype(np.intp)
        rows, columns = self.tissue.shape
        inside = (i >= 0) & (i < rows) & (j >= 0) & (j < columns)
        return np.asarray(inside & self.tissue[i.clip(0, rows - 1), j.clip(0, columns - 1)])


def core_rng(slide: Slide, core: Core, seed: int = 0) -> np.random.Generator:
    """Random numbers that depend on the slide and the core alone, not on order, batch, device or layer names."""
    y0, x0, y1, x1 = core.box
    words = f"{slide.shape}|{y0},{x0},{y1},{x1}|{seed}"
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "big"))


def sample(
    slide: Slide,
    core: Core,
    spec: PyramidSpec,
    *,
    white: npt.ArrayLike = (255, 255, 255),
    seed: int = 0,
    out: RGB | None = None,
) -> PyramidSample:
    """Draw the pyramid-sampling set of a core.

    The block of pixels under the core is read once, at the level nearest to the full resolution of the set, and every
    magnification is made from it, so that the set does not depend on how the scanner built its pyramid. Patches are
    centred on tissue: the tissue is walked in Morton order and one centre is drawn from each of `count` equal
    stretches, which spreads the patches over the core better than independent draws.

    Parameters
    ----------
    slide : Slide
        With a known pixel size.
    core : Core
    spec : PyramidSpec
    white : array-like, shape (3,)
        Glass of the slide, from `stain.white_point`.
    seed : int
        Another seed draws other patches.
    out : ndarray of uint8, optional
        The pixels of another core, no longer needed: written over where they are as many. New memory is dear beside
        a network that runs.

    Returns
    -------
    PyramidSample
        With no patches when the core has no tissue.

    Raises
    ------
    PixelSizeError
        If the pixel size of the slide is unknown.
    SlideError
        If the slide cannot be read there.
    """
    zoom = spec.mpp / slide.require_mpp()  # level-0 pixels per pixel of the full-resolution block
    block = divide_white(_read_block(slide, core, zoom), white)
    pictures = _Smaller(block)
    y0, x0, _, _ = core.box
    mask = _tissue_in_disc(pictures)
    rng = core_rng(slide, core, seed)
    centres = _morton_order(mask)
    level = np.repeat(np.arange(len(spec.levels)), [part.count if len(centres) else 0 for part in spec.levels])
    pixels = out if out is not None and len(out) == len(level) else _no_pixels(len(level), spec)
    places: list[tuple[float, float, float]] = []
    for part in spec.levels if len(centres) else ():
        whole = part.downsample == 0
        factor = max(1.0, max(block.shape) / spec.patch) if whole else part.downsample
        picture = pictures.by(factor)
        for cy, cx in _draw(centres, part.count, rng):
            top, left = (0, 0) if whole else _corner(cy / factor, cx / factor, picture.shape, spec.patch)
            _cut(picture, top, left, pixels[len(places)])
            places.append((y0 + top * factor * zoom, x0 + left * factor * zoom, spec.patch * factor * zoom))
    return _as_sample(pixels, level, places, mask, zoom, core)


def tiles(
    slide: Slide,
    core: Core,
    spec: PyramidSpec,
    *,
    white: npt.ArrayLike = (255, 255, 255),
    margin: int = 32,
    batch: int = 8,
) -> Iterator[tuple[PyramidSample, float]]:
    """Patches at full resolution over every bit of a core's tissue, a few at a time.

    Parameters
    ----------
    slide, core, spec, white
        See `sample`.
    margin : int
        Pixels along the border of each patch that its neighbour shows as well: a network sees less far there.
    batch : int
        Patches that are held at a time, at most.

    Yields
    ------
    patches : PyramidSample
        All of the first level.
    done : float
        Share of the core's patches that have come, 0..1.

    Raises
    ------
    PixelSizeError, SlideError
        See `sample`.
    """
    zoom = spec.mpp / slide.require_mpp()
    block = divide_white(_read_block(slide, core, zoom), white)
    y0, x0, _, _ = core.box
    mask = _tissue_in_disc(_Smaller(block))
    inner = spec.patch - 2 * margin
    i, j = (at * MASK_STEP // inner for at in np.nonzero(mask))
    corners = [(int(r) * inner - margin, int(c) * inner - margin) for r, c in np.unique(np.stack([i, j]), axis=1).T]
    for start in range(0, len(corners), batch):
        some = corners[start : start + batch]
        places = [(y0 + top * zoom, x0 + left * zoom, spec.patch * zoom) for top, left in some]
        pixels = _no_pixels(len(some), spec)
        for out, (top, left) in zip(pixels, some, strict=True):
            _cut(block, top, left, out)
        patches = _as_sample(pixels, np.zeros(len(some), np.intp), places, mask, zoom, core)
        yield patches, (start + len(some)) / len(corners)


def _no_pixels(count: int, spec: PyramidSpec) -> RGB:
    """Room for so many patches."""
    return np.empty((count, spec.patch, spec.patch, 3), np.uint8)


def _as_sample(
    pixels: RGB,
    level: npt.NDArray[np.intp],
    places: list[tuple[float, float, float]],
    mask: npt.NDArray[np.bool_],
    zoom: float,
    core: Core,
) -> PyramidSample:
    table = np.array(places, np.float64).reshape(-1, 3)
    y0, x0, _, _ = core.box
    return PyramidSample(
        pixels=pixels,
        level=level,
        y=table[:, 0],
        x=table[:, 1],
        size=table[:, 2],
        tissue=mask,
        tissue_step=MASK_STEP * zoom,
        origin=(float(y0), float(x0)),
    )


def _read_block(slide: Slide, core: Core, zoom: float) -> RGB:
    """The square under the core, read at the level at least as fine as wanted and brought to the zoom wanted."""
    y0, x0, y1, x1 = core.box
    height, width = max(1, round((y1 - y0) / zoom)), max(1, round((x1 - x0) / zoom))
    square = read_square(slide, core, zoom)
    return (
        square if square.shape[:2] == (height, width) else np.asarray(_resize(Image.fromarray(square), height, width))
    )


def _resize(picture: Image.Image, height: int, width: int) -> Image.Image:
    if picture.size == (width, height):
        return picture
    return picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)


class _Smaller:
    """The block of a core at any coarser magnification. Half of it, the mean of four pixels, serves all far coarser."""

    def __init__(self, block: RGB) -> None:
        self._block = block
        self._whole = Image.fromarray(block)
        self._half = self._whole.reduce(2)

    def by(self, factor: float) -> RGB:
        if factor == 1:
            return self._block
        if factor == 2:
            return np.asarray(self._half)
        height, width = (max(1, round(side / factor)) for side in self._block.shape[:2])
        return np.asarray(_resize(self._half if factor >= 4 else self._whole, height, width))


def _tissue_in_disc(block: _Smaller) -> npt.NDArray[np.bool_]:
    mask = tissue_mask(block.by(MASK_STEP))
    return np.asarray(mask & in_disc(mask.shape))


def _morton_order(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Centres of the tissue pixels of a mask, in pixels of the block, along a Z-order curve; shape (n, 2)."""
    bits = (max(mask.shape) - 1).bit_length()
    side = 2**bits
    # with an axis for each bit of row and column, the curve through the square takes the axes in turn
    axes = [axis for bit in range(bits) for axis in (bit, bits + bit)]
    curve = np.arange(side * side).reshape((2,) * (2 * bits)).transpose(axes).ravel()
    square = np.zeros((side, side), bool)
    square[: mask.shape[0], : mask.shape[1]] = mask
    curve = curve[square.ravel()[curve]]
    return np.asarray((np.stack([curve // side, curve % side], axis=1) + 0.5) * MASK_STEP, np.float64)


def _draw(centres: npt.NDArray[np.float64], count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """One centre from each of `count` equal stretches; none when there is no tissue."""
    if not len(centres):
        return np.empty((0, 2))
    at = (np.arange(count) + rng.random(count)) / count * len(centres)
    jitter = rng.uniform(-MASK_STEP / 2, MASK_STEP / 2, (count, 2))
    return np.asarray(centres[at.astype(np.intp).clip(0, len(centres) - 1)] + jitter)


def _corner(cy: float, cx: float, shape: tuple[int, ...], patch: int) -> tuple[int, int]:
    """Top left corner of a patch about a centre, pushed inside the picture where the picture is large enough."""
    corner = []
    for centre, length in ((cy, shape[0]), (cx, shape[1])):
        start = round(centre - patch / 2)
        corner.append(min(max(start, 0), length - patch) if length >= patch else (length - patch) // 2)
    return corner[0], corner[1]


def _cut(picture: RGB, top: int, left: int, out: RGB) -> None:
    """Fill a square patch from the picture; what lies outside is glass."""
    h, w = picture.shape[:2]
    side = len(out)
    ya, yb, xa, xb = max(0, top), min(h, top + side), max(0, left), min(w, left + side)
    if (yb - ya, xb - xa) != (side, side):
        out[:] = GLASS
    out[ya - top : yb - top, xa - left : xb - left] = picture[ya:yb, xa:xb]
