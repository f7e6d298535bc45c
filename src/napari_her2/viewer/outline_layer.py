"""The layer of the outlines: each core's own tissue, drawn on demand under the rings."""

from __future__ import annotations

import numpy as np
from napari.components import LayerList
from napari.layers import Image, Shapes

from napari_her2.cores import CoreGrid
from napari_her2.viewer.slide_layer import KEY, placement

__all__ = ["find_outline_layer", "hide_outlines", "show_outlines"]

_COLOUR = "#00a0b0"


def find_outline_layer(layers: LayerList, image: Image) -> Shapes | None:
    """The outlines of an image, if they are shown."""
    for layer in layers:
        known = layer.metadata.get(KEY, {})
        if known.get("kind") == "outlines" and known["image"] == str(image.unique_id):
            return layer
    return None


def show_outlines(layers: LayerList, image: Image, cores: Shapes, grid: CoreGrid) -> None:
    """Draw the outlines of the cores, anew when they have changed; which layer is active stays as it is."""
    outlines = tuple(core.outline for core in grid if core.outline)
    layer = find_outline_layer(layers, image)
    if layer is not None and layer.metadata[KEY]["outlines"] == outlines:
        return
    hide_outlines(layers, image)
    active = layers.selection.active
    width = 0.012 * float(np.median([core.diameter for core in grid])) if len(grid) else 1.0
    layer = Shapes(
        [np.array(outline) for outline in outlines],
        shape_type="polygon",
        name=f"{image.name} tissue outlines",
        edge_color=_COLOUR,
        edge_width=width,
        face_color="transparent",
        opacity=1.0,
        metadata={KEY: {"kind": "outlines", "image": str(image.unique_id), "outlines": outlines}},
        **placement(image),
    )
    layers.insert(layers.index(cores) if cores in layers else len(layers), layer)
    layers.selection.active = active


def hide_outlines(layers: LayerList, image: Image) -> None:
    """Take the outlines away."""
    layer = find_outline_layer(layers, image)
    if layer is not None:
        layers.remove(layer)
