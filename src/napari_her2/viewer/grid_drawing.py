"""GridDrawing: a grid drawn by hand: a rectangle over the array whose corners are pulled until its places fit."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.components import LayerList
from napari.layers import Image, Points, Shapes
from psygnal import Signal

from napari_her2.cores import CoreGrid
from napari_her2.errors import CoresError
from napari_her2.grid_edit import draw_grid
from napari_her2.viewer.slide_layer import placement

__all__ = ["GridDrawing"]

_FRAME, _PLACES = "#c21784", "#1a58ec"


class GridDrawing:
    """Two layers while it lasts: the frame, whose corners are the centres of the corner cores, and the places in it.

    Signals: `changed()` when the grid is another, `ended()` once, when the layers are gone.
    """

    changed = Signal()
    ended = Signal()

    def __init__(self, layers: LayerList, image: Image, rows: int, columns: int) -> None:
        self._layers, self.image = layers, image
        self.rows, self.columns = rows, columns
        self.grid, self.why_not = CoreGrid(), ""
        self._over = False
        place = placement(image)
        self.places = Points(
            np.empty((0, 2)),
            name=f"{image.name} places",
            size=10,
            face_color="transparent",
            border_color=_PLACES,
            border_width=0.03,
            **place,
        )
        self.frame = Shapes(
            name=f"{image.name} grid to place", edge_color=_FRAME, face_color="transparent", edge_width=2, **place
        )
        self.places.editable = False
        for layer in (self.places, self.frame):
            layers.append(layer)
        layers.selection.active = self.frame
        self.frame.mode = "add_rectangle"
        self.frame.events.data.connect(self._on_frame)
        layers.events.removed.connect(self._on_removed)

    def resize(self, rows: int, columns: int) -> None:
        """Another number of rows and columns."""
        self.rows, self.columns = rows, columns
        self._draw()

    def close(self) -> None:
        """Take the layers away."""
        if self._over:
            return
        self._over = True
        self._layers.events.removed.disconnect(self._on_removed)
        self.frame.events.data.disconnect(self._on_frame)
        for layer in (self.frame, self.places):
            with suppress(ValueError):  # the user may have deleted it
                self._layers.remove(layer)
        self.ended.emit()

    def corners(self) -> npt.NDArray[np.float64] | None:
        """Corners of the frame, shape (4, 2): (y, x), clockwise from the top left; None before one is drawn."""
        shapes = [data[:, -2:] for data in self.frame.data if len(data) == 4]
        return _clockwise(shapes[-1]) if shapes else None

    def _on_frame(self, event: Any) -> None:
        action = str(getattr(event, "action", "")).lower()
        if action.endswith("added") and self.frame.nshapes > 1:
            # a second rectangle stands in for the first
            self.frame.remove(range(self.frame.nshapes - 1))
            return
        if action.endswith("added"):
            # from now on its corners are pulled
            self.frame.mode = "direct"
        self._draw()

    def _draw(self) -> None:
        self.grid, self.why_not = CoreGrid(), ""
        corners = self.corners()
        if corners is not None:
            try:
                self.grid = draw_grid(corners, self.rows, self.columns)
            except CoresError as error:
                self.why_not = str(error)
        places = np.array([(core.y, core.x) for core in self.grid]).reshape(-1, 2)
        self.places.data = places
        if len(self.grid):
            self.places.size = self.grid.cores[0].diameter
            self.frame.edge_width = 0.04 * self.grid.cores[0].diameter
        self.changed.emit()

    def _on_removed(self, event: Any) -> None:
        if event.value in (self.frame, self.places, self.image):
            self.close()


def _clockwise(corners: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """From the top left on, whichever way the user dragged."""
    corners = np.asarray(corners, np.float64)
    away = corners - corners.mean(axis=0)
    order = np.argsort(np.arctan2(away[:, 0], away[:, 1]))  # from the left over the top: y grows downwards
    corners = corners[order]
    first = int(np.argmin(corners.sum(axis=1)))
    return np.roll(corners, -first, axis=0)
