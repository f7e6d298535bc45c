"""Labels of the cores in a size that fits the view: they neither cover each other from afar nor fill the screen."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Points, Shapes
from qtpy.QtCore import QTimer

__all__ = ["LabelSize"]

#: Size of the text as a share of the core's diameter on the screen, and the least and most, in points.
_SHARE, _LEAST, _MOST = 0.27, 4.0, 10.0
#: A change smaller than this share is not worth drawing five hundred labels anew.
_STEP = 0.1
_PAUSE_MS = 80
#: Text in a badge, as a share of that beside the core.
_IN_BADGE = 0.85


class LabelSize:
    """Follows the camera of a viewer, for one layer of cores at a time, and the badges on them."""

    def __init__(self, viewer: Any) -> None:
        scene = viewer.scene if hasattr(viewer, "scene") else viewer  # napari 0.9 moved the camera there
        self._camera = scene.camera
        self._layer: Shapes | None = None
        self._badges: Points | None = None
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.fit)
        self._camera.events.zoom.connect(self._later)

    def bind(self, layer: Shapes | None, badges: Points | None = None) -> None:
        """Look after this layer, or after none."""
        if layer is not self._layer or badges is not self._badges:
            self._layer, self._badges = layer, badges
            self.fit()

    def close(self) -> None:
        """Let go of the camera."""
        self._layer = self._badges = None
        self._camera.events.zoom.disconnect(self._later)

    def fit(self) -> None:
        """Set the size of the labels for the zoom there is."""
        layer = self._layer
        if layer is None or not layer.nshapes:
            return
        diameter = float(np.nanmedian(layer.features["diameter"])) * float(np.abs(layer.scale[-1]))
        size = float(np.clip(_SHARE * diameter * self._camera.zoom, _LEAST, _MOST))
        if abs(size / layer.text.size - 1) > _STEP:
            layer.text.size = size
        if self._badges is not None and abs(_IN_BADGE * size / self._badges.text.size - 1) > _STEP:
            self._badges.text.size = _IN_BADGE * size

    def _later(self) -> None:
        if self._layer is not None:
            self._timer.start(_PAUSE_MS)
