"""Session: which slide, which cores, what is running; the verbs of the widget without the widget.

What is known of a slide lives in its layers, so that it survives closing the widget. The session only watches them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Layer, Shapes
from psygnal import Signal

from napari_her2.cores import CoreGrid
from napari_her2.dearray import DearrayParams
from napari_her2.errors import HER2Error
from napari_her2.models import ScoringModel
from napari_her2.scores import CoreScore
from napari_her2.slide import Slide
from napari_her2.viewer import one_way
from napari_her2.viewer.autosave import Autosave
from napari_her2.viewer.background import Background, sentence
from napari_her2.viewer.core_run import CoreRun
from napari_her2.viewer.cores_layer import add_cores_layer, find_cores_layer, grid_of_layer
from napari_her2.viewer.cores_watch import CoresWatch
from napari_her2.viewer.edit_layer import Scored, write_grid
from napari_her2.viewer.keep_readings import readings_onto
from napari_her2.viewer.recut import model_of_layer
from napari_her2.viewer.score_worker import ScoreRun
from napari_her2.viewer.selection import selected_names
from napari_her2.viewer.slide_layer import KEY, give_pixel_size, is_slide_layer, slide_of_layer

__all__ = ["Session"]


class Session:
    """The state behind the widget, and what can be done with it.

    Signals: `changed()` when anything that the widget shows may be another; `selected()` when the selection of cores
    is; `said(message, is_error)` when there is one sentence to tell; `wrote(paths)` when results were exported;
    `learned(model)` when a model was trained and saved.
    """

    changed = Signal()
    selected = Signal()
    said = Signal(str, bool)
    wrote = Signal(list)
    learned = Signal(object)

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.image: Image | None = None
        self.slide: Slide | None = None
        self.model: ScoringModel | None = None
        self.device = "auto"
        self.normalise = False  # whether the model is shown slides in the colours that it knows best
        self.params = DearrayParams()
        self.run: CoreRun[Any] | None = None
        self._open = False
        self._background = Background()
        self._watch = CoresWatch(viewer.layers)
        self._watch.changed.connect(self.changed.emit)
        self._watch.selected.connect(self.selected.emit)
        self._watch.said.connect(self.said.emit)
        self._watch.recut.connect(self._take_cuts)
        self._autosave = Autosave(self._watch)

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
            layer.events.name.connect(self._tell)
        # equal and not identical: napari hands plugins the layers in a wrapper here
        active = [image for image in self.slides() if image == layers.selection.active]
        self.choose((active or self.slides() or [None])[-1])

    def close(self) -> None:
        """Stop what runs, keep what is done, and let go of every layer."""
        if not self._open:
            return
        self._open = False
        # nothing is told any more: the widget may be half gone
        if self.run is not None:
            self.run.cancel()
        self._background.give_up()
        layers = self.viewer.layers
        layers.events.inserted.disconnect(self._on_inserted)
        layers.events.removed.disconnect(self._on_removed)
        for layer in layers:
            layer.events.name.disconnect(self._tell)
        self._autosave.flush()
        self._watch.bind(None)
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
        self._autosave.flush()
        self._watch.bind(cores_layer, self.slide)
        if cores_layer is not None:
            self._take_cuts(model_of_layer(cores_layer))
            self.normalise = one_way.was_normalised(self)
            self._show_cores()
            self._watch.settle()
        self.changed.emit()

    def give_mpp(self, mpp: float | None) -> None:
        """Set the pixel size of the slide (µm); None goes back to what the image says."""
        if self.image is None or self.slide is None:
            return
        try:
            give_pixel_size(self.image, mpp)
            self.slide = slide_of_layer(self.image)
            self._watch.resize(self.slide)
        except HER2Error as error:
            self.said.emit(str(error), True)
        self.changed.emit()

    def find(self) -> None:
        """Look for the cores in the background, and show them."""
        if self.slide is None or self.image is None or self.working:
            return
        image, slide, params = self.image, self.slide, self.params
        self._begin("Looking for cores", lambda: _find(slide, params), lambda found: self._found(image, slide, *found))

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
        if not one_way.keep(self, wanted):
            return
        where = self.viewer.layers, self.image, self.cores_layer, self.slide
        run = ScoreRun(*where, cores, self.model, self.device, one_way.stains_of(self))
        self.run = run
        run.progressed.connect(self._tell)
        run.ended.connect(lambda message: self._ended(run, message))
        run.start()
        self.said.emit("", False)
        self.changed.emit()

    def use_normalised(self, on: bool) -> None:
        """Show the model slides in the colours that it knows best from now on, or as they are."""
        self.normalise = on
        self.changed.emit()

    def cancel(self) -> None:
        """Stop scoring after the core that is being judged, or give up what else goes on."""
        if self.run is not None:
            self.run.cancel()
        self._background.give_up()
        self.changed.emit()

    # --- what the widget shows -------------------------------------------------------------------------------------

    @property
    def cores_layer(self) -> Shapes | None:
        """The cores of this slide, when they were found."""
        return self._watch.layer

    @property
    def is_open(self) -> bool:
        """Whether anybody looks on; after `close` nothing is told any more."""
        return self._open

    @property
    def busy(self) -> str:
        """What goes on beside scoring, as in "Looking for cores"; "" when nothing does."""
        return self._background.name

    @property
    def working(self) -> bool:
        """Whether something goes on that has to end first."""
        return bool(self.busy) or (self.run is not None and self.run.running)

    def grid(self) -> CoreGrid:
        """The cores as they stand on the screen."""
        return self._watch.read()[0]

    def scores(self) -> dict[str, CoreScore]:
        """The scores as they stand in the features, by core name."""
        return self._watch.read()[1]

    def chosen(self) -> list[str]:
        """Names of the selected cores that hold tissue."""
        if self.cores_layer is None or not self.cores_layer.selected_data:
            return []
        tissue = {core.name for core in self.grid().scorable}
        return [name for name in selected_names(self.cores_layer) if name in tissue]

    def rest(self) -> list[str]:
        """Names of the cores with tissue that have no result of this way of scoring yet."""
        same = one_way.way(self) == one_way.last_way(self)
        done = {name for name, score in self.scores().items() if same and not score.failed}
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
        if why := one_way.why_no_colours(self):
            return why
        if self.run is not None and self.run.running:
            return f"{self.run.slide.name} is being {self.run.doing}."
        return f"{self.busy}." if self.busy else ""

    def _found(self, image: Image, slide: Slide, grid: CoreGrid, remarks: list[str]) -> None:
        layer = find_cores_layer(self.viewer.layers, image)
        # patients and notes stay with their cores; a table that is no grid any more has none to give
        with suppress(HER2Error):
            grid = grid if layer is None else grid.with_data_of(grid_of_layer(layer))
        self.show(image, slide, grid, remarks)

    # --- other ways to cores ---------------------------------------------------------------------------------------

    def show(
        self,
        image: Image,
        slide: Slide,
        grid: CoreGrid,
        remarks: Sequence[str] = (),
        *,
        did: str = "finding the cores",
        scored: Scored | None = None,
    ) -> None:
        """Show the cores of a slide; on a layer of cores that is there, this is an edit that can be undone.

        `scored`: scores that come with the grid, for the places that it has them for.
        """
        layers = self.viewer.layers
        if image not in layers:
            self.said.emit(f"{slide.name} was closed before its cores were found.", True)
            return
        layer = find_cores_layer(layers, image)
        grid, unread = readings_onto(grid, layer)
        if layer is None:
            layer = add_cores_layer(layers, image, slide, grid)
            write_grid(layer, slide, grid, scored)
        elif layer is self.cores_layer:
            before = len(self.scores())
            self._watch.edit(did, grid, scored)
            gone = before - len(self.scores())
            remarks = [*remarks, *unread]
            if gone > 0:
                remarks.append(f"{gone} scores belonged to other places and are gone: Undo brings them back.")
        else:  # another slide is being looked at meanwhile
            write_grid(layer, slide, grid, scored)
        if image is self.image:
            self._watch.bind(layer, slide)
            self._watch.settle()
            self._show_cores()
        empty, doubtful = len(grid) - len(grid.scorable), len(grid.doubtful)
        text = f"{len(grid)} cores found" + (f", {empty} of them without tissue." if empty else ".")
        text += f" {doubtful} should be looked at: check the grid." if doubtful else ""
        self.said.emit(" ".join((text, *remarks)), False)

    def background(
        self, name: str, work: Callable[[], Any], then: Callable[[Any], None], *, beside_scoring: bool = False
    ) -> None:
        """Do something in another thread; `then` gets the result in this one, an error is told."""
        if beside_scoring or not self.working:
            self._begin(name, work, then)

    @property
    def watch(self) -> CoresWatch:
        """What looks after the layer of cores: edits, undo, redo."""
        return self._watch

    # --- jobs beside scoring ---------------------------------------------------------------------------------------

    def _begin(self, name: str, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        def receive(result: Any) -> None:
            if isinstance(result, Exception):
                self.said.emit(sentence(result, name), True)
            else:
                then(result)
            self.changed.emit()

        self._background.start(name, work, receive)
        self.said.emit("", False)
        self.changed.emit()

    # --- scoring ---------------------------------------------------------------------------------------------------

    def _take_cuts(self, model: ScoringModel | None) -> None:
        """The cut points that the scores have now are those of the scores to come."""
        if self.model is not None and model is not None and self.model.sha256 == model.sha256:
            self.model = model

    def _ended(self, run: ScoreRun, message: str) -> None:
        if not self._open:
            return
        if run.done and not message:
            head = "Cancelled: " if run.cancelled and run.done < len(run.cores) else ""
            message = f"{head}{run.done} of {len(run.cores)} cores of {run.slide.name} scored."
            if run.failed:
                message += f" {run.failed} could not be scored: their note says why."
            if run.stale:
                message += f" {run.stale} were moved or deleted meanwhile."
            if not run.cancelled:
                run.cores_layer.metadata.setdefault(KEY, {})["slide_flags"] = list(run.flags)
            self.said.emit(" ".join((message, *run.flags)), False)
        else:
            self.said.emit(message or "Cancelled: nothing was scored.", bool(message))
        self.changed.emit()

    # --- watching the layers ---------------------------------------------------------------------------------------

    def _show_cores(self) -> None:
        """Let clicks and boxes select cores."""
        if self.cores_layer is not None:
            self.viewer.layers.selection.active = self.cores_layer
            self.cores_layer.mode = "select"

    def _on_inserted(self, event: Any) -> None:
        event.value.events.name.connect(self._tell)
        if isinstance(event.value, Image) and is_slide_layer(event.value) and not self.working:
            self.choose(event.value)
        elif isinstance(event.value, Shapes) and self.cores_layer is None and not self.working:
            self.choose(self.image)  # cores that were opened from a file
        else:
            self.changed.emit()

    def _on_removed(self, event: Any) -> None:
        layer: Layer = event.value
        layer.events.name.disconnect(self._tell)
        if self.run is not None and self.run.running and self.run.uses(layer):
            why = f"{self.run.work} stopped because {layer.name} was deleted; the cores that were done are kept."
            self.run.cancel(why)
        if layer is self.cores_layer:
            self._watch.bind(None)
        if layer is self.image:
            self.choose((self.slides() or [None])[-1])
        self.changed.emit()

    def _tell(self) -> None:
        if self._open:
            self.changed.emit()


def _find(slide: Slide, params: DearrayParams) -> tuple[CoreGrid, list[str]]:
    from napari_her2.dearray import find_cores

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        grid = find_cores(slide, params)
    return grid, [str(w.message) for w in caught if issubclass(w.category, UserWarning)]
