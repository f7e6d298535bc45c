"""The patches that one core was judged by: where they lie, and how much of the core's value comes from each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from napari.components import LayerList
from napari.layers import Image, Shapes
from napari.utils import Colormap

from napari_her2.colours import SCORE_COLOURS
from napari_her2.errors import ModelError
from napari_her2.models import ScoringModel
from napari_her2.pyramid import PyramidSample, sample
from napari_her2.scores import SCORES, CoreScore, Places
from napari_her2.slide import Slide
from napari_her2.stain import white_point
from napari_her2.viewer.slide_layer import KEY, placement

__all__ = ["Patches", "find_patches_layer", "hide_patches", "patches_of", "show_patches"]

#: Patches that give less than this share of the value have no figure beside them.
_TOLD = 0.005


@dataclass(frozen=True)
class Patches:
    """The patches of one core, those that count most last.

    Attributes
    ----------
    name : str
        Of the core.
    y, x, size : ndarray of float, shape (n,)
        Top left corner and side in level-0 pixels.
    share : ndarray of float, shape (n,)
        Share of the core's value, 0..1; they sum to 1.
    grade : ndarray of float, shape (n,)
        Expected score (0..3) of what counts on the patch; NaN where nothing does.
    """

    name: str
    y: npt.NDArray[np.float64]
    x: npt.NDArray[np.float64]
    size: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]
    grade: npt.NDArray[np.float64]


def patches_of(slide: Slide, score: CoreScore, model: ScoringModel) -> Patches:
    """The patches of a core that was scored: drawn again, which needs no network, and told by the places on them.

    Parameters
    ----------
    slide : Slide
    score : CoreScore
        With its places.
    model : ScoringModel
        That scored it.

    Raises
    ------
    ModelError
        If the places are not known any more, as after a score was read from a file.
    """
    places = score.places
    if places is None or not len(places):
        raise ModelError(f"Where the score of {score.core.name} comes from is not known any more: score it again.")
    drawn = sample(slide, score.core, model.spec, white=white_point(slide.overview()[0]))
    patch = _patch_of_places(drawn, places)
    weight, grade = places.weight.astype(float), places.grade.astype(float)
    share = np.bincount(patch, weight, len(drawn.y))
    mean = np.bincount(patch, weight * grade, len(drawn.y)) / np.where(share > 0, share, np.nan)
    order = np.argsort(share, kind="stable")
    name = score.core.name
    return Patches(name, drawn.y[order], drawn.x[order], drawn.size[order], share[order], mean[order])


def _patch_of_places(drawn: PyramidSample, places: Places) -> npt.NDArray[np.intp]:
    """Which patch each place lies on: they are kept in the order of the patches, those on tissue only."""
    rows = max(1, round(float(drawn.size[0] / places.size[0]))) if len(drawn.size) else 1
    centre = (np.arange(rows) + 0.5) * (drawn.size[:, None] / rows)
    shape = (len(drawn.size), rows, rows)
    y = np.broadcast_to((drawn.y[:, None] + centre)[:, :, None], shape).reshape(-1)
    x = np.broadcast_to((drawn.x[:, None] + centre)[:, None, :], shape).reshape(-1)
    patch = np.repeat(np.arange(shape[0]), rows * rows)[drawn.in_tissue(y, x)]
    if len(patch) != len(places):
        raise ModelError("The patches cannot be drawn again as they were: score the core again.")
    return patch


def find_patches_layer(layers: LayerList, image: Image) -> Shapes | None:
    """The patches that are shown over an image, if any are."""
    for layer in layers:
        known = layer.metadata.get(KEY, {})
        if known.get("kind") == "patches" and known["image"] == str(image.unique_id):
            return layer
    return None


def show_patches(layers: LayerList, image: Image, cores: Shapes, patches: Patches) -> Shapes:
    """Draw the patches of one core, instead of those of another; which layer is active stays as it is.

    The more a patch counts, the stronger its frame; its colour is the score of what counts on it.
    """
    hide_patches(layers, image)
    active = layers.selection.active
    squares = [
        np.array([(y, x), (y, x + size), (y + size, x + size), (y + size, x)])
        for y, x, size in zip(patches.y, patches.x, patches.size, strict=True)
    ]
    top = max(float(patches.share.max(initial=0.0)), 1e-9)
    least = float(patches.size.min(initial=np.inf))
    layer = Shapes(
        squares,
        shape_type="rectangle",
        name=f"{image.name} patches of {patches.name}",
        features=pd.DataFrame({"share": patches.share, "label": [_label(s) for s in patches.share]}),
        edge_color=_colours(patches, top),
        edge_width=list(least * (0.005 + 0.015 * patches.share / top)),
        face_color="transparent",
        opacity=1.0,
        text={"string": "{label}", "size": 7, "color": "#101010", "anchor": "center"},
        metadata={KEY: {"kind": "patches", "image": str(image.unique_id), "core": patches.name}},
        **placement(image),
    )
    layer.editable = False
    layers.insert(layers.index(cores) if cores in layers else len(layers), layer)
    layers.selection.active = active
    return layer


def hide_patches(layers: LayerList, image: Image) -> None:
    """Take the patches away."""
    layer = find_patches_layer(layers, image)
    if layer is not None:
        layers.remove(layer)


def _label(share: float) -> str:
    return f"{share:.0%}".replace("%", " %") if share >= 0.0995 else f"{100 * share:.1f} %" if share >= _TOLD else ""


def _colours(patches: Patches, top: float) -> npt.NDArray[np.float64]:
    scale = Colormap([SCORE_COLOURS[score] for score in SCORES], name="HER2 score")
    colours = np.asarray(scale.map(np.nan_to_num(patches.grade) / 3), np.float64).reshape(-1, 4)
    colours[:, 3] = 0.25 + 0.75 * patches.share / top
    return colours
