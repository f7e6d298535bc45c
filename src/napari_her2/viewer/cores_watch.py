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
from napari_her2.models import ScoringModel
from napari_her2.scores import CoreScore
from napari_her2.slide import Slide
from napari_her2.viewer import ask
from napari_her2.viewer.cores_layer import grid_of_layer
from napari_her2.viewer.cores_scores import clear_scores, scores_of_layer
from napari_her2.viewer.edit_layer import Scored, scored_of_layer, write_grid
from napari_her2.viewer.heatmap_layer import find_heatmap_layer, heatmap_of_layer, redraw, score_image
from napari_her2.viewer.history import History, State
from napari_her2.viewer.recut import model_of_layer, recut_layer
from napari_her2.viewer.slide_layer import KEY
from napari_her2.viewer.tidy import moved_cores, moved_scored_cores, put_back, tidy

__all__ = ["CoresWatch", "forget"]


class CoresWatch:
    """Bound to a layer or to none; what the user does to the layer, and what `edit` does, can be undone.

    A moved core that was scored is put back, or loses its score: the user is asked.

    Signals: `changed()` after shapes or features changed, `selected()` after the selection did, `recut(model)` when
    the scores got its cut points, and `said(message, is_error)`.
    """

    changed = Signal()
    selected = Signal()
    recut = Signal(object)
    said = Signal(str, bool)

    def __init__(self, layers: LayerList) -> None:
        self.layer: Shapes | None = None
        self.slide: Slide | None = None
        self._layers = layers
        self._asking = False
        self._seen: tuple[CoreGrid, dict[str, CoreScore]] | None = None
        self._sound, self._told = True, ""
        self._later = QTimer()
        self._later.setSingleShot(True)
        self._later.timeout.connect(self.settle)

    def bind(self, layer: Shapes | None, slide: Slide | None = None) -> None:
        """Let go of the layer there was, and look after this one, which shows cores of `slide`."""
        old, self.layer = self.layer, layer
        self.slide = slide
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
            self._seen, self._sound = (CoreGrid(), {}), True
            if self.layer is not None:
                try:
                    grid = grid_of_layer(self.layer)
                    self._seen = grid, scores_of_layer(self.layer, grid)
                    self._told = ""
                except HER2Error as error:
                    self._sound = False
                    if str(error) != self._told:
                        self._told = str(error)
                        self.said.emit(str(error), True)
        return self._seen

    # --- what the user does ----------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Make features and shapes agree after the user changed either."""
        layer, slide = self.layer, self.slide
        if self._seen is not None and self._history.states and self._seen[0] is self._history.now.grid:
            return  # what changed was an edit of ours, and is noted
        self._seen = None
        # a flush of scores must not settle a shape that is still under the mouse
        if layer is None or slide is None or self._asking or getattr(layer, "_is_moving", False):
            return
        if not self._history.states:
            self._push("")
        moved = moved_scored_cores(layer)
        if moved and not self._agrees(moved):
            put_back(layer, moved)
        elif moved:
            self._leave()
            self._clear_heat(_where_scored(layer, moved))
            clear_scores(layer, moved)
        did = [f"move of {_some(moved_cores(layer))}"] if moved_cores(layer) else []
        try:
            new = tidy(layer, slide)
        except HER2Error:  # the table was edited into something that is no grid; `read` tells
            new = []
        if new or did:
            self._seen = None
        if new:
            did.append(f"new core {_some(new)}")
            self.said.emit(f"New core {', '.join(new)}: select and score it like the others.", False)
        self._record(" and ".join(did))
        self.changed.emit()

    def _agrees(self, moved: list[str]) -> bool:
        names = f"{moved[0]} was" if len(moved) == 1 else f"{len(moved)} scored cores were"
        question = f"{names} moved. The score belongs to the tissue there was: it will be removed."
        self._asking = True
        agreed = ask.confirm(question, "Move and remove the score", "Put back")
        self._asking = False
        return agreed

    def _record(self, did: str) -> None:
        """Note the state that the user made, if it is another one."""
        grid = self.read()[0]
        if not self._sound or self.layer is None:
            return
        before = {core.name: core for core in self._history.now.grid}
        after = {core.name: core for core in grid}
        if before == after:
            self._leave()
            return
        gone = [name for name in before if name not in after]
        if gone and not did:
            did = f"deletion of {_some(gone)}"
            self._clear_heat([core for core in self._history.now.scored.places if core.name in gone])
        self._push(did or "change of the table")

    # --- what the widget does --------------------------------------------------------------------------------------

    def edit(self, did: str, grid: CoreGrid, scored: Scored | None = None) -> None:
        """Show another grid; scores stay with their tissue, and places without get those of `scored`."""
        if self.layer is None or self.slide is None:
            return
        if not self._history.states:
            self._push("")
        self._leave()
        lost, _ = write_grid(self.layer, self.slide, grid, scored)
        self._seen = None
        self._clear_heat(lost)
        self._push(did)
        self.changed.emit()

    def calibrate(self, did: str, model: ScoringModel) -> int:
        """Give the scores the cut points of `model`; returns how many are called otherwise now."""
        if self.layer is None or self.slide is None:
            return 0
        if not self._history.states:
            self._push("")
        self._leave()
        changed = recut_layer(self.layer, self.slide, model)
        self._seen = None
        self._push(did)
        self.recut.emit(model)
        self.changed.emit()
        return changed

    @property
    def undoes(self) -> str:
        """What `undo` would take back, as in "move of A-1"; "" when nothing."""
        return self._history.undoes

    @property
    def redoes(self) -> str:
        """What `redo` would do again."""
        return self._history.redoes

    def undo(self) -> None:
        """Take back what was done last."""
        if self.undoes:
            self.said.emit(f"Undone: {self.undoes}.", False)
            self._go(self._history.at - 1)

    def redo(self) -> None:
        """Do again what was undone last."""
        if self.redoes:
            self.said.emit(f"Done again: {self.redoes}.", False)
            self._go(self._history.at + 1)

    def _go(self, at: int) -> None:
        history, target = self._history, self._history.states[at]
        if self.layer is None or self.slide is None:
            return
        self._leave()
        self._put_cuts_back(target)
        lost, regained = write_grid(self.layer, self.slide, target.grid, target.scored)
        self._clear_heat(lost)
        history.at = at
        self._seen = None
        target.grid = self.read()[0]
        self._put_heat_back([core for core in target.grid if core.name in regained], target)
        self.changed.emit()

    def resize(self, slide: Slide) -> None:
        """The same slide with another pixel size: the micrometres follow."""
        self.slide = slide
        grid = self.read()[0]
        if self.layer is not None and len(grid):
            write_grid(self.layer, slide, grid)

    # --- history and heatmap ---------------------------------------------------------------------------------------

    @property
    def _history(self) -> History:
        """The history of the layer, which lives with it: closing the widget forgets nothing."""
        if self.layer is None:
            return History()
        known = self.layer.metadata.setdefault(KEY, {})
        history: History = known.setdefault("history", History())
        return history

    def _push(self, did: str) -> None:
        grid = self.read()[0]
        if self.layer is not None and self._sound:
            self._history.push(State(did, grid, scored_of_layer(self.layer), model=model_of_layer(self.layer)))

    def _leave(self) -> None:
        if self.layer is not None:
            self._history.leave(scored=scored_of_layer(self.layer), model=model_of_layer(self.layer))

    def _put_cuts_back(self, state: State) -> None:
        """The cut points of a state, when the scores that are there come from the same network."""
        if self.layer is None or self.slide is None:
            return
        now, then = model_of_layer(self.layer), state.model
        if now is None or then is None or now.sha256 != then.sha256 or now.recalibration == then.recalibration:
            return
        recut_layer(self.layer, self.slide, then)
        self.recut.emit(then)

    def _clear_heat(self, cores: Iterable[Core]) -> None:
        """Take cores off the heatmap; the state that is left remembers it as it was."""
        cores = list(cores)
        layer = find_heatmap_layer(self._layers, self.layer) if self.layer is not None and cores else None
        if layer is None:
            return
        self._history.leave(heat=score_image(layer).copy())
        _clear(layer, cores)

    def _put_heat_back(self, cores: list[Core], state: State) -> None:
        layer = find_heatmap_layer(self._layers, self.layer) if self.layer is not None and cores else None
        if layer is None or state.heat is None or state.heat.shape != layer.data.shape:
            return
        heatmap = heatmap_of_layer(layer)
        for core in cores:
            heatmap.put_back(core, state.heat)
        redraw(layer)

    # --- watching --------------------------------------------------------------------------------------------------

    def _on_shapes(self, event: Any) -> None:
        self._seen = None
        # later, not here: napari is still in the middle of drawing or moving the shape
        if not str(getattr(event, "action", "")).lower().endswith("ing"):
            self._later.start(0)

    def _on_selection(self) -> None:
        self.selected.emit()


def forget(layers: LayerList, layer: Shapes, scores: Iterable[CoreScore]) -> None:
    """Take scores off the table and off the heatmap."""
    cores = [score.core for score in scores]
    heatmap_layer = find_heatmap_layer(layers, layer)
    if heatmap_layer is not None:
        _clear(heatmap_layer, cores)
    clear_scores(layer, [core.name for core in cores])


def _clear(layer: Any, cores: Iterable[Core]) -> None:
    heatmap = heatmap_of_layer(layer)
    for core in cores:
        heatmap.clear(core)
    redraw(layer)


def _where_scored(layer: Shapes, names: list[str]) -> list[Core]:
    """The cores at the places that the features still have, which the heatmap was drawn at."""
    return [core for core in scored_of_layer(layer).places if core.name in names]


def _some(names: list[str]) -> str:
    """As in "A-1" or "A-1 and 3 more"."""
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
