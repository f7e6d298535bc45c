"""The reader of slides: a lazy multiscale RGB layer, in micrometres when the file knows its pixel size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np

from napari_her2.slide import Slide
from napari_her2.slide_files import SLIDE_SUFFIXES

__all__ = ["get_reader", "layer_of_slide", "read_slides"]

LayerData = tuple[Any, dict[str, Any], str]

#: Pixels on a side of what is decoded at a time, at least; a whole number of the file's own tiles.
_CHUNK = 1024
#: A slide of one level larger than this gets a small second one, or each zoom would read all of it.
_MAX_FLAT = 8192
_OVERVIEW = 2048


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """The reader, when every path has the ending of a slide; nothing is opened yet."""
    paths = [path] if isinstance(path, str) else path
    return read_slides if all(str(p).lower().endswith(SLIDE_SUFFIXES) for p in paths) else None


def read_slides(path: str | list[str]) -> list[LayerData]:
    """Open slides, one layer each.

    Raises
    ------
    SlideError
        If a file is damaged or not a brightfield RGB image.
    """
    return [layer_of_slide(Slide.open(p)) for p in ([path] if isinstance(path, str | Path) else path)]


def layer_of_slide(slide: Slide) -> LayerData:
    """Arguments of the image layer that shows a slide.

    Returns
    -------
    levels : dask array of uint8, or list of them from fine to coarse, each (y, x, 3 or 4)
    arguments : dict
        Of `napari.layers.Image`; scale and units are in micrometres when the pixel size is known.
    kind : str
        ``"image"``.
    """
    levels = [_lazy(level) for level in slide.levels]
    if len(levels) == 1 and max(slide.shape) > _MAX_FLAT:
        levels.append(_lazy_overview(slide))
    arguments: dict[str, Any] = {
        "name": slide.name,
        "rgb": True,
        "multiscale": len(levels) > 1,
        "axis_labels": ("y", "x"),
        "metadata": {"pixel_size_um": slide.mpp, "pixel_size_source": slide.mpp_source},
    }
    if slide.mpp is not None:
        arguments |= {"scale": (slide.mpp, slide.mpp), "units": ("um", "um")}
    return (levels if len(levels) > 1 else levels[0]), arguments, "image"


def _lazy(level: Any) -> da.Array:
    # plain zarr decodes the tiles of a view again at each move of the mouse; dask asks for whole tiles, once
    tile = getattr(level, "chunks", None) or (_CHUNK, _CHUNK)
    chunks = tuple(max(1, -(-_CHUNK // int(n))) * int(n) if n < _CHUNK else min(int(n), 2 * _CHUNK) for n in tile[:2])
    return da.from_array(level, chunks=(*chunks, -1), name=False, asarray=True, meta=np.empty((0, 0, 0), np.uint8))


def _lazy_overview(slide: Slide) -> da.Array:
    factor = -(-max(slide.shape) // _OVERVIEW)
    shape = (-(-slide.shape[0] // factor), -(-slide.shape[1] // factor), 3)
    picture = dask.delayed(lambda: slide.overview(_OVERVIEW)[0])()
    return da.from_delayed(picture, shape, np.uint8)
