"""Measuring: the second opinion, its verbs without the widget: stains of the slide, measured cores, cells on zoom."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image

from napari_her2.cores import Core, CoreGrid
from napari_her2.errors import HER2Error, StainError
from napari_her2.files import writing
from napari_her2.measure import Measurement, MeasureParams, measure_core
from napari_her2.membrane import RULES
from napari_her2.slide import Slide
from napari_her2.stain import Stains, estimate_stains
from napari_her2.stain.vectors import Role, angle
from napari_her2.viewer import ask
from napari_her2.viewer.background import Background
from napari_her2.viewer.cells_layer import core_of_cells, hide_cells, show_cells
from napari_her2.viewer.cells_view import core_in_view, look_into
from napari_her2.viewer.cores_measured import agree, clear_measured, measured_of_layer, set_measured
from napari_her2.viewer.measure_worker import MeasureRun
from napari_her2.viewer.score_worker import sentence
from napari_her2.viewer.selection import selected_names
from napari_her2.viewer.session import Session
from napari_her2.viewer.slide_layer import KEY
from napari_her2.viewer.stain_layers import (
    STAIN_NAMES,
    forget_stains,
    keep_stains,
    show_stain,
    stain_shown,
    stains_of_layer,
)
from napari_her2.viewer.stain_region import Box, StainRegion

__all__ = ["Measuring"]

#: Measured cores whose cells are kept, to be shown at once: 5 MB each.
_KEPT = 8
#: Grey level under which most of a slide lies when light shines on dark, as in fluorescence.
_DARK = 90
#: Largest side of a region in pixels: more is surely not one stain alone, and slow to read.
_LARGEST = 4000


class Measuring:
    """What the second opinion knows and can do, for the slide that its session looks at.

    All that lasts stands in the layers: stains in the metadata of the image, measurements in the features of the
    cores. It speaks through the session's signals.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.rules = next(iter(RULES))
        self.region: StainRegion | None = None
        self._stains, self._cells = Background(), Background()
        self._tried: dict[str, str] = {}
        self._full: OrderedDict[tuple[str, tuple[float, ...]], Measurement] = OrderedDict()
        self._seen: tuple[CoreGrid, dict[str, Measurement]] | None = None
        session.changed.connect(self._follow)

    # --- stains ----------------------------------------------------------------------------------------------------

    @property
    def stains(self) -> Stains | None:
        """The stains of the slide, when they are known."""
        return None if self.session.image is None else stains_of_layer(self.session.image)

    @property
    def estimating(self) -> bool:
        """Whether the stains are being looked for."""
        return bool(self._stains.name)

    @property
    def why_no_stains(self) -> str:
        """Why the stains are not known, in one sentence; "" when they are, or may soon be."""
        image = self.session.image
        if image is not None and self.session.slide is not None:
            return self._tried.get(str(image.unique_id), "") if self.stains is None else ""
        grey = next((la for la in reversed(self.session.viewer.layers) if _is_grey_picture(la)), None)
        if grey is not None:
            return f"{grey.name} is not an RGB image: stains can be told on an RGB scan of a DAB-stained slide only."
        return "Open a slide first."

    def estimate(self) -> None:
        """Look for the stains of the slide in the background, anew if they are known."""
        image, slide = self.session.image, self.session.slide
        if image is None or slide is None or self.estimating:
            return
        self._tried[str(image.unique_id)] = ""

        def receive(found: Stains | Exception) -> None:
            if isinstance(found, Exception):
                why = sentence(found, "Looking for the stains")
                self._tried[str(image.unique_id)] = why
                self._say(why, True)
            elif image in self.session.viewer.layers:
                self._take(image, found)
            self._tell()

        self._stains.start("Looking for the stains", lambda: _estimate(slide), receive)
        self._tell()

    def reset(self) -> None:
        """Forget corrections: the stains are estimated again."""
        if self.session.image is not None:
            forget_stains(self.session.image)
            self.estimate()

    def correct(self, role: Role) -> None:
        """Let the user draw a rectangle that shows one stain, or glass; it is taken up as soon as it is drawn."""
        self.stop_correcting()
        image = self.session.image
        if image is None or self.stains is None:
            self._say(self.why_no_stains or "The stains of this slide are not known yet.", False)
            return
        self.region = StainRegion(self.session.viewer.layers, image, lambda box: self._corrected(image, role, box))
        where = {"white": "is empty glass", "hematoxylin": "is pure blue, as in a nucleus without brown"}
        self._say(f"Drag a small rectangle where there {where.get(role, 'is pure brown')} and nothing else.", False)
        self._tell()

    def stop_correcting(self) -> None:
        """Give up drawing."""
        if self.region is not None:
            self.region.close()

    def _corrected(self, image: Image, role: Role, box: Box | None) -> None:
        self.region = None
        slide, stains = self.session.slide, stains_of_layer(image)
        if box is not None and slide is not None and stains is not None and image is self.session.image:
            try:
                y, x, height, width = box
                if max(height, width) > _LARGEST:
                    raise StainError("That is too large to be one stain alone: zoom in and draw a small rectangle.")
                self._take(image, stains.with_region(slide.read(0, y, x, height, width), role))
                self._say(_told(self.stains, role, stains), False)
            except HER2Error as error:
                self._say(str(error), True)
        self._tell()

    def show(self, role: str | None) -> None:
        """Show "hematoxylin" or "dab" alone, or with None the slide as it is."""
        image, stains = self.session.image, self.stains
        if image is not None and stains is not None:
            show_stain(self.session.viewer.layers, image, stains, role if role in STAIN_NAMES else None)
            self._tell()

    @property
    def shown(self) -> str | None:
        """Which stain is shown alone."""
        image = self.session.image
        return None if image is None else stain_shown(self.session.viewer.layers, image)

    def save_stains(self, path: Path) -> None:
        """Write the stains as JSON, for the other slides of a batch."""
        stains = self.stains
        if stains is None:
            self._say(self.why_no_stains, True)
            return
        try:
            with writing(path, overwrite=True) as temporary:
                temporary.write_text(json.dumps(stains.to_dict(), indent=2) + "\n", encoding="utf-8")
            self._say(f"Stains written to {path}.", False)
        except HER2Error as error:
            self._say(str(error), True)

    def load_stains(self, path: Path) -> None:
        """Take the stains of another slide from a file."""
        image = self.session.image
        if image is None:
            self._say(self.why_no_stains, True)
            return
        try:
            self._take(image, _read_stains(path))
            self._say(f"Stains taken from {path.name}.", False)
        except HER2Error as error:
            self._say(str(error), True)
        self._tell()

    def _take(self, image: Image, stains: Stains) -> None:
        """Keep stains, show them where stains are shown, and say what was measured with others."""
        shown = stain_shown(self.session.viewer.layers, image)
        keep_stains(image, stains)
        show_stain(self.session.viewer.layers, image, stains, shown)
        layer = self.session.cores_layer
        if layer is not None and image is self.session.image and not measured_of_layer(layer):
            layer.metadata.setdefault(KEY, {})["stains"] = stains.to_dict()

    # --- measuring -------------------------------------------------------------------------------------------------

    def why_not(self) -> str:
        """What has to be done before cores can be measured; "" when nothing."""
        session = self.session
        if session.slide is None:
            return self.why_no_stains
        if session.cores_layer is None:
            return "Find the cores first."
        if session.slide.mpp is None:
            return "Give the pixel size in step 1 first."
        if self.stains is None:
            return self.why_no_stains or "The stains of this slide are being looked for."
        if session.run is not None and session.run.running:
            doing = "measured" if isinstance(session.run, MeasureRun) else "scored"
            return f"{session.run.slide.name} is being {doing}."
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
        done = self.measured() if not self.outdated else {}
        return [core.name for core in self.session.grid().scorable if core.name not in done]

    @property
    def outdated(self) -> bool:
        """Whether what was measured was so with other stains, rules or pixel size than those of now."""
        layer = self.session.cores_layer
        last = None if layer is None else layer.metadata.get(KEY, {}).get("measured_with")
        return last is not None and last != self._way() and bool(self.measured())

    def measure(self, names: Iterable[str]) -> None:
        """Measure the named cores in the background; those without tissue are passed over."""
        session, stains, why = self.session, self.stains, self.why_not()
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
            *(self._params(), lambda measured: self._keep(key, measured)),
        )
        session.run = run
        run.progressed.connect(self._tell)
        run.ended.connect(lambda message: self._ended(run, message))
        run.start()
        self._say("", False)
        self._tell()

    def _params(self) -> MeasureParams:
        return MeasureParams(rules=RULES[self.rules])

    def _way(self) -> dict[str, Any]:
        """What two measurements must have in common to stand in one table."""
        stains, slide = self.stains, self.session.slide
        if stains is None or slide is None:
            return {}
        return {"stains": stains.to_dict(), "rules": self.rules, "pixel_size_um": slide.mpp}

    def _one_way(self, wanted: set[str]) -> bool:
        layer = self.session.cores_layer
        if layer is None:
            return False
        others = [name for name in self.measured() if name not in wanted]
        if others and self.outdated:
            question = (
                f"{len(others)} other cores were measured with other stains, rules or pixel size. One table holds one "
                "way of measuring: their measurements will be removed."
            )
            if not ask.confirm(question, "Remove and measure"):
                return False
            clear_measured(layer, others)
        # what the export reads
        known = layer.metadata.setdefault(KEY, {})
        known["measured_with"] = self._way()
        known["stains"] = known["measured_with"]["stains"]
        return True

    def _ended(self, run: MeasureRun, message: str) -> None:
        if run.done and not message:
            head = "Cancelled: " if run.cancelled and run.done < len(run.cores) else ""
            message = f"{head}{run.done} of {len(run.cores)} cores of {run.slide.name} measured."
            if run.failed:
                message += f" {run.failed} are not scorable: the column measured_reason says why."
            if run.stale:
                message += f" {run.stale} were moved or deleted meanwhile."
            self._say(message, False)
        else:
            self._say(message or "Cancelled: nothing was measured.", bool(message))
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

    def show_cells(self, core: Core | None = None) -> None:
        """Show the cells of a core, measured anew in the background where they are not at hand."""
        session, stains = self.session, self.stains
        core = core or self.asked_core()
        why = self.why_not() if session.slide is None or session.slide.mpp is None or stains is None else ""
        if why or core is None:
            self._say(why or "Select one core, or move it to the middle of the view: its cells are then shown.", False)
            return
        if session.slide is None or session.image is None or stains is None:
            return
        image, slide, layer, params = session.image, session.slide, session.cores_layer, self._params()
        key = self._key()
        known = self._full.get((key, _where(core)))

        def work() -> tuple[Measurement, npt.NDArray[np.int32]]:
            measured = known or measure_core(slide, core, stains, params)
            return measured, measured.label_image(by_class=False)

        def receive(found: tuple[Measurement, npt.NDArray[np.int32]] | Exception) -> None:
            if isinstance(found, Exception):
                self._say(sentence(found, "Showing the cells"), True)
            elif image in session.viewer.layers and key == self._key():
                measured, labels = found
                self._keep(key, measured)
                if layer in session.viewer.layers and self._may_note(core.name):
                    set_measured(layer, slide, [measured])
                show_cells(session.viewer.layers, image, layer, measured, labels)
                look_into(session.viewer, image, core, measured)
                self._say(f"{measured.count:,} cells of {core.name}, each outlined in the colour of its class.", False)
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
        return None if core is None else self._full.get((self._key(), _where(core)))

    def _may_note(self, name: str) -> bool:
        """Whether a measurement that was made to show cells goes into the table: yes, if it stands in one way there."""
        layer = self.session.cores_layer
        if layer is None or name in self.measured() or self.outdated:
            return False
        return self._one_way({name})

    def _key(self) -> str:
        """What measurements that can stand for each other have in common."""
        image = self.session.image
        return f"{None if image is None else image.unique_id} {self._way()}"

    def _keep(self, key: str, measured: Measurement) -> None:
        if measured.core is not None:
            self._full[key, _where(measured.core)] = measured
            while len(self._full) > _KEPT:
                self._full.popitem(last=False)

    # --- following the session -------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Estimate the stains of a slide whose cores are there, and keep the two opinions compared."""
        image, layer = self.session.image, self.session.cores_layer
        if image is None or layer is None:
            return
        if self.stains is None and str(image.unique_id) not in self._tried:
            self.estimate()
        elif self.stains is not None and "stains" not in layer.metadata.get(KEY, {}):
            layer.metadata.setdefault(KEY, {})["stains"] = self.stains.to_dict()
        if not self.session.working:
            agree(layer, self.measured())

    def _say(self, message: str, is_error: bool) -> None:
        if self.session._open:
            self.session.said.emit(message, is_error)

    def _tell(self) -> None:
        if self.session._open:
            self.session.changed.emit()


