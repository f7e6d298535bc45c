"""StainRegion: a small rectangle that the user draws where there is one stain, or glass, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from napari.components import LayerList
from napari.layers import Image, Shapes
from qtpy.QtCore import QTimer

from napari_her2.viewer.slide_layer import placement

__all__ = ["Box", "StainRegion"]

#: Top, left, height and width in level-0 pixels.
Box = tuple[int, int, int, int]


class StainRegion:
    """A layer to draw on while it lasts; the first rectangle ends it.

    `drawn(box)` is called with the rectangle, or with None when the user has deleted the layer or the image.
    """

    def __init__(self, layers: LayerList, image: Image, drawn: Callable[[Box | None], None]) -> None:
        self._layers, self.image, self._drawn = layers, image, drawn
        self._active = layers.selection.active
        self._over = False
        self.layer = Shapes(
            name=f"{image.name} region",
            edge_color="#c21784",
            face_color="transparent",
            edge_width=2,
            **placement(image),
        )
        layers.append(self.layer)
        layers.selection.active = self.layer
        self.layer.mode = "add_rectangle"
        self.layer.events.data.connect(self._on_shape)
        layers.events.removed.connect(self._on_removed)

    def close(self, box: Box | None = None) -> None:
        """Take the layer away, and say what was drawn."""
        if self._over:
            return
        self._over = True
        self._layers.events.removed.disconnect(self._on_removed)
        self.layer.events.data.disconnect(self._on_shape)
        with suppress(ValueError):  # the user may have deleted it
            self._layers.remove(self.layer)
        if self._active in self._layers:
            self._layers.selection.active = self._active
        self._drawn(box)

    def _on_shape(self, event: Any) -> None:
        if str(getattr(event, "action", "")).lower().endswith("added"):
            # later, not here: napari is still in the middle of drawing the shape
            QTimer.singleShot(0, self._use)

    def _use(self) -> None:
        if not self._over and self.layer.nshapes:
            corners = np.asarray(self.layer.data[-1])[:, -2:]
            (top, left), (bottom, right) = corners.min(axis=0), corners.max(axis=0)
            y, x = round(float(top)), round(float(left))
            self.close((y, x, max(1, round(float(bottom)) - y), max(1, round(float(right)) - x)))

    def _on_removed(self, event: Any) -> None:
        if event.value in (self.layer, self.image):
            self.close()
