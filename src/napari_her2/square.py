"""The square under a core, which network and measurement share: how it is read, what of it lies in the disc."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_her2.cores import Core
from napari_her2.slide import RGB, Slide

__all__ = ["MASK_STEP", "in_disc", "read_square"]

#: Pixels of a core, at 0.5 µm each, per pixel of its tissue mask: 4 µm, so that pale tissue stays whole.
MASK_STEP = 8
#: Tissue this far outside the nominal disc, as a share of its radius, still belongs to the core.
_REACH = 1.05


def read_square(slide: Slide, core: Core, zoom: float) -> RGB:
    """The square under a core as the level gives it that is at least as fine as `zoom` (level-0 pixels per pixel).

    Returns
    -------
    ndarray of uint8, shape (y, x, 3)

    Raises
    ------
    SlideError
        If the slide cannot be read there.
    """
    level = slide.level_for(zoom)
    down = slide.downsamples[level]
    y0, x0, y1, x1 = core.box
    return slide.read(level, round(y0 / down), round(x0 / down), round((y1 - y0) / down), round((x1 - x0) / down))


def in_disc(shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Which pixels of a mask of the square, shape (rows, columns), belong to the disc."""
    i, j = np.ogrid[: shape[0], : shape[1]]
    y, x = (i + 0.5) / shape[0] - 0.5, (j + 0.5) / shape[1] - 0.5
    return np.asarray(y**2 + x**2 <= (_REACH / 2) ** 2)
