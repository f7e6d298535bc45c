"""The layer of the readings: a badge in the colour of the reader's score at the lower right of each core that was read.

The ring and the label keep what the model says, so that both opinions are seen at once, from afar too.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from napari.components import LayerList
from napari.layers import Image, Points, Shapes

from napari_her2.colours import SCORE_COLOURS
from napari_her2.cores import CoreGrid
from napari_her2.viewer.slide_layer import KEY, placement

__all__ = ["find_reading_layer", "show_readings"]

#: How far from the centre, down and to the right, and how large, as shares of the core's diameter.
_AWAY, _SIZE = 0.40, 0.40
#: Least and largest size on the screen, in pixels.
_LIMITS = (10, 30)


def find_reading_layer(layers: LayerList, image: Image) -> Points | None:
    """The badges of an image, if there are any."""
    for layer in layers:
        known = layer.metadata.get(KEY, {})
        if known.get("kind") == "readings" and known["image"] == str(image.unique_id):
            return layer
    return None


def show_readings(layers: LayerList, image: Image, cores: Shapes, grid: CoreGrid) -> Points | None:
    """Make the badges those of a grid, just above its layer of cores; nothing is drawn when they are already.

    Returns
    -------
    Points or None
        The layer; None when nothing was ever read.
    """
    read = [core for core in grid if core.reader_score]
    told = tuple((core.reader_score, core.y, core.x, core.diameter) for core in read)
    layer, known = find_reading_layer(layers, image), cores.metadata.setdefault(KEY, {})
    shown = known.get("readings_shown", ()) if layer is None else layer.metadata[KEY]["told"]
    if told == shown:
        return layer  # when the user deleted it, it comes back with the next reading
    known["readings_shown"] = told
    if layer is None:
        layer = _add(layers, image, cores)
    layer.metadata[KEY]["told"] = told
    size = np.array([core.diameter for core in read], np.float64)
    layer.data = np.array([(core.y, core.x) for core in read]).reshape(-1, 2) + _AWAY * size[:, None]
    layer.features = pd.DataFrame({"reader_score": pd.Series([core.reader_score for core in read], dtype=object)})
    layer.size = _SIZE * size
    layer.face_color = [SCORE_COLOURS[core.reader_score] for core in read] or "white"
    layer.refresh_text()
    layer.selected_data = set()
    return layer


def _add(layers: LayerList, image: Image, cores: Shapes) -> Points:
    """An empty layer just above the cores; which layer is active stays as it is."""
    layer = Points(
        np.empty((0, 2)),
        name=f"{image.name} readings",
        features=pd.DataFrame({"reader_score": pd.Series(dtype=object)}),
        text={"string": "{reader_score}", "size": 8, "color": "white", "anchor": "center"},
        border_color="white",
        border_width=0.06,
        canvas_size_limits=_LIMITS,
        opacity=1.0,
        metadata={KEY: {"kind": "readings", "image": str(image.unique_id), "told": ()}},
        **placement(image),
    )
    layer.editable = False
    active = layers.selection.active
    layers.insert(layers.index(cores) + 1 if cores in layers else len(layers), layer)
    layers.selection.active = active
    return layer
