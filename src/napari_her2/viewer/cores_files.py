"""Files of cores for napari's own Open and Save: a layer of cores from them, and into them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import pandas as pd
from napari.layers import Image, Layer, Shapes

from napari_her2.cores import CoreGrid
from napari_her2.errors import CoresError
from napari_her2.export import CoresFile, read_cores_file
from napari_her2.export.geojson import write_geojson
from napari_her2.export.qptma import write_qptma
from napari_her2.files import writing
from napari_her2.table import COLUMNS
from napari_her2.viewer.cores_layer import (
    OUTLINES,
    appearance,
    ellipse,
    find_cores_layer,
    grid_of_layer,
    keep_outlines,
    named_features,
    write_features,
)
from napari_her2.viewer.slide_layer import KEY, placement

__all__ = ["get_reader", "read_layers", "write_layer"]

LayerData = tuple[Any, dict[str, Any], str]

_SUFFIXES = (".geojson", ".qptma", ".cores.csv")


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """The reader, when every path has the ending of a file of cores; nothing is opened yet."""
    paths = [path] if isinstance(path, str) else path
    return read_layers if all(str(p).lower().endswith(_SUFFIXES) for p in paths) else None


def read_layers(path: str | list[str]) -> list[LayerData]:
    """Open files of cores, one layer each, with the scores that stand in them.

    A layer is called after the image that its cores are of, and lies over it where it is open; the widget takes it up
    by this name, whichever was opened first.

    Raises
    ------
    CoresError
        If a file does not describe cores.
    """
    return [_layer_data(Path(p)) for p in ([path] if isinstance(path, str | Path) else path)]


def write_layer(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a layer of cores as GeoJSON that comes back exactly, or as ``.qptma`` for QuPath.

    Parameters
    ----------
    path : str
    data : list of ndarray
        The shapes of a layer, as napari hands them to a writer.
    attributes : dict
        The other attributes of the layer; its features are the columns of ``cores.csv``.

    Returns
    -------
    list of str
        The path.

    Raises
    ------
    CoresError
        If it is no layer of cores, or its features were edited into something that is no grid.
    OutputError
        If the file cannot be written.

    Warns
    -----
    UserWarning
        If shapes have no name, or cores have no place in the format.
    """
    table = pd.DataFrame(attributes.get("features"))
    if not set(COLUMNS) <= set(table.columns):
        raise CoresError(
            f"{attributes.get('name', 'The layer')} is no layer of cores: only the cores that HER2 scoring found, "
            "or that were opened from a file of cores, can be written so. Choose CSV for other shapes."
        )
    layer = Layer.create(data, {**attributes, "metadata": dict(attributes.get("metadata") or {})}, "shapes")
    grid = _grid(layer)
    if not len(grid):
        raise CoresError(f"{layer.name} holds no core that has a name: there is nothing to write.")
    table = _columns_of(layer)
    with writing(path, overwrite=True) as temporary:
        if path.lower().endswith(".qptma"):
            left_out = write_qptma(temporary, grid, _image_name(table, Path(path)))
            said = f"{', '.join(left_out)} stand off the grid, for which a .qptma has no room." if left_out else ""
        else:
            write_geojson(temporary, table, grid)
            nameless = layer.nshapes - len(table)
            said = f"{nameless} shapes without a name of their own were not written." if nameless else ""
    if said:
        warnings.warn(said, stacklevel=2)
    return [path]


def _grid(layer: Shapes) -> CoreGrid:
    waiting = layer.metadata.get(OUTLINES)
    if waiting and KEY not in layer.metadata:
        layer.metadata[KEY] = {"outlines": waiting}
    return grid_of_layer(layer)


def _columns_of(layer: Shapes) -> pd.DataFrame:
    """The features of the cores as they lie now."""
    table = named_features(layer).drop(columns="label", errors="ignore")
    um = _um_per_pixel(table)
    for column in ("x", "y", "diameter"):
        table[f"{column}_um"] = table[column].astype(float) * um
    return table


def _um_per_pixel(table: pd.DataFrame) -> float:
    return float((table["diameter_um"].astype(float) / table["diameter"].astype(float)).median())


def _layer_data(path: Path) -> LayerData:
    found = read_cores_file(path)
    if found.remark:
        warnings.warn(f"{path.name}: {found.remark}", stacklevel=2)
    name = _image_name(found.table, path)
    layer = _layer_of(found, name)
    image = _open_image(name)
    if image is not None:
        layer.metadata[KEY] = {"kind": "cores", "image": str(image.unique_id), "outlines": layer.metadata.pop(OUTLINES)}
    data, attributes, kind = layer.as_layer_data_tuple()
    return data, attributes | ({} if image is None else placement(image)), kind


def _layer_of(found: CoresFile, name: str) -> Shapes:
    """The layer of the cores of a file, in the micrometres that the file tells."""
    um = _um_per_pixel(found.table)
    known = math.isfinite(um) and um > 0
    layer = Shapes(
        [ellipse(core) for core in found.grid],
        shape_type="ellipse",
        name=f"{name} cores",
        features=found.table.assign(label=""),
        face_color="transparent",
        edge_width=appearance(found.table)[1],
        opacity=1.0,
        text={"string": "{label}", "size": 9, "color": "#101010", "anchor": "upper_left"},
        axis_labels=("y", "x"),
        **({"scale": (um, um), "units": ("um", "um")} if known else {}),
    )
    write_features(layer, found.table.copy())
    keep_outlines(layer, found.grid)
    layer.metadata[OUTLINES] = layer.metadata.pop(KEY)["outlines"]
    return layer


def _image_name(table: pd.DataFrame, path: Path) -> str:
    """The image that cores are of, as the file tells it, or as it is called itself."""
    told = next((str(name) for name in table["image"] if name), "")
    return told or path.name.removesuffix(path.suffix).removesuffix(".cores")


def _open_image(name: str) -> Image | None:
    """The open image of that name that has no cores yet."""
    viewer = napari.current_viewer()
    images = [] if viewer is None else [la for la in viewer.layers if isinstance(la, Image) and la.name == name]
    return next((la for la in reversed(images) if find_cores_layer(viewer.layers, la) is None), None)
