"""Pictures of one core for its page: the whole of it, each stain alone, and a square at full resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_her2.cores import Core
from napari_her2.membrane.field import CellField
from napari_her2.membrane.measurement import MPP
from napari_her2.slide import RGB, Slide
from napari_her2.square import read_square
from napari_her2.stain import Stains, unmix
from napari_her2.stain.shades import paint_stain

__all__ = ["CorePictures", "core_pictures", "field_picture", "outline_path", "scale_bar"]

#: Pixels across a picture of the whole core, at most: as many as a third of an A4 page prints.
_ACROSS = 760
#: Rows of a picture that are unmixed at a time, to hold little memory.
_ROWS = 16


@dataclass(frozen=True)
class CorePictures:
    """A core three times, each uint8 of shape (rows, columns, 3) over the same square.

    Attributes
    ----------
    whole, hematoxylin, dab : ndarray of uint8
        As it is; the mean density of each stain alone.
    height_um, width_um : float
        Of the square in µm.
    """

    whole: RGB
    hematoxylin: RGB
    dab: RGB
    height_um: float
    width_um: float


def core_pictures(slide: Slide, core: Core, stains: Stains) -> CorePictures:
    """Draw a core. Stains are unmixed at the resolution of the measurement before they are made small.

    Raises
    ------
    SlideError
        If the slide cannot be read there.
    PixelSizeError
        If its pixel size is unknown.
    """
    from PIL import Image

    mpp = slide.require_mpp()
    block = read_square(slide, core, MPP / mpp)
    factor = max(1, -(-max(block.shape[:2]) // _ACROSS))
    y0, x0, y1, x1 = core.box
    um = mpp * (y1 - y0) / block.shape[0], mpp * (x1 - x0) / block.shape[1]
    # pixels at the lower and right border that fill no square are left out
    block = block[: block.shape[0] // factor * factor, : block.shape[1] // factor * factor]
    return CorePictures(
        np.asarray(Image.fromarray(block).reduce(factor)),
        *_stains_alone(block, stains, factor),
        height_um=um[0] * block.shape[0],
        width_um=um[1] * block.shape[1],
    )


def _stains_alone(block: RGB, stains: Stains, factor: int) -> tuple[RGB, RGB]:
    strips: tuple[list[npt.NDArray[np.float32]], ...] = ([], [])
    for top in range(0, len(block), _ROWS * factor):
        for amount, strip in zip(unmix(block[top : top + _ROWS * factor], stains), strips, strict=True):
            squares = amount.reshape(-1, factor, amount.shape[1] // factor, factor)
            strip.append(squares.mean(axis=(1, 3)))
    h, d = (np.concatenate(strip) for strip in strips)
    return paint_stain(h, stains, "hematoxylin"), paint_stain(d, stains, "dab")


def field_picture(slide: Slide, field: CellField) -> RGB:
    """The pixels of a square at full resolution; shape (n, n, 3)."""
    side = max(1, round(field.side))
    return slide.read(0, round(field.y), round(field.x), side, side)


def outline_path(field: CellField, cls: int) -> str:
    """The outlines of the cells of a class as an SVG path in µm from the corner of the square."""
    cells = field.outlines[field.cls == cls].tolist()
    return "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for y, x in cell) + "Z" for cell in cells)


def scale_bar(width_um: float) -> int:
    """A round length in µm, at most a quarter of what a picture shows (and at least 1)."""
    step = 10 ** int(np.floor(np.log10(max(4.0, width_um) / 4)))
    return int(max(k * step for k in (1, 2, 5) if k * step * 4 <= max(4.0, width_um)))
