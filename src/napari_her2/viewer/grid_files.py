"""Files of cores, to and from the layer: with the scores that stand in the features, where the format has room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari.layers import Shapes

from napari_her2.cores import CoreGrid
from napari_her2.export import read_cores_file
from napari_her2.export.csv import write_csv
from napari_her2.export.geojson import write_geojson
from napari_her2.export.qptma import write_qptma
from napari_her2.files import writing
from napari_her2.grid_edit import reading_order
from napari_her2.slide import Slide
from napari_her2.table import cores_table
from napari_her2.viewer.cores_layer import grid_of_layer
from napari_her2.viewer.cores_scores import scores_of_layer
from napari_her2.viewer.edit_layer import Scored

__all__ = ["open_cores_file", "write_cores_file", "writer_of_cores"]


def write_cores_file(path: Path, layer: Shapes, slide: Slide) -> str:
    """Write the cores of a layer, whole or not at all; the ending says which kind: .csv, .qptma, else GeoJSON.

    Returns
    -------
    str
        What could not be written, in one sentence; "" when all was.

    Raises
    ------
    OutputError
        If the file cannot be written.
    CoresError
        If the features were edited into something that is no grid.
    """
    return writer_of_cores(path, layer, slide)()


def writer_of_cores(path: Path, layer: Shapes, slide: Slide) -> Callable[[], str]:
    """The same in two parts: what is called here reads the layer, what it returns writes and may run in a thread."""
    scores = scores_of_layer(layer)
    grid = reading_order(grid_of_layer(layer))

    def write() -> str:
        left_out: tuple[str, ...] = ()
        with writing(path, overwrite=True) as temporary:
            if path.suffix.lower() == ".qptma":
                left_out = write_qptma(temporary, grid, slide.path.name if slide.path else slide.name)
            else:
                table = cores_table(slide.name, grid, scores, slide.mpp)
                if path.suffix.lower() == ".csv":
                    write_csv(temporary, table)
                else:
                    write_geojson(temporary, table, grid)
        return f" {', '.join(left_out)} stand off the grid, for which a .qptma has no room." if left_out else ""

    return write


def open_cores_file(path: Path) -> tuple[CoreGrid, Scored, str]:
    """Cores of a file, the scores that stand in it, and what was passed over, in one sentence.

    Raises
    ------
    CoresError
        If the file does not describe cores.
    """
    found = read_cores_file(path)
    return found.grid, Scored(found.table, {}, fills=True), found.remark
