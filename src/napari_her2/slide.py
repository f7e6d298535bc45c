"""Slide: a pyramid of RGB pixels with a pixel size, from a file or from the arrays of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_her2.errors import PixelSizeError, SlideError
from napari_her2.slide_files import MAX_MPP, MIN_MPP, check_rgb, open_levels

__all__ = ["MAX_MPP", "MIN_MPP", "Slide", "check_mpp"]

RGB = npt.NDArray[np.uint8]

#: Rows of level 0 read at a time when a slide has no small level to look at.
_STRIP_PIXELS = 32_000_000
GLASS = 255
#: Side of the squares, in pixels, in which a damaged level is looked through.
_SALVAGED = 512


def check_mpp(mpp: float, where: str) -> float:
    """Return `mpp` (µm per pixel), or say why it cannot be true.

    Raises
    ------
    PixelSizeError
        If it is not between `MIN_MPP` and `MAX_MPP`.
    """
    if not MIN_MPP <= mpp <= MAX_MPP:
        raise PixelSizeError(
            f"A pixel size of {mpp:g} µm for {where} cannot be right: "
            f"brightfield slides have {MIN_MPP:g} to {MAX_MPP:g} µm per pixel (typically 0.25 or 0.5)."
        )
    return float(mpp)


@dataclass(frozen=True)
class Slide:
    """A brightfield RGB slide: levels from fine to coarse.

    Make one with `Slide.open` (file) or `Slide.from_arrays` (layer data).

    Attributes
    ----------
    name : str
        File name without the image extension, or the name of the layer.
    levels : tuple of array-like, each of shape (y, x, 3 or 4) and dtype uint8
        Anything that gives a numpy array when sliced: zarr, dask or numpy. Level 0 is the finest.
    mpp : float or None
        Micrometres per pixel at level 0; None when nobody knows.
    mpp_source : str
        Where `mpp` comes from, for the user to judge: "OME-XML", "Aperio MPP", "given", ...
    path : Path or None
        The file, if the slide came from one.
    """

    name: str
    levels: tuple[Any, ...]
    mpp: float | None = None
    mpp_source: str = ""
    path: Path | None = None

    @classmethod
    def open(cls, path: str | Path, *, mpp: float | None = None) -> Slide:
        """Open an image file without reading its pixels (PNG and JPEG are read whole).

        Parameters
        ----------
        path : str or Path
            Whole-slide TIFF (SVS, NDPI, SCN, BIF, QPTIFF, OME-TIFF, plain TIFF), PNG or JPEG.
        mpp : float, optional
            Pixel size in µm at level 0; stands above what the file says.

        Raises
        ------
        SlideError
            If the file is missing, damaged, not an image, or not an 8-bit RGB brightfield image.
        PixelSizeError
            If `mpp` is given and cannot be true.
        """
        path = Path(path)
        opened = open_levels(path)
        slide = cls(opened.name, opened.levels, opened.mpp, opened.mpp_source, path)
        return slide if mpp is None else slide.with_mpp(mpp, "given")

    @classmethod
    def from_arrays(
        cls,
        levels: Any | Sequence[Any],
        *,
        name: str = "image",
        mpp: float | None = None,
        mpp_source: str = "",
        path: Path | None = None,
    ) -> Slide:
        """Make a slide of an array or of a sequence of arrays from fine to coarse.

        Raises
        ------
        SlideError
            If the arrays are not 8-bit RGB (or RGBA) pictures in axis order (y, x, channel).
        """
        if hasattr(levels, "shape") and hasattr(levels, "dtype"):
            levels = (levels,)
        levels = tuple(levels)
        if not levels:
            raise SlideError(f"{name} holds no image: open a slide first.")
        for level in levels:
            check_rgb(level.shape, level.dtype, name)
        levels = tuple(sorted(levels, key=lambda a: -int(a.shape[0])))
        return cls(name, levels, None if mpp is None else check_mpp(mpp, name), mpp_source, path)

    def with_mpp(self, mpp: float, source: str = "given") -> Slide:
        """The same slide with another pixel size (µm at level 0)."""
        return replace(self, mpp=check_mpp(mpp, self.name), mpp_source=source)

    def require_mpp(self) -> float:
        """Pixel size in µm at level 0.

        Raises
        ------
        PixelSizeError
            If it is unknown.
        """
        if self.mpp is None:
            raise PixelSizeError(
                f"{self.name} does not say its pixel size, which scoring needs: give it in µm per pixel "
                "(--pixel-size on the command line, the pixel size box in the viewer)."
            )
        return self.mpp

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of level 0 in pixels."""
        h, w = self.levels[0].shape[:2]
        return int(h), int(w)

    @property
    def downsamples(self) -> tuple[float, ...]:
        """Factor of each level: level-0 pixels per pixel of the level."""
        h, w = self.shape
        return tuple((h / lv.shape[0] + w / lv.shape[1]) / 2 for lv in self.levels)

    def level_for(self, downsample: float) -> int:
        """The coarsest level that is at least as fine as `downsample` (within 2 %)."""
        fitting = [i for i, d in enumerate(self.downsamples) if d <= downsample * 1.02]
        return fitting[-1] if fitting else 0

    def read(self, level: int, y0: int, x0: int, height: int, width: int) -> RGB:
        """Pixels of one rectangle of one level, in one piece.

        Parameters
        ----------
        level : int
            Index into `levels`.
        y0, x0, height, width : int
            In pixels of that level. May leave the slide: what lies outside comes back white.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)

        Raises
        ------
        SlideError
            If the file cannot be decoded there.
        """
        array = self.levels[level]
        h, w = int(array.shape[0]), int(array.shape[1])
        out = np.full((height, width, 3), GLASS, np.uint8)
        ya, yb, xa, xb = max(0, y0), min(h, y0 + height), max(0, x0), min(w, x0 + width)
        if ya < yb and xa < xb:
            try:
                block = np.asarray(array[ya:yb, xa:xb])
            except MemoryError:
                raise
            except Exception as error:  # decoders raise whatever they like; the user needs the place
                raise SlideError(
                    f"{self.name} cannot be read around x {xa}, y {ya} of level {level} "
                    f"({type(error).__name__}: {error}): the file is damaged there, or out of reach."
                ) from error
            out[ya - y0 : yb - y0, xa - x0 : xb - x0] = block[..., :3]
        return out

    def overview(self, max_side: int = 2048) -> tuple[RGB, float]:
        """The whole slide, small enough to hold.

        Parameters
        ----------
        max_side : int
            Longest side of the answer in pixels, at most.

        Returns
        -------
        picture : ndarray of uint8, shape (y, x, 3)
        downsample : float
            Level-0 pixels per pixel of the picture. Pixel (i, j) of the picture covers level-0 rows
            ``i * downsample`` to ``(i + 1) * downsample``.
        """
        h, w = self.shape
        level = self.level_for(max(1.0, max(h, w) / max_side))
        # squares of whole pixels come out smaller than asked for, so that a coarser level may hold as much
        level = self.level_for(self._times(level, max_side) * self.downsamples[level])
        factor = self._times(level, max_side)
        lh, lw = (int(n) for n in self.levels[level].shape[:2])
        rows = max(1, _STRIP_PIXELS // max(1, lw) // factor) * factor
        strips = [_block_mean(self._salvage(level, y, 0, min(rows, lh - y), lw), factor) for y in range(0, lh, rows)]
        return np.concatenate(strips), factor * self.downsamples[level]

    def _times(self, level: int, max_side: int) -> int:
        """How many pixels of a level side by side make one of an overview."""
        return max(1, int(np.ceil(max(self.levels[level].shape[:2]) / max_side)))

    def _salvage(self, level: int, y0: int, x0: int, height: int, width: int) -> RGB:
        """Like `read`, but squares that cannot be decoded come back white: they must not cost the whole slide."""
        try:
            return self.read(level, y0, x0, height, width)
        except SlideError:
            if max(height, width) <= _SALVAGED:
                return np.full((height, width, 3), GLASS, np.uint8)
        picture = np.empty((height, width, 3), np.uint8)
        for y in range(0, height, _SALVAGED):
            for x in range(0, width, _SALVAGED):
                h, w = min(_SALVAGED, height - y), min(_SALVAGED, width - x)
                picture[y : y + h, x : x + w] = self._salvage(level, y0 + y, x0 + x, h, w)
        return picture


def _block_mean(picture: RGB, factor: int) -> RGB:
    """Mean over squares of `factor` pixels; the last row and column may stand on fewer pixels."""
    if factor == 1:
        return picture
    h, w = picture.shape[:2]
    if h % factor or w % factor:
        picture = np.pad(picture, ((0, -h % factor), (0, -w % factor), (0, 0)), mode="edge")
    # 16 bits hold the sum of 16 x 16 pixels
    kind = np.uint16 if factor <= 16 else np.uint32
    # rows first, as contiguous additions, then channel by channel: 10 times faster than one sum over blocks
    total = np.zeros((len(picture) // factor, *picture.shape[1:]), kind)
    for i in range(factor):
        total += picture[i::factor]
    out = np.empty((total.shape[0], total.shape[1] // factor, 3), np.uint8)
    for channel in range(3):
        across = total[:, ::factor, channel].copy()
        for j in range(1, factor):
            across += total[:, j::factor, channel]
        out[..., channel] = across // kind(factor * factor)
    return out
