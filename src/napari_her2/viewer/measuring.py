"""Measuring: the second opinion, its verbs without the widget: measured cores, and their cells on zoom."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Shapes

from napari_her2.cores import Core, CoreGrid
from napari_her2.finders import NucleusFinder, source_of
from napari_her2.measure import Measurement, MeasureParams, measure_core
from napari_her2.membrane import RULES, Thresholds
from napari_her2.membrane.batch import BatchThresholds
from napari_her2.scores import Places
from napari_her2.stain_range import nuclear_warning
from napari_her2.viewer import ask
from napari_her2.viewer.background import Background, sentence
from napari_her2.viewer.cells_layer import core_of_cells, hide_cells, show_cells
from napari_her2.viewer.cells_view import core_in_view, look_into
from napari_her2.viewer.cores_measured import agree, by_network, clear_measured, measured_of_layer, set_measured
from napari_her2.viewer.drawn_regions import DrawnRegions
from napari_her2.viewer.measure_worker import MeasureRun
from napari_her2.viewer.selection import selected_names
from napari_her2.viewer.session import Session
from napari_her2.viewer.slide_layer import KEY
from napari_her2.viewer.slide_stains import SlideStains

__all__ = ["Measuring"]

#: Measured cores whose cells are kept, to be shown at once: 5 MB each.
_KEPT = 8


class Measuring:
    """What was measured on the cores that a session looks at, and what can be done about it.

    All that lasts stands in the features of the cores. Cells are counted in the regions that the user drew; on cores
    without any where the network saw tumour; on cores that were not scored either, likeness decides. It speaks
    through the session's signals.
    """

    #: Everything but rules, thresholds and what finds the nuclei.
    base = MeasureParams()

    def __init__(self, session: Session, slide_stains: SlideStains) -> None:
        self.session, self.slide_stains = session, slide_stains
        self.regions = DrawnRegions(session)
        self.rules = next(iter(RULES))
        #: Thresholds that were calibrated, used by the rules that they are for; None: the default ones.
        self.batch: BatchThresholds | None = None
        #: Finds the nuclei; None: `find_nuclei` does.
        self.finder: NucleusFinder | None = None
        self._batches: list[BatchThresholds | None] = []
        self._taken: Shapes | None = None
        self._cells = Background()
        self._full: OrderedDict[tuple[Any, ...], Measurement] = OrderedDict()
        self._seen: tuple[CoreGrid, dict[str, Measurement]] | None = None
        session.changed.connect(self._follow)

    # --- measuring -------------------------------------------------------------------------------------------------

    def why_not(self) -> str:
        """What has to be done before cores can be measured; "" when nothing."""
        session = self.session
        if session.slide is None:
            return self.slide_stains.why_not
        if session.cores_layer is None:
            return "Find the cores first."
        if session.slide.mpp is None:
            return "Give the pixel size in step 1 first."
        if self.slide_stains.stains is None:
            return self.slide_stains.why_not or "The stains of this slide are being looked for."
        if session.run is not None and session.run.running:
            return f"{session.run.slide.name} is being {session.run.doing}."
        return f"{session.busy}." if session.busy else ""

    def measured(self) -> dict[str, Measurement]:
        """The measurements as they stand in the features, by core name."""
        layer, grid = self.session.cores_layer, self.session.grid()
        if layer is None or not len(grid):
            return {}
        if self._seen is None or self._seen[0] is not grid:  # the grid is read anew after each change of the features
            self._seen = grid, measured_of_layer(layer, grid)
        return self._seen[1]

    def rest(self) -> list[str]:
        """Names of the cores with tissue that were not measured in this way yet."""
        layer = self.session.cores_layer
        if layer is None:
            return []
        done = set() if self.outdated else set(self.measured())
        cores = self.session.grid().scorable
        # measured by shape, and the network knows better now; what the user drew needs no network
        drawn = {c.name for c in cores if any(r.kind == "count here" for r in self.regions.on(c))}
        done -= set(self.places()) - by_network(layer, self.session.grid()) - drawn
        done -= self.redrawn()
        return [core.name for core in cores if core.name not in done]

    def redrawn(self) -> set[str]:
        """Names of the measured cores whose regions are others now."""
        found = self.measured().items()
        return {name for name, one in found if one.core is not None and one.regions != self.regions.on(one.core)}

    def places(self) -> dict[str, Places]:
        """Where the network saw tumour, by core name; cores that were not scored, or are from a file, have none."""
        found = ((name, score.places) for name, score in self.session.scores().items())
        return {name: places for name, places in found if places is not None and len(places)}

    @property
    def outdated(self) -> bool:
        """Whether what was measured was so with other stains, nuclei, rules or pixel size than those of now."""
        layer = self.session.cores_layer
        last = None if layer is None else layer.metadata.get(KEY, {}).get("measured_with")
        return last is not None and last != self._way() and bool(self.measured())

    def measure(self, names: Iterable[str]) -> None:
        """Measure the named cores in the background; those without tissue are passed over."""
        session, stains, why = self.session, self.slide_stains.stains, self.why_not()
        wanted = set(names)
        cores = [core for core in session.grid().scorable if core.name in wanted]
        if why or not cores:
            self._say(why or "None of the selected cores holds tissue: select others.", True)
            return
        if session.cores_layer is None or session.slide is None or session.image is None or stains is None:
            return
        if not self._one_way(wanted):
            return
        key = self._key()
        run = MeasureRun(
            *(session.viewer.layers, session.image, session.cores_layer, session.slide, cores, stains),
            *(self.params(), self.places(), self.regions.regions()),
            lambda measured, known: self._keep(key, known, measured),
        )
        session.run = run
        run.progressed.connect(self._tell)
        run.ended.connect(lambda message: self._ended(run, message))
        run.start()
        self._say("", False)
        self._tell()

    def params(self) -> MeasureParams:
        """How cores are measured from now on."""
        thresholds = Thresholds() if self.batch_in_use is None else self.batch_in_use.thresholds
        return replace(self.base, rules=RULES[self.rules], thresholds=thresholds, finder=self.finder)

    @property
    def batch_in_use(self) -> BatchThresholds | None:
        """The calibrated thresholds, if they hold for the rules and for what finds the nuclei."""
        now = self.rules, str(source_of(self.finder))
        return self.batch if self.batch is not None and (self.batch.rules, self.batch.nuclei) == now else None

    def use_finder(self, finder: NucleusFinder | None) -> None:
        """Measure with the nuclei of a finder from now on, None: those found here; what is measured stays as it is."""
        self.finder = finder
        if self.session.cores_layer is not None:
            self.session.cores_layer.metadata.setdefault(KEY, {})["measure_finder"] = finder
        rest = f" {len(self.measured())} cores were measured with others: Measure all does so again."
        self._say(f"Nuclei from now on: {source_of(finder)}.{rest if self.outdated else ''}", False)
        self._tell()

    def use_batch(self, batch: BatchThresholds | None) -> None:
        """Measure with these thresholds from now on, None: the default ones; what is measured stays as it is."""
        self._batches.append(self.batch)
        self._use(batch)

    @property
    def undoes_batch(self) -> str:
        """Whose thresholds `undo_batch` goes back to; "" when there is nothing to go back to."""
        last = self._batches[-1] if self._batches else None
        return "" if not self._batches else "the default thresholds" if last is None else last.batch

    def undo_batch(self) -> None:
        """Back to the thresholds before."""
        if self._batches:
            self._use(self._batches.pop())

    def _use(self, batch: BatchThresholds | None) -> None:
        layer, before = self.session.cores_layer, self._way()
        self.batch = batch
        if layer is not None:
            known = layer.metadata.setdefault(KEY, {})
            known["measure_batch"] = batch
            if known.get("measured_with") == before and _but_name(before) == _but_name(self._way()):
                known["measured_with"] = self._way()  # only the name is another
        said = (
            "Measuring with the default thresholds"
            if batch is None
            else f"Measuring with the thresholds of {batch.batch}"
        )
        rest = f" {len(self.measured())} cores were measured with others: Measure all does so again."
        self._say(f"{said} from now on.{rest if self.outdated else ''}", False)
        self._tell()

    def warning(self) -> str:
        """Whether nuclei are stained otherwise than where the thresholds were tried; "" when calibrated for it."""
        if self.batch_in_use is not None:
            return ""
        return nuclear_warning([one.nuclear_od for one in self.measured().values()], self.base.nuclear_od)

    def _way(self) -> dict[str, Any]:
        """What two measurements must have in common to stand in one table."""
        stains, slide = self.slide_stains.stains, self.session.slide
        if stains is None or slide is None:
            return {}
        thresholds, batch = (
            asdict(self.params().thresholds),
            "" if self.batch_in_use is None else self.batch_in_use.batch,
        )
        known = {"rules": self.rules, "thresholds_od": thresholds, "batch": batch, "stains": stains.to_dict()}
        return known | {"pixel_size_um": slide.mpp, "nuclei": source_of(self.finder).record()}

    def _one_way(self, wanted: set[str]) -> bool:
        layer = self.session.cores_layer
        if layer is None:
            return False
        others = [name for name in self.measured() if name not in wanted]
        if others and self.outdated:
            question = (
                f"{len(others)} other cores were measured with other stains, nuclei, rules, thresholds or pixel size. "
                "One table holds one way of measuring: their measurements will be removed."
            )
            if not ask.confirm(question, "Remove and measure"):
                return False
            clear_measured(layer, others)
        known = layer.metadata.setdefault(KEY, {})
        known["measured_with"], known["measure_batch"] = self._way(), self.batch  # the export reads the first
        known["measured_finder"] = self.finder
        return True

    def _ended(self, run: MeasureRun, message: str) -> None:
        if run.done and not message:
            head = "Cancelled: " if run.cancelled and run.done < len(run.cores) else ""
            message = f"{head}{run.done} of {len(run.cores)} cores of {run.slide.name} measured."
            if run.failed:
                message += f" {run.failed} are not scorable: the column measured_reason says why."
            if run.stale:
                message += f" {run.stale} were moved or deleted meanwhile."
            self._say(f"{message} {self.warning()}".strip(), False)
        else:
            self._say(message or "Cancelled: nothing was measured.", bool(message))
        shown = [core for core in run.cores if core.name == self.core_of_cells]
        if shown and run.image == self.session.image and run.cores_layer in self.session.viewer.layers:
            self.show_cells(shown[0], again=True)
        self._tell()

    # --- cells -----------------------------------------------------------------------------------------------------

    @property
    def core_of_cells(self) -> str:
        """Name of the core whose cells are shown; "" when none are."""
        image = self.session.image
        return "" if image is None else core_of_cells(self.session.viewer.layers, image)

    @property
    def drawing_cells(self) -> bool:
        """Whether cells are being made ready."""
        return bool(self._cells.name)

    def asked_core(self) -> Core | None:
        """The core whose cells `show_cells` would show: the one selected, else the one in the middle of the view."""
        layer = self.session.cores_layer
        if layer is None:
            return None
        grid = self.session.grid()
        chosen = set(selected_names(layer))
        cores = [core for core in grid.scorable if core.name in chosen]
        return cores[0] if len(cores) == 1 else core_in_view(self.session.viewer, layer, grid.scorable)

    def show_cells(self, core: Core | None = None, *, again: bool = False) -> None:
        """Show the cells of a core, measured anew in the background where they are not at hand.

        `again`: they were shown before, and are brought up to date without a word or another view.
        """
        session, stains = self.session, self.slide_stains.stains
        core = core or self.asked_core()
        why = self.why_not() if session.slide is None or session.slide.mpp is None or stains is None else ""
        if why or core is None:
            self._say(why or "Select one core, or move it to the middle of the view: its cells are then shown.", False)
            return
        if session.slide is None or session.image is None or stains is None:
            return
        image, slide, layer, params = session.image, session.slide, session.cores_layer, self.params()
        key, places, drawn = self._key(), self.places().get(core.name), self.regions.on(core)
        known = self._full.get((key, places is not None, drawn, _where(core)))

        def work() -> tuple[Measurement, npt.NDArray[np.int32]]:
            measured = known or measure_core(slide, core, stains, params, places=places, regions=drawn)
            return measured, measured.label_image(by_class=False)

        def receive(found: tuple[Measurement, npt.NDArray[np.int32]] | Exception) -> None:
            if isinstance(found, Exception):
                self._say(sentence(found, "Showing the cells"), True)
            elif image in session.viewer.layers and key == self._key():
                measured, labels = found
                self._keep(key, places is not None, measured)
                if layer in session.viewer.layers and self._may_note(core.name):
                    set_measured(layer, slide, [measured], {core.name} if places is not None else ())
                show_cells(session.viewer.layers, image, layer, measured, labels)
                if not again:
                    look_into(session.viewer, image, core, measured)
                    self._say(f"{core.name}: {measured.sentence}", False)
            self._tell()

        self._cells.start(f"Looking at the cells of {core.name}", work, receive)
        self._tell()

    def hide_cells(self) -> None:
        """Take the cells away, or give up making them ready."""
        self._cells.give_up()
        if self.session.image is not None:
            hide_cells(self.session.viewer.layers, self.session.image)
        self._tell()

    def cells_of(self, name: str) -> Measurement | None:
        """The measurement of a core with its cells, while it is kept."""
        core = next((core for core in self.session.grid() if core.name == name), None)
        known = name in self.places()
        return None if core is None else self._full.get((self._key(), known, self.regions.on(core), _where(core)))

    def _may_note(self, name: str) -> bool:
        """Whether a measurement that was made to show cells goes into the table: yes, if it stands in one way there."""
        layer = self.session.cores_layer
        if layer is None or self.outdated or (name in self.measured() and name not in self.redrawn()):
            return False
        return self._one_way({name})

    def _key(self) -> str:
        """What measurements that can stand for each other have in common."""
        image = self.session.image
        return f"{None if image is None else image.unique_id} {self._way()}"

    def _keep(self, key: str, known: bool, measured: Measurement) -> None:
        if measured.core is not None:
            self._full[key, known, measured.regions, _where(measured.core)] = measured
            while len(self._full) > _KEPT:
                self._full.popitem(last=False)

    # --- following the session -------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Keep the two opinions compared."""
        layer = self.session.cores_layer
        self._take_way(layer)
        if layer is not None and not self.session.working:
            agree(layer, self.measured())

    def _take_way(self, layer: Shapes | None) -> None:
        """Rules and thresholds that a slide was measured with are those of the measurements to come."""
        if layer is None or layer == self._taken:
            return
        self._taken = layer
        known = layer.metadata.get(KEY, {})
        rules = (known.get("measured_with") or {}).get("rules")
        self.rules = rules if rules in RULES else self.rules
        self.batch = known.get("measure_batch", self.batch)
        self.finder = known.get("measure_finder", self.finder)

    def _say(self, message: str, is_error: bool) -> None:
        if self.session.is_open:
            self.session.said.emit(message, is_error)

    def _tell(self) -> None:
        if self.session.is_open:
            self.session.changed.emit()


def _but_name(way: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in way.items() if key != "batch"}


def _where(core: Core) -> tuple[float, ...]:
    return core.y, core.x, core.diameter
