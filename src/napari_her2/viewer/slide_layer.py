"""A Slide from any RGB image layer, and the pixel size that its layer, its metadata or its file tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari.layers import Image, Layer

from napari_her2.errors import HER2Error, SlideError
from napari_her2.slide import MAX_MPP, MIN_MPP, Slide, check_mpp

__all__ = ["GIVEN", "give_pixel_size", "is_slide_layer", "placement", "slide_of_layer"]

#: Where what this plugin knows of a layer stands in the layer's metadata.
KEY = "napari_her2"
GIVEN = "given by you"
#: Names under which other readers keep the pixel size, in µm.
_METADATA_NAMES = ("pixel_size_um", "mpp", "openslide.mpp-x", "aperio.MPP", "PhysicalSizeX")


def is_slide_layer(layer: Layer) -> bool:
    """Whether a layer is an RGB picture of two dimensions."""
    return isinstance(layer, Image) and bool(layer.rgb) and layer.ndim == 2


def slide_of_layer(layer: Layer) -> Slide:
    """The slide that an image layer shows.

    When the layer was read from a file that this package opens to the same shape, the slide is that file, so that
    viewer and command line score the same pixels. The pixel size is looked for in the scale and units of the layer,
    in its metadata, and in the file, in this order; one that the user gave (`give_pixel_size`) stands above all.

    Raises
    ------
    SlideError
        If the layer is not an 8-bit RGB picture of two dimensions.
    """
    if not isinstance(layer, Image) or not layer.rgb:
        raise SlideError(
            f"{layer.name} is not an RGB image layer: HER2 scoring needs an RGB scan of a DAB-stained slide, "
            "not a grey or fluorescence image."
        )
    if layer.ndim != 2:
        raise SlideError(f"{layer.name} has {layer.ndim} dimensions: choose a single plane of it.")
    data = list(layer.data) if layer.multiscale else layer.data
    slide = Slide.from_arrays(data, name=layer.name)
    of_file = _slide_of_file(layer, slide)
    slide = of_file if of_file is not None else slide
    for mpp, source in _told_sizes(layer, of_file):
        if mpp is not None and MIN_MPP <= mpp <= MAX_MPP:
            return replace(slide, mpp=mpp, mpp_source=source)
    return replace(slide, mpp=None, mpp_source="")


def give_pixel_size(layer: Layer, mpp: float | None) -> None:
    """Keep with the layer the pixel size (µm) that the user gives; None forgets it.

    Raises
    ------
    PixelSizeError
        If it cannot be true.
    """
    known = dict(layer.metadata.get(KEY, {}))
    known.pop("mpp", None)
    if mpp is not None:
        known["mpp"] = check_mpp(mpp, layer.name)
    layer.metadata = {**layer.metadata, KEY: known}


def placement(layer: Layer) -> dict[str, Any]:
    """Arguments that put a derived layer, in level-0 pixels, exactly over an image layer."""
    return {
        "scale": layer.scale,
        "translate": layer.translate,
        "rotate": layer.rotate,
        "shear": layer.shear,
        "affine": layer.affine,
        "units": layer.units,
        "axis_labels": layer.axis_labels,
    }


def _slide_of_file(layer: Image, slide: Slide) -> Slide | None:
    path = layer.source.path
    if not path or not Path(path).is_file():
        return None
    try:
        of_file = Slide.open(path)
    except HER2Error:
        return None
    return of_file if of_file.shape == slide.shape else None


def _told_sizes(layer: Image, of_file: Slide | None) -> list[tuple[float | None, str]]:
    scale, file_mpp = _scale_um(layer), of_file.mpp if of_file is not None else None
    file_source = of_file.mpp_source if of_file is not None else ""
    # a scale that only repeats what stands in the file is better named after the file
    scale_source = file_source if scale and file_mpp and abs(scale / file_mpp - 1) < 1e-3 else "the layer's scale"
    return [
        (_number(layer.metadata.get(KEY, {}).get("mpp")), GIVEN),
        (scale, scale_source),
        (_metadata_um(layer.metadata), str(layer.metadata.get("pixel_size_source") or "the layer's metadata")),
        (file_mpp, file_source),
    ]


def _scale_um(layer: Image) -> float | None:
    """Geometric mean of the layer's scale in µm; None when its units are no lengths (napari's default is pixels)."""
    import pint

    registry = pint.get_application_registry()
    try:
        sizes = [registry.Quantity(float(s), u).to("um") for s, u in zip(layer.scale, layer.units, strict=True)]
    except pint.PintError:
        return None
    y, x = (abs(size.magnitude) for size in sizes)
    return float((y * x) ** 0.5)


def _metadata_um(metadata: Mapping[str, Any]) -> float | None:
    # OME: µm unless another unit stands beside it
    names = _METADATA_NAMES if metadata.get("PhysicalSizeXUnit", "µm") in ("µm", "um") else _METADATA_NAMES[:-1]
    for name in names:
        value = _number(metadata.get(name))
        if value is not None:
            return value
    nested = (v for k, v in metadata.items() if isinstance(v, Mapping) and k != KEY)
    return next((found for found in map(_metadata_um, nested) if found is not None), None)


def _number(value: Any) -> float | None:
    if isinstance(value, list | tuple) and value:
        value = value[0]
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
