"""Pages of cores written in the background, after the other files of an export."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_her2.cores import Core
from napari_her2.errors import CoresError
from napari_her2.export import Page, Run, field_again, link_pages, write_pages
from napari_her2.files import safe_name
from napari_her2.membrane.field import CellField
from napari_her2.viewer import results
from napari_her2.viewer.core_run import CoreRun
from napari_her2.viewer.cores_measured import by_network
from napari_her2.viewer.measuring import Measuring
from napari_her2.viewer.slide_layer import KEY

__all__ = ["PagesRun", "export_with_pages", "why_no_pages"]


def why_no_pages(measuring: Measuring) -> str:
    """What has to be done before pages can be written; "" when nothing."""
    session = measuring.session
    layer, slide = session.cores_layer, session.slide
    if layer is None or slide is None or not measuring.measured():
        return "Measure cores first, in the box Second opinion: a page shows what was measured."
    made = layer.metadata.get(KEY, {}).get("measured_with")
    if not made or made.get("pixel_size_um") != slide.mpp:
        return "These cores were measured elsewhere or with another pixel size: measure them again."
    if session.run is not None and session.run.running:
        return f"{session.run.slide.name} is being {session.run.doing}."
    return ""


def export_with_pages(measuring: Measuring, folder: Path) -> None:
    """Write the results, and then a page for each core that was measured; asks before it replaces any."""
    session = measuring.session
    layer = session.cores_layer
    network = set() if layer is None else by_network(layer, session.grid())

    def then(run: Run, overwrite: bool) -> None:
        pages = PagesRun(measuring, folder, run, network, overwrite=overwrite)
        session.run = pages
        pages.progressed.connect(tell)
        pages.ended.connect(lambda message: ended(pages, message))
        pages.start()
        tell()

    def tell() -> None:
        if session.is_open:
            session.changed.emit()

    def ended(pages: PagesRun, message: str) -> None:
        if session.is_open:
            session.said.emit(message or pages.sentence(), bool(message or pages.failures))
            session.changed.emit()

    results.export(session, folder, then)


class PagesRun(CoreRun[Page]):
    """A run over the cores that were measured; the report then links to the pages that are there.

    It holds all it needs, and goes on when the layers are deleted. After `cancel` the page that is being written is
    finished, and those that are done are kept.
    """

    doing, work = "exported", "Writing the pages"
    counted = "pages written"

    def __init__(self, measuring: Measuring, folder: Path, run: Run, network: set[str], *, overwrite: bool) -> None:
        session = measuring.session
        cores = [core for core in run.grid if core.name in run.measured and not run.measured[core.name].failed]
        super().__init__(session.viewer.layers, session.image, None, run.slide, cores)
        self.folder, self.results, self.network, self.overwrite = folder, run, network, overwrite
        known = session.cores_layer.metadata.get(KEY, {}) if session.cores_layer is not None else {}
        self.params = replace(measuring.base, finder=known.get("measured_finder"))
        self.pages: list[Page] = []

    @property
    def failures(self) -> list[Page]:
        """Those that were not written."""
        return [page for page in self.pages if page.failure]

    def uses(self, layer: Any) -> bool:
        """Whether the run reads or writes that layer: none, once it has begun."""
        return False

    def judge(self) -> Generator[Page, None, None]:
        """Write page after page."""
        pages = write_pages(self.folder, self.results, overwrite=self.overwrite, field_of=self._field)
        with closing(pages):
            for page in pages:
                self.pages.append(page)
                yield page

    def sentence(self) -> str:
        """What became of them, for the user."""
        written = len(self.pages) - len(self.failures)
        head = "Cancelled: " if self.cancelled and len(self.pages) < len(self.cores) else ""
        text = f"{head}{written} of {len(self.cores)} pages written"
        text += f" to {self.folder}: {safe_name(self.slide.name)}.report.html links to them." if written else "."
        if self.failures:
            text += f" {self.failures[0].core}: {self.failures[0].failure}"
            others = len(self.failures) - 1
            text += f" {others} more could not be written." if others else ""
        return text

    def failed_on(self, page: Page) -> bool:
        """Whether a page was not written."""
        return bool(page.failure)

    def _field(self, core: Core) -> CellField | None:
        score = self.results.scores.get(core.name)
        places = None if score is None else score.places
        drawn = any(region.kind == "count here" for region in self.results.measured[core.name].regions)
        if places and core.name not in self.network and not drawn:
            raise CoresError(f"{core.name} was scored after it was measured, measure it again.")
        return field_again(self.results, core, self.params, places if core.name in self.network else None)

    def _work(self) -> Generator[Page | Exception, None, None]:
        yield from super()._work()
        links = {page.core: page.link for page in self.pages if page.link}
        try:
            if links:  # after `cancel`, too
                link_pages(self.folder, replace(self.results, pages=links))
        except Exception as error:
            yield error
