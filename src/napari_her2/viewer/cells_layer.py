"""The layer of the cells of one core: the outline of each that was counted, in the colour of its class."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from napari.components import LayerList
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import DirectLabelColormap

from napari_her2.colours import SCORE_COLOURS
from napari_her2.measure import Measurement
from napari_her2.scores import SCORES
from napari_her2.viewer.slide_layer import KEY, placement

__all__ = ["core_of_cells", "find_cells_layer", "hide_cells", "show_cells"]


def show_cells(
    layers: LayerList, image: Image, cores: Layer | None, measured: Measurement, labels: npt.NDArray[np.int32]
) -> Labels:
    """Show the counted cells of a core, instead of those of the core before; which layer is active stays as it is.

    Each cell has a number and stands in the features: its class, and how intense and how complete its membrane is.

    Parameters
    ----------
    layers : LayerList
    image : Image
    cores : Layer or None
        The cells lie right under it.
    measured : Measurement
        With its core.
    labels : ndarray of int32
        Its `label_image(by_class=False)`, which takes a second or two to draw and may come from another thread.
    """
    hide_cells(layers, image)
    active = layers.selection.active
    name = "" if measured.core is None else measured.core.name
    layer = Labels(
        labels,
        name=f"{image.name} cells",
        features=_features(measured),
        colormap=_colours(measured),
        opacity=1.0,
        metadata={KEY: {"kind": "cells", "image": str(image.unique_id), "core": name}},
        **_place(image, measured),
    )
    layer.contour = 1
    layer.editable = False
    layers.insert(layers.index(cores) if cores in layers else len(layers), layer)
    layers.selection.active = active
    return layer


def hide_cells(layers: LayerList, image: Image) -> None:
    """Take the cells away."""
    layer = find_cells_layer(layers, image)
    if layer is not None:
        layers.remove(layer)


def find_cells_layer(layers: LayerList, image: Image) -> Labels | None:
    """The cells of an image, if they are shown."""
    for layer in layers:
        known = layer.metadata.get(KEY, {})
        if known.get("kind") == "cells" and known["image"] == str(image.unique_id):
            return layer
    return None


def core_of_cells(layers: LayerList, image: Image) -> str:
    """Name of the core whose cells are shown; "" when none are."""
    layer = find_cells_layer(layers, image)
    return "" if layer is None else str(layer.metadata[KEY]["core"])


def _place(image: Image, measured: Measurement) -> dict[str, object]:
    """Exactly over the image: the corner of what was measured is a corner of pixels, not the centre of one."""
    height, width = measured.shape
    side = 0.0 if measured.core is None else measured.core.box[2] - measured.core.box[0]
    step = np.array((side / max(1, height), side / max(1, width)))
    first = np.array(measured.origin) + step / 2 - 0.5
    shift = image.affine.inverse(image.data_to_world(first))
    return {**placement(image), "scale": np.asarray(image.scale) * step, "translate": np.asarray(shift)}


def _features(measured: Measurement) -> pd.DataFrame:
    """What is known of each cell, for the status bar; row i is that of cell i, and none is cell 0."""
    cells = measured.cells
    table = pd.DataFrame(
        {
            "cell": [SCORES[k] for k in cells.cls],
            "membrane_od": np.round(cells.intensity.astype(float), 3),
            "completeness": np.round(cells.completeness.astype(float), 2),
        }
    )
    table.index = pd.RangeIndex(1, len(table) + 1)
    return table.assign(index=table.index)


def _colours(measured: Measurement) -> DirectLabelColormap:
    shades: dict[int | None, str] = {i + 1: SCORE_COLOURS[SCORES[k]] for i, k in enumerate(measured.cells.cls.tolist())}
    return DirectLabelColormap(color_dict=shades | {None: "#00000000", 0: "#00000000"})
