"""The layer of the heatmap: in its exact place over the image, under the cores.

It shows the expected score, or what follows from it: the probability of 2+ or more, or how sure that is. The expected
score itself is always kept, and is what is drawn into, put back and exported.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from napari.components import LayerList
from napari.layers import Image, Layer, Shapes
from napari.utils import Colormap

from napari_her2.colours import SCORE_COLOURS
from napari_her2.heatmap import Heatmap, likely_map
from napari_her2.models import Calibration
from napari_her2.scores import SCORES
from napari_her2.viewer.slide_layer import KEY, placement

__all__ = [
    "LOOKS",
    "add_heatmap_layer",
    "find_heatmap_layer",
    "heatmap_arguments",
    "heatmap_of_layer",
    "kind_of_layer",
    "redraw",
    "score_image",
    "show_kind",
]

#: The scores' own colours, so that the heatmap needs no legend; the lower the fainter, so that the tissue shows.
_COLOURS = [SCORE_COLOURS[score] + alpha for score, alpha in zip(SCORES, ("59", "b3", "ff", "ff"), strict=True)]

#: Colours from low to high and limits for each of `heatmap.KINDS`; what is likely low, or sure, lets the tissue show.
LOOKS: dict[str, tuple[list[str], tuple[float, float]]] = {
    "score": (_COLOURS, (0.0, 3.0)),
    "at_least_2": (["#1a58ec60", "#f4f4f4b0", "#c21784ff"], (0.0, 1.0)),
    "confidence": (["#d9480fff", "#f6d365c0", "#2e8b5750"], (0.25, 1.0)),
}


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
    """The heatmap of a layer; its pixels are the expected scores of the layer, so that drawing shows after `redraw`."""
    known = layer.metadata[KEY]
    heatmap = Heatmap(tuple(known["shape"]), int(known["stride"]))
    image = score_image(layer)
    if image.shape != heatmap.image.shape:
        raise ValueError(f"{layer.name} is {image.shape}, not {heatmap.image.shape}")
    heatmap.image = image
    return heatmap


def score_image(layer: Image) -> npt.NDArray[np.float32]:
    """The expected scores of a layer, whatever it shows; changes of it show after `redraw`."""
    image: npt.NDArray[np.float32] = layer.data if kind_of_layer(layer) == "score" else layer.metadata[KEY]["score"]
    return image


def kind_of_layer(layer: Image) -> str:
    """Which of `heatmap.KINDS` a layer shows."""
    return str(layer.metadata[KEY].get("shows", "score"))


def show_kind(layer: Image, kind: str, calibration: Calibration) -> None:
    """Let a layer show another of `heatmap.KINDS`, with the cut points in use; nothing is done when it does."""
    known = layer.metadata[KEY]
    if kind == kind_of_layer(layer) and (kind == "score" or known["calibration"] == calibration):
        return
    image = score_image(layer)
    known["shows"], known["calibration"], known["score"] = kind, calibration, image
    layer.data = image if kind == "score" else likely_map(image, kind, calibration)
    colours, limits = LOOKS[kind]
    layer.colormap = Colormap(colours, name=f"HER2 {kind}")
    layer.contrast_limits_range = layer.contrast_limits = limits


def redraw(layer: Image) -> None:
    """Show what was drawn into the expected scores."""
    known, kind = layer.metadata[KEY], kind_of_layer(layer)
    if kind != "score":
        layer.data[:] = likely_map(known["score"], kind, known["calibration"])
    layer.refresh()
