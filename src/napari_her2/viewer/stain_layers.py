"""The stains of a slide: kept with its image layer, and shown as layers of haematoxylin and DAB alone."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from napari.components import LayerList
from napari.layers import Image
from napari.utils import Colormap

from napari_her2.errors import StainError
from napari_her2.stain import Stains, unmix
from napari_her2.stain.shades import SHOWN_OD, STAIN_NAMES, StainRole, shades
from napari_her2.viewer.slide_layer import KEY, placement

__all__ = [
    "find_stain_layer",
    "forget_stains",
    "hide_stains",
    "keep_stains",
    "show_stain",
    "stain_levels",
    "stain_shown",
    "stains_of_layer",
]

_CHUNK = 1024


def stains_of_layer(image: Image) -> Stains | None:
    """The stains kept with an image layer; None when none are, or they cannot be read any more."""
    known = image.metadata.get(KEY, {}).get("stains")
    try:
        return None if known is None else Stains.from_dict(known)
    except StainError:
        return None


def keep_stains(image: Image, stains: Stains) -> None:
    """Keep stains with an image layer, as plain lists and numbers."""
    image.metadata = {**image.metadata, KEY: {**image.metadata.get(KEY, {}), "stains": stains.to_dict()}}


def forget_stains(image: Image) -> None:
    """Keep none."""
    known = {k: v for k, v in image.metadata.get(KEY, {}).items() if k != "stains"}
    image.metadata = {**image.metadata, KEY: known}


def stain_levels(image: Image, stains: Stains, role: StainRole) -> list[da.Array]:
    """Amount of one stain on every level of an image layer.

    Parameters
    ----------
    image : Image
        An RGB layer, 8 bits.
    stains : Stains
    role : {"hematoxylin", "dab"}

    Returns
    -------
    list of dask array of float32, each (y, x)
        Optical density, from fine to coarse. Nothing is read before it is looked at.
    """
    levels = list(image.data) if image.multiscale else [image.data]
    return [_amount_of(level, stains, ("hematoxylin", "dab").index(role)) for level in levels]


def _amount_of(level: Any, stains: Stains, which: int) -> da.Array:
    if not isinstance(level, da.Array):
        level = da.from_array(level, chunks=(_CHUNK, _CHUNK, -1), name=False, asarray=True)
    level = level.rechunk({2: -1})
    none = np.empty((0, 0), np.float32)
    return level.map_blocks(_amount, stains, which, dtype=np.float32, drop_axis=2, meta=none)


def _amount(block: npt.NDArray[np.uint8], stains: Stains, which: int) -> npt.NDArray[np.float32]:
    return unmix(block, stains)[which]


def show_stain(layers: LayerList, image: Image, stains: Stains, role: StainRole | None) -> None:
    """Show one stain alone in place of the image, or with None the image again.

    Layers that are there are made anew when the stains are others; which layer is active stays as it is.
    """
    active = layers.selection.active
    for one in STAIN_NAMES:
        layer = find_stain_layer(layers, image, one)
        if layer is not None and layer.metadata[KEY]["stains"] != stains.to_dict():
            layers.remove(layer)
            layer = None
        if layer is None and one == role:
            layer = _layer(image, stains, one)
            layers.insert(layers.index(image) + 1, layer)
        if layer is not None:
            layer.visible = one == role
    layers.selection.active = active


def _layer(image: Image, stains: Stains, role: StainRole) -> Image:
    levels = stain_levels(image, stains, role)
    many = len(levels) > 1
    return Image(
        levels if many else levels[0],
        multiscale=many,
        rgb=False,
        name=f"{image.name} {STAIN_NAMES[role]}",
        colormap=stain_colormap(stains, role),
        contrast_limits=(0.0, SHOWN_OD[role]),
        metadata={KEY: {"kind": role, "image": str(image.unique_id), "stains": stains.to_dict()}},
        **placement(image),
    )


def stain_colormap(stains: Stains, role: StainRole) -> Colormap:
    """From the slide's glass to the colour of the stain, as light passes through more and more of it."""
    colours = shades(stains, role) / 255
    return Colormap(np.column_stack([colours, np.ones(len(colours))]), name=STAIN_NAMES[role])


def hide_stains(layers: LayerList, image: Image) -> None:
    """Take the layers of the stains away."""
    for role in STAIN_NAMES:
        layer = find_stain_layer(layers, image, role)
        if layer is not None:
            layers.remove(layer)


def find_stain_layer(layers: LayerList, image: Image, role: StainRole) -> Image | None:
    """The layer of one stain of an image, if there is one."""
    for layer in layers:
        known = layer.metadata.get(KEY, {})
        if isinstance(layer, Image) and known.get("kind") == role and known["image"] == str(image.unique_id):
            return layer
    return None


def stain_shown(layers: LayerList, image: Image) -> StainRole | None:
    """Which stain is looked at; None when the image itself is."""
    for role in STAIN_NAMES:
        layer = find_stain_layer(layers, image, role)
        if layer is not None and layer.visible:
            return role
    return None
