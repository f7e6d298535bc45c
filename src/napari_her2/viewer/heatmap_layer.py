"""The layer of the heatmap: in its exact place over the image, under the cores."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.components import LayerList
from napari.layers import Image, Layer, Shapes
from napari.utils import Colormap

from napari_her2.colours import SCORE_COLOURS
from napari_her2.heatmap import Heatmap
from napari_her2.scores import SCORES
from napari_her2.viewer.slide_layer import KEY, placement

__all__ = ["add_heatmap_layer", "find_heatmap_layer", "heatmap_arguments", "heatmap_of_layer"]

#: The scores' own colours, so that the heatmap needs no legend; the lower the fainter, so that the tissue shows.
_COLOURS = [SCORE_COLOURS[score] + alpha for score, alpha in zip(SCORES, ("59", "b3", "ff", "ff"), strict=True)]


def heatmap_arguments(image: Layer, heatmap: Heatmap) -> dict[str, Any]:
    """Arguments of the image layer that shows a heatmap over `image`.

    A heatmap pixel is `stride` image pixels wide, and the centre of the first lies at `heatmap.offset` in them: so the
    layer has `stride` times the scale of the image, and begins where the image has that point.
    """
    place = placement(image)
    known = {"image": str(image.unique_id), "stride": heatmap.stride, "shape": heatmap.slide_shape}
    shift = image.affine.inverse(image.data_to_world((heatmap.offset, heatmap.offset)))
    scale = np.asarray(image.scale) * heatmap.stride
    return {
        **place,
        "scale": scale,
        "translate": np.asarray(shift),
        "name": f"{image.name} HER2 heatmap",
        "colormap": Colormap(_COLOURS, name="HER2 score"),
        "contrast_limits": (0.0, 3.0),
        "opacity": 0.5,
        "blending": "translucent",
        "interpolation2d": "nearest",
        "metadata": {KEY: {"kind": "heatmap", **known}},
    }


def add_heatmap_layer(layers: LayerList, image: Layer, cores: Shapes, heatmap: Heatmap) -> Image:
    """Add the layer of a heatmap just below the cores; which layer is active stays as it is."""
    layer = Image(heatmap.image, **heatmap_arguments(image, heatmap))
    active = layers.selection.active
    layers.insert(layers.index(cores) if cores in layers else len(layers), layer)
    layers.selection.active = active if active is not None else layer
    return layer


def find_heatmap_layer(layers: LayerList, of: Layer) -> Image | None:
    """The heatmap of an image, or of the image of a layer of cores, if there is one."""
    image = of.metadata.get(KEY, {}).get("image", str(of.unique_id))
    for layer in layers:
        known = layer.metadata.get(KEY, {})
        if isinstance(layer, Image) and known.get("kind") == "heatmap" and known["image"] == image:
            return layer
    return None


def heatmap_of_layer(layer: Image) -> Heatmap:
    """The heatmap that a layer shows; its pixels are those of the layer, so that drawing shows after `refresh`."""
    known = layer.metadata[KEY]
    heatmap = Heatmap(tuple(known["shape"]), int(known["stride"]))
    if layer.data.shape != heatmap.image.shape:
        raise ValueError(f"{layer.name} is {layer.data.shape}, not {heatmap.image.shape}")
    heatmap.image = layer.data
    return heatmap
