"""CoresWatch: looks after one layer of cores while the user draws, moves, copies and deletes its shapes."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from napari.components import LayerList
from napari.layers import Shapes
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_her2.cores import Core, CoreGrid
from napari_her2.errors import HER2Error
from napari_her2.scores import CoreScore
from napari_her2.viewer import ask
from napari_her2.viewer.cores_layer import clear_scores, grid_of_layer, scores_of_layer
from napari_her2.viewer.heatmap_layer import find_heatmap_layer, heatmap_of_layer
from napari_her2.viewer.tidy import moved_cores, put_back, tidy

__all__ = ["CoresWatch", "forget"]


class CoresWatch:
    """Bound to a layer or to none. A moved core that was scored is put back, or loses its score: the user is asked.

    Signals: `changed()` after shapes or features changed, `selected()` after the selection did, and
    `said(message, is_error)`.
    """

    changed = Signal()
    selected = Signal()
    said = Signal(str, bool)

    def __init__(self, layers: LayerList) -> None:
        self.layer: Shapes | None = None
        self._layers = layers
        self._asking = False
        self._seen: tuple[CoreGrid, dict[str, CoreScore]] | None = None
        self._later = QTimer()
        self._later.setSingleShot(True)
        self._later.timeout.connect(self.settle)

    def bind(self, layer: Shapes | None) -> None:
        """Let go of the layer there was, and look after this one."""
        old, self.layer = self.layer, layer
        if old is layer:
            return
        self._seen = None
        if old is not None:
            with suppress(RuntimeError):  # when the application ends, Qt may have taken the timer already
                self._later.stop()
            old.events.data.disconnect(self._on_shapes)
            old.events.features.disconnect(self._on_shapes)
            old.selected_data.events.items_changed.disconnect(self._on_selection)
        if layer is not None:
            layer.events.data.connect(self._on_shapes)
            layer.events.features.connect(self._on_shapes)
            layer.selected_data.events.items_changed.connect(self._on_selection)

    def read(self) -> tuple[CoreGrid, dict[str, CoreScore]]:
        """The cores as they stand on the screen, and the scores as they stand in the features.

        Both are empty when the table was edited into something that is no grid; the user is told once.
        """
        if self._seen is None:
            self._seen = CoreGrid(), {}
            if self.layer is not None:
                try:
                    self._seen = grid_of_layer(self.layer), scores_of_layer(self.layer)
                except HER2Error as error:
                    self.said.emit(str(error), True)
        return self._seen

    def settle(self) -> None:
        """Make features and shapes agree after the user changed either."""
        layer = self.layer
        self._seen = None
        # a flush of scores must not settle a shape that is still under the mouse
        if layer is None or self._asking or getattr(layer, "_is_moving", False):
            return
        moved = moved_cores(layer)
        if moved:
            names = f"{moved[0]} was" if len(moved) == 1 else f"{len(moved)} scored cores were"
            question = f"{names} moved. The score belongs to the tissue there was: it will be removed."
            self._asking = True
            agreed = ask.confirm(question, "Move and remove the score", "Put back")
            self._asking = False
            if agreed:
                forget(self._layers, layer, _where_scored(layer, moved))
            else:
                put_back(layer, moved)
        new = tidy(layer)
        if new:
            self.said.emit(f"New core {', '.join(new)}: select and score it like the others.", False)
        self.changed.emit()

    def _on_shapes(self, event: Any) -> None:
        self._seen = None
        # later, not here: napari is still in the middle of drawing or moving the shape
        if not str(getattr(event, "action", "")).lower().endswith("ing"):
            self._later.start(0)

    def _on_selection(self) -> None:
        self.selected.emit()


def forget(layers: LayerList, layer: Shapes, scores: Iterable[CoreScore]) -> None:
    """Take scores off the table and off the heatmap."""
    scores = list(scores)
    heatmap_layer = find_heatmap_layer(layers, layer)
    if heatmap_layer is not None:
        heatmap = heatmap_of_layer(heatmap_layer)
        for score in scores:
            heatmap.clear(score)
        heatmap_layer.refresh()
    clear_scores(layer, [score.core.name for score in scores])


def _where_scored(layer: Shapes, names: list[str]) -> list[CoreScore]:
    """The cores at the places that the features still have, which the heatmap was drawn at."""
    rows = layer.features[layer.features["core"].isin(names)].to_dict("records")
    return [CoreScore(Core(r["core"], -1, -1, r["y"], r["x"], r["diameter"])) for r in rows]
