"""Session: which slide, which cores, what is running; the verbs of the widget without the widget.

What is known of a slide lives in its layers, so that it survives closing the widget. The session only watches them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Layer, Shapes
from napari.qt.threading import create_worker
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.errors import HER2Error
from napari_her2.models import ScoringModel
from napari_her2.scores import CoreScore
from napari_her2.slide import Slide
from napari_her2.viewer import ask
from napari_her2.viewer.cores_layer import (
    add_cores_layer,
    clear_scores,
    find_cores_layer,
    grid_of_layer,
    scores_of_layer,
)
from napari_her2.viewer.heatmap_layer import find_heatmap_layer, heatmap_of_layer
from napari_her2.viewer.score_worker import ScoreRun, sentence
from napari_her2.viewer.slide_layer import KEY, give_pixel_size, is_slide_layer, slide_of_layer
from napari_her2.viewer.tidy import moved_cores, put_back, tidy

__all__ = ["Session"]


class Session:
    """The state behind the widget, and what can be done with it.

    Signals: `changed()` when anything that the widget shows may be another; `selected()` when the selection of cores
    is; `said(message, is_error)` when there is one sentence to tell; `wrote(paths)` when results were exported.
    """

    changed = Signal()
    selected = Signal()
    said = Signal(str, bool)
    wrote = Signal(list)

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.image: Image | None = None
        self.slide: Slide | None = None
        self.cores_layer: Shapes | None = None
        self.model: ScoringModel | None = None
        self.device = "auto"
        self.run: ScoreRun | None = None
        #: What goes on beside scoring, as in "Looking for cores"; "" when nothing does.
        self.busy = ""
        self._job = 0
        self._open = False
        self._later = QTimer()
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._settle)

    # --- opening and closing, a pair -------------------------------------------------------------------------------

    def open(self) -> None:
        """Watch the layers of the viewer, and take up the slide that is there."""
        if self._open:
            return
        self._open = True
        layers = self.viewer.layers
        layers.events.inserted.connect(self._on_inserted)
        layers.events.removed.connect(self._on_removed)
        for layer in layers:
            layer.events.name.connect(self._on_renamed)
        active = layers.selection.active
        self.choose(active if active in self.slides() else next(iter(self.slides()[::-1]), None))

    def close(self) -> None:
        """Stop what runs, keep what is done, and let go of every layer."""
        if not self._open:
            return
        self._open = False
        self.cancel()
        layers = self.viewer.layers
        layers.events.inserted.disconnect(self._on_inserted)
        layers.events.removed.disconnect(self._on_removed)
        for layer in layers:
            layer.events.name.disconnect(self._on_renamed)
        self._bind(None)
        self._later.stop()
        self.image = self.slide = None

    def slides(self) -> list[Image]:
        """The layers that can be scored."""
        return [la for la in self.viewer.layers if isinstance(la, Image) and is_slide_layer(la)]

    # --- the verbs -------------------------------------------------------------------------------------------------

    def choose(self, image: Image | None) -> None:
        """Turn to another slide, and to the cores that were found on it before."""
        self.image, self.slide = image, None
        cores_layer = None
        if image is not None:
            try:
                self.slide = slide_of_layer(image)
                cores_layer = find_cores_layer(self.viewer.layers, image)
            except HER2Error as error:
                self.said.emit(str(error), True)
        self._bind(cores_layer)
        if cores_layer is not None:
            self._show_cores()
            self._settle()
        self.changed.emit()

    def give_mpp(self, mpp: float | None) -> None:
        """Set the pixel size of the slide (µm); None goes back to what the image says."""
        if self.image is None or self.slide is None:
            return
        try:
            give_pixel_size(self.image, mpp)
            self.slide = slide_of_layer(self.image)
        except HER2Error as error:
            self.said.emit(str(error), True)
        self.changed.emit()

    def find(self) -> None:
        """Look for the cores in the background, and show them."""
        if self.slide is None or self.image is None or self.working:
            return
        scored = len(self.scores())
        question = f"Finding the cores again removes the scores of {scored} cores."
        if scored and not ask.confirm(question, "Find again"):
            return
        image, slide = self.image, self.slide
        self._begin("Looking for cores", lambda: _find(slide), lambda grid: self._found(image, slide, grid))

    def score(self, names: Iterable[str]) -> None:
        """Score the named cores in the background; those without tissue are passed over."""
        why = self.why_no_scoring()
        wanted = set(names)
        cores = [core for core in self.grid().scorable if core.name in wanted]
        if why or not cores:
            self.said.emit(why or "None of the selected cores holds tissue: select others.", True)
            return
        if self.cores_layer is None or self.slide is None or self.image is None or self.model is None:
            return
        if not self._one_way_of_scoring(wanted):
            return
        run = ScoreRun(self.viewer.layers, self.image, self.cores_layer, self.slide, cores, self.model, self.device)
        self.run = run
        run.progressed.connect(self.changed.emit)
        run.ended.connect(lambda message: self._ended(run, message))
        run.start()
        self.said.emit("", False)
        self.changed.emit()

    def cancel(self) -> None:
        """Stop scoring after the core that is being judged, or give up what else goes on."""
        if self.run is not None:
            self.run.cancel()
        self._job += 1
        self.busy = ""
        self.changed.emit()

    def export(self, folder: Path) -> None:
        """Write the results of this slide into a folder, in the background; asks before it replaces any."""
        from napari_her2.export import Run, check_results, write_results

        if self.slide is None or self.cores_layer is None or self.image is None:
            return
        overwrite = False
        try:
            check_results(folder, self.slide.name, overwrite=True)
            try:
                check_results(folder, self.slide.name)
            except HER2Error:
                question = f"{folder} already holds results of {self.slide.name}."
                overwrite = ask.confirm(question, "Replace them")
                if not overwrite:
                    return
            layer = find_heatmap_layer(self.viewer.layers, self.image)
            heatmap = None if layer is None else heatmap_of_layer(layer)
            if heatmap is not None:
                heatmap.image = heatmap.image.copy()  # the run that goes on may draw while this is written
            way = self.cores_layer.metadata.get(KEY, {}).get("scored_with") or {}
            provenance = {"seed": 0, "parameters": way, "device": self.device}
            run = Run(self.slide, self.grid(), self.scores(), self.model if way else None, heatmap, provenance)
        except HER2Error as error:
            self.said.emit(str(error), True)
            return
        self._begin("Writing the results", lambda: write_results(folder, run, overwrite=overwrite), self._written)

    # --- what the widget shows -------------------------------------------------------------------------------------

    @property
    def working(self) -> bool:
        """Whether something goes on that has to end first."""
        return bool(self.busy) or (self.run is not None and self.run.running)

    def grid(self) -> CoreGrid:
        """The cores as they stand on the screen; none when the table was edited into something else."""
        return self._read(grid_of_layer) or CoreGrid()

    def scores(self) -> dict[str, CoreScore]:
        """The scores as they stand in the features."""
        return self._read(scores_of_layer) or {}

    def rest(self) -> list[str]:
        """Names of the cores with tissue that have no result of this way of scoring yet."""
        done = self.scores() if self._way() == self._last_way() else {}
        return [core.name for core in self.grid().scorable if core.name not in done]

    def why_no_scoring(self) -> str:
        """What has to be done before cores can be scored; "" when nothing."""
        if self.slide is None:
            return "Open a slide first."
        if self.cores_layer is None:
            return "Find the cores first."
        if self.slide.mpp is None:
            return "Give the pixel size in step 1 first."
        if self.model is None:
            return "No scoring model is installed: choose a model file."
        if self.run is not None and self.run.running:
            return f"{self.run.slide.name} is being scored."
        return f"{self.busy}." if self.busy else ""

    # --- jobs beside scoring ---------------------------------------------------------------------------------------

    def _begin(self, name: str, work: Any, then: Any) -> None:
        self._job += 1
        job, self.busy = self._job, name

        def guarded() -> Any:
            try:
                return work()
            except Exception as error:
                return error

        def receive(result: Any) -> None:
            if job != self._job or not self._open:
                return  # cancelled
            self.busy = ""
            if isinstance(result, Exception):
                self.said.emit(sentence(result, name), True)
            else:
                then(result)
            self.changed.emit()

        worker = create_worker(guarded)
        worker.returned.connect(receive)
        worker.start()
        self.said.emit("", False)
        self.changed.emit()

    def _found(self, image: Image, slide: Slide, grid: CoreGrid) -> None:
        layers = self.viewer.layers
        if image not in layers:
            self.said.emit(f"{slide.name} was closed before its cores were found.", True)
            return
        for old in (find_cores_layer(layers, image), find_heatmap_layer(layers, image)):
            if old is not None:
                layers.remove(old)
        layer = add_cores_layer(layers, image, slide, grid)
        if image is self.image:
            self._bind(layer)
            self._show_cores()
        empty = len(grid) - len(grid.scorable)
        self.said.emit(f"{len(grid)} cores found" + (f", {empty} of them without tissue." if empty else "."), False)

    def _written(self, paths: list[Path]) -> None:
        self.said.emit(f"{len(paths)} files written to {paths[0].parent}.", False)
        self.wrote.emit(paths)

    # --- scoring ---------------------------------------------------------------------------------------------------

    def _way(self) -> dict[str, Any]:
        """What two scores must have in common to stand in one table."""
        if self.model is None or self.slide is None:
            return {}
        return {"model": self.model.name, "model_sha256": self.model.sha256, "pixel_size_um": self.slide.mpp}

    def _last_way(self) -> dict[str, Any] | None:
        return None if self.cores_layer is None else self.cores_layer.metadata.get(KEY, {}).get("scored_with")

    def _one_way_of_scoring(self, wanted: set[str]) -> bool:
        assert self.cores_layer is not None
        others = [s for name, s in self.scores().items() if name not in wanted]
        last = self._last_way()
        if others and last is not None and last != self._way():
            question = (
                f"{len(others)} other cores were scored with {last['model']} at {last['pixel_size_um']:g} µm per pixel."
                " One table holds one way of scoring: their scores will be removed."
            )
            if not ask.confirm(question, "Remove and score"):
                return False
            self._forget(others)
        self.cores_layer.metadata.setdefault(KEY, {"kind": "cores"})["scored_with"] = self._way()
        return True

    def _ended(self, run: ScoreRun, message: str) -> None:
        if run.done and not message:
            head = "Cancelled: " if run.cancelled and run.done < len(run.cores) else ""
            message = f"{head}{run.done} of {len(run.cores)} cores of {run.slide.name} scored."
            if run.failed:
                message += f" {run.failed} could not be scored: their note says why."
            if run.stale:
                message += f" {run.stale} were moved or deleted meanwhile."
            self.said.emit(message, False)
        else:
            self.said.emit(message or "Cancelled: nothing was scored.", bool(message))
        self.changed.emit()

    def _forget(self, scores: Iterable[CoreScore]) -> None:
        """Take scores off the table and off the heatmap."""
        if self.cores_layer is None or self.image is None:
            return
        scores = list(scores)
        layer = find_heatmap_layer(self.viewer.layers, self.image)
        if layer is not None:
            heatmap = heatmap_of_layer(layer)
            for score in scores:
                heatmap.clear(score)
            layer.refresh()
        clear_scores(self.cores_layer, [s.core.name for s in scores])

    # --- watching the layers ---------------------------------------------------------------------------------------

    def _bind(self, layer: Shapes | None) -> None:
        old, self.cores_layer = self.cores_layer, layer
        if old is not None and old is not layer:
            old.events.data.disconnect(self._on_shapes)
            old.events.features.disconnect(self._on_shapes)
            old.selected_data.events.items_changed.disconnect(self._on_selection)
        if layer is not None and old is not layer:
            layer.events.data.connect(self._on_shapes)
            layer.events.features.connect(self._on_shapes)
            layer.selected_data.events.items_changed.connect(self._on_selection)

    def _show_cores(self) -> None:
        """Let clicks and boxes select cores."""
        assert self.cores_layer is not None
        self.viewer.layers.selection.active = self.cores_layer
        self.cores_layer.mode = "select"

    def _on_shapes(self, event: Any) -> None:
        # later, not here: napari is still in the middle of drawing or moving the shape
        if not str(getattr(event, "action", "")).lower().endswith("ing"):
            self._later.start(0)

    def _on_selection(self) -> None:
        self.selected.emit()

    def _settle(self) -> None:
        """Make features and shapes agree after the user changed either."""
        layer = self.cores_layer
        if layer is None or self._later.property("asking") or getattr(layer, "_is_moving", False):
            return
        moved = moved_cores(layer)
        if moved:
            self._later.setProperty("asking", True)
            names = f"{moved[0]} was" if len(moved) == 1 else f"{len(moved)} cores were"
            question = f"{names} moved. What is somewhere else has another score: the score will be removed."
            agreed = ask.confirm(question, "Move and remove the score", "Put back")
            self._later.setProperty("asking", False)
            if agreed:
                self._forget(self._scores_at_old_places(moved))
            else:
                put_back(layer, moved)
        new = tidy(layer)
        if new:
            self.said.emit(f"New core {', '.join(new)}: it can be selected and scored like the others.", False)
        self.changed.emit()

    def _scores_at_old_places(self, names: list[str]) -> list[CoreScore]:
        assert self.cores_layer is not None
        table = self.cores_layer.features
        rows = table[table["core"].isin(names)].to_dict("records")
        state = CoreState.TISSUE
        return [CoreScore(Core(r["core"], -1, -1, r["y"], r["x"], r["diameter"], state)) for r in rows]

    def _on_inserted(self, event: Any) -> None:
        event.value.events.name.connect(self._on_renamed)
        if isinstance(event.value, Image) and is_slide_layer(event.value) and not self.working:
            self.choose(event.value)
        else:
            self.changed.emit()

    def _on_removed(self, event: Any) -> None:
        layer: Layer = event.value
        layer.events.name.disconnect(self._on_renamed)
        if self.run is not None and self.run.running and self.run.uses(layer):
            self.run.cancel(f"Scoring stopped because {layer.name} was deleted; the cores that were done are kept.")
        if layer is self.cores_layer:
            self._bind(None)
        if layer is self.image:
            self.choose(next(iter(self.slides()[::-1]), None))
        self.changed.emit()

    def _on_renamed(self) -> None:
        self.changed.emit()

    def _read(self, what: Any) -> Any:
        if self.cores_layer is None:
            return None
        try:
            return what(self.cores_layer)
        except HER2Error as error:
            self.said.emit(str(error), True)
            return None


def _find(slide: Slide) -> CoreGrid:
    from napari_her2.dearray import find_cores

    return find_cores(slide)
