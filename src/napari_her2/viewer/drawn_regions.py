"""DrawnRegions: where the user wants cells counted or not on the slide that is looked at."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from napari.layers import Shapes
from qtpy.QtCore import QTimer

from napari_her2.cores import Core
from napari_her2.regions import Region, RegionKind, regions_on
from napari_her2.viewer.regions_layer import (
    add_regions_layer,
    drawing_on,
    find_regions_layer,
    paint,
    regions_of_layer,
    set_kind,
)
from napari_her2.viewer.session import Session

__all__ = ["DrawnRegions"]

#: Width of an edge as a share of the usual diameter: 3.5 µm on a core of 1 mm.
_WIDTH = 0.0035
_HOW = {
    "count here": "Go round the tumour to count",
    "leave out": "Go round what to leave out",
}


class DrawnRegions:
    """The regions stand in a layer of their own, and may be moved, reshaped and deleted there with napari's tools.

    It speaks through the session's signals.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._layer: Shapes | None = None
        self._seen: tuple[Region, ...] | None = None
        self._on: dict[tuple[float, ...], tuple[Region, ...]] = {}
        session.changed.connect(self._follow)

    def regions(self) -> tuple[Region, ...]:
        """All those of the slide."""
        if self._seen is None:
            layer = self._find()
            self._seen, self._on = (() if layer is None else regions_of_layer(layer)), {}
        return self._seen

    def on(self, core: Core) -> tuple[Region, ...]:
        """Those that lie on a core, as `Measurement.regions` has them."""
        regions, where = self.regions(), (core.y, core.x, core.diameter)
        if where not in self._on:
            self._on[where] = regions_on(core, regions)
        return self._on[where]

    @property
    def drawing(self) -> RegionKind | None:
        """Which kind is being drawn."""
        layer = self._layer
        # equal and not identical, here and below: napari hands plugins the layers in a wrapper
        if layer is None or self.session.viewer.layers.selection.active != layer:
            return None
        return drawing_on(layer)

    def draw(self, kind: RegionKind) -> None:
        """Let the user draw regions of a kind, one after another, until `stop`."""
        session, image, cores = self.session, self.session.image, self.session.cores_layer
        if image is None or cores is None:
            session.said.emit("Find the cores first.", False)
            return
        layer = self._find()
        if layer is None:
            usual = float(np.median([core.diameter for core in session.grid()] or [1000.0]))
            layer = add_regions_layer(session.viewer.layers, image, cores, _WIDTH * usual)
        self._bind(layer)
        layer.visible = True
        set_kind(layer, kind)
        session.viewer.layers.selection.active = layer
        layer.mode = "add_polygon_lasso"
        how = "hold the mouse button, or click, go round, and click again."
        session.said.emit(f"{_HOW[kind]}: {how} Press {kind.capitalize()} once more when done.", False)
        session.changed.emit()

    def stop(self) -> None:
        """Back to the cores."""
        session = self.session
        if self._layer is not None and self.drawing:
            self._layer.mode = "pan_zoom"
            session.viewer.layers.selection.active = session.cores_layer
            session.said.emit("", False)
        session.changed.emit()

    def _find(self) -> Shapes | None:
        image = self.session.image
        return None if image is None else find_regions_layer(self.session.viewer.layers, image)

    def _follow(self) -> None:
        if self.session.is_open:
            self._bind(self._find())

    def _bind(self, layer: Shapes | None) -> None:
        if layer == self._layer:
            return
        old, self._layer, self._seen = self._layer, layer, None
        if old is not None:
            for event in (old.events.data, old.events.features):
                event.disconnect(self._on_shapes)
            old.events.mode.disconnect(self._tell)
            with suppress(TypeError, ValueError):  # an old napari has forgotten it by itself
                self.session.viewer.layers.selection.events.active.disconnect(self._tell)
        if layer is not None:
            for event in (layer.events.data, layer.events.features):
                event.connect(self._on_shapes)
            layer.events.mode.connect(self._tell)
            self.session.viewer.layers.selection.events.active.connect(self._tell)

    def _on_shapes(self, event: Any) -> None:
        if not str(getattr(event, "action", "")).lower().endswith("ing"):
            # later, not here: napari is still in the middle of drawing the shape
            QTimer.singleShot(0, self._settle)

    def _settle(self) -> None:
        layer = self._layer
        if layer is None or getattr(layer, "_is_creating", False) or getattr(layer, "_is_moving", False):
            return
        paint(layer)
        before, self._seen = self._seen, None
        if self.regions() != before:
            self._tell()

    def _tell(self, _: Any = None) -> None:
        if self.session.is_open:
            self.session.changed.emit()
