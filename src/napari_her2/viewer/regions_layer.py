"""The layer of the regions: where cells are to be counted, and where nothing is; what each is stands in its feature."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from napari.components import LayerList
from napari.layers import Image, Layer, Shapes

from napari_her2.regions import KINDS, Region, RegionKind
from napari_her2.viewer.slide_layer import KEY, placement

__all__ = ["add_regions_layer", "drawing_on", "find_regions_layer", "paint", "regions_of_layer", "set_kind"]

#: Edge and face of each kind: green that lets the tissue be seen, grey that takes it away.
_LOOKS: dict[RegionKind, tuple[str, str]] = {
    "count here": ("#0a9a3eff", "#0a9a3e14"),
    "leave out": ("#3c3c3cff", "#70707099"),
}
_POINTS = 48


def find_regions_layer(layers: LayerList, image: Image) -> Shapes | None:
    """The regions of an image, if there are any."""
    for layer in layers:
        known = layer.metadata.get(KEY, {})
        if isinstance(layer, Shapes) and known.get("kind") == "regions" and known["image"] == str(image.unique_id):
            return layer
    return None


def add_regions_layer(layers: LayerList, image: Image, cores: Layer, width: float) -> Shapes:
    """Add an empty layer to draw regions on, right under the cores; `width` of their edges in level-0 pixels."""
    layer = Shapes(
        name=f"{image.name} regions",
        ndim=2,
        edge_width=width,
        features=pd.DataFrame({"kind": pd.Series([], dtype=object)}),
        feature_defaults={"kind": KINDS[0]},
        text={"string": "{kind}", "size": 8, "color": "#101010", "anchor": "upper_left"},
        opacity=1.0,
        metadata={KEY: {"kind": "regions", "image": str(image.unique_id)}},
        **placement(image),
    )
    layer.current_edge_width = width
    active = layers.selection.active
    layers.insert(layers.index(cores) if cores in layers else len(layers), layer)
    layers.selection.active = active
    set_kind(layer, KINDS[0])
    return layer


def set_kind(layer: Shapes, kind: RegionKind) -> None:
    """What is drawn next is of this kind; what is there stays as it is."""
    layer.selected_data = set()  # napari would change those that are selected
    layer.feature_defaults = {"kind": kind}
    layer.current_edge_color, layer.current_face_color = _LOOKS[kind]


def drawing_on(layer: Shapes) -> RegionKind | None:
    """Of which kind a shape would be that is drawn now; None when the mouse does something else."""
    if not str(layer.mode).startswith("add"):
        return None
    return _kind(layer.feature_defaults["kind"].iloc[0])


def regions_of_layer(layer: Shapes) -> tuple[Region, ...]:
    """The regions as they are drawn; lines without an inside, and a shape that is not finished, are none."""
    shapes = list(zip(layer.data, layer.shape_type, layer.features["kind"], strict=True))
    if getattr(layer, "_is_creating", False):
        shapes = shapes[:-1]
    found = []
    for data, shape, kind in shapes:
        corners = np.asarray(data, np.float64)[:, -2:]
        outline = _round(corners) if shape == "ellipse" else corners
        if len(outline) > 2 and shape != "line":
            points = tuple((round(float(y), 1), round(float(x), 1)) for y, x in outline)
            found.append(Region(_kind(kind), points))
    return tuple(found)


def paint(layer: Shapes) -> None:
    """Give shapes the colours of their kinds, where the table was edited; nothing is done for nothing."""
    for name, k in (("edge_color", 0), ("face_color", 1)):
        wanted = np.array([_rgba(_LOOKS[_kind(kind)][k]) for kind in layer.features["kind"]]).reshape(-1, 4)
        if not np.allclose(getattr(layer, name), wanted, atol=0.01):
            setattr(layer, name, wanted)


def _kind(value: Any) -> RegionKind:
    """What a cell of the table says; a word of the user's own leaves nothing out."""
    return "leave out" if str(value).strip().lower() == "leave out" else "count here"


def _round(corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Points on the ellipse that touches the middles of the four sides."""
    middle, a, b = corners.mean(axis=0), (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    turn = np.linspace(0, 2 * np.pi, _POINTS, endpoint=False)[:, None]
    return np.asarray(middle + np.cos(turn) * a + np.sin(turn) * b)


def _rgba(text: str) -> list[float]:
    return [int(text[i : i + 2], 16) / 255 for i in (1, 3, 5, 7)]
