"""Pictures of cores for reports, as JPEG within the page."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt

from napari_her2.colours import SCORE_COLOURS
from napari_her2.cores import Core
from napari_her2.heatmap import Heatmap
from napari_her2.scores import SCORES
from napari_her2.slide import Slide

__all__ = ["data_url", "heat_over", "thumbnail"]

_THUMBNAIL = 168
_JPEG_QUALITY = 82


def thumbnail(slide: Slide, core: Core) -> npt.NDArray[np.uint8]:
    """The square around a core, uint8, shape (`_THUMBNAIL`, `_THUMBNAIL`, 3)."""
    from PIL import Image

    y0, x0, y1, x1 = core.box
    level = slide.level_for(max(1.0, core.diameter / _THUMBNAIL))
    down = slide.downsamples[level]
    block = slide.read(
        level, round(y0 / down), round(x0 / down), max(1, round((y1 - y0) / down)), max(1, round((x1 - x0) / down))
    )
    image = Image.fromarray(block).resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(image)


def heat_over(heatmap: Heatmap, core: Core, thumbnail: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The heatmap over the grey core: between the colours of the scores, as high as the expected score."""
    y0, x0, y1, x1 = core.box
    steps = (np.arange(_THUMBNAIL) + 0.5) / _THUMBNAIL
    i = ((y0 + steps * (y1 - y0)) // heatmap.stride).astype(np.intp)
    j = ((x0 + steps * (x1 - x0)) // heatmap.stride).astype(np.intp)
    h, w = heatmap.image.shape
    values = heatmap.image[np.clip(i, 0, h - 1)[:, None], np.clip(j, 0, w - 1)]
    inside = ((i >= 0) & (i < h))[:, None] & ((j >= 0) & (j < w))
    grey = thumbnail.mean(axis=2)
    out = np.repeat(0.6 * grey[..., None] + 0.4 * 240, 3, axis=2)
    drawn = inside & np.isfinite(values)
    stops = np.array([[int(SCORE_COLOURS[s][k : k + 2], 16) for k in (1, 3, 5)] for s in SCORES], float)
    colour = np.stack([np.interp(values[drawn], range(4), stops[:, c]) for c in range(3)], axis=-1)
    out[drawn] = 0.6 * colour + 0.4 * grey[drawn, None]
    return np.asarray(np.clip(np.rint(out), 0, 255), np.uint8)


def data_url(picture: npt.NDArray[np.uint8], *, fine: bool = False) -> str:
    """A picture, uint8 (y, x, 3), as JPEG within a page; `fine` keeps the colour of thin lines, at twice the size."""
    from PIL import Image

    buffer = io.BytesIO()
    how = {"quality": 92, "subsampling": 0} if fine else {"quality": _JPEG_QUALITY}
    Image.fromarray(picture).save(buffer, "JPEG", optimize=True, **how)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