def _where(core: Core) -> tuple[float, ...]:
    return core.y, core.x, core.diameter


def _estimate(slide: Slide) -> Stains:
    picture, _ = slide.overview(512)
    if np.median(picture) < _DARK:
        raise StainError(
            f"{slide.name} is dark, as fluorescence is: stains can be told on a brightfield scan of a DAB-stained "
            "slide only."
        )
    return estimate_stains(slide)


def _read_stains(path: Path) -> Stains:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StainError(f"{path.name} cannot be read as stored stains ({error}): choose a file saved here.") from error
    if not isinstance(known, dict):
        raise StainError(f"{path.name} holds no stored stains: choose a file saved here.")
    # a record of a run holds them, too
    return Stains.from_dict(known.get("stains") or known)


def _told(stains: Stains | None, role: Role, before: Stains) -> str:
    """What a correction has changed, in one sentence."""
    if stains is None:
        return ""
    if role == "white":
        return f"Glass is now {', '.join(f'{v:.0f}' for v in stains.white)}."
    name = STAIN_NAMES[role].replace("h", "H", 1) if role == "hematoxylin" else STAIN_NAMES[role]
    vector, old = getattr(stains, role), getattr(before, role)
    numbers = " ".join(f"{v:.3f}" for v in vector)
    return f"{name} is now {numbers}, {angle(vector, old):.1f}° from what it was."


def _is_grey_picture(layer: Any) -> bool:
    return isinstance(layer, Image) and not layer.rgb and KEY not in layer.metadata
