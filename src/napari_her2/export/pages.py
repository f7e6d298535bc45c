"""``NAME.pages/CORE.html``: a page for each measured core: its pictures, its cells, its figures, both opinions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from napari_her2.colours import SCORE_COLOURS
from napari_her2.cores import Core
from napari_her2.errors import HER2Error, OutputError
from napari_her2.export.core_pictures import core_pictures, field_picture, outline_path, scale_bar
from napari_her2.export.pictures import data_url
from napari_her2.export.report_rows import ReportRow, report_row
from napari_her2.export.run import Run, record
from napari_her2.export.templates import render
from napari_her2.files import check_folder, safe_name, writing
from napari_her2.membrane.classes import Thresholds
from napari_her2.membrane.field import CellField
from napari_her2.membrane.measurement import Measurement
from napari_her2.membrane.rules import RULES
from napari_her2.scores import SCORES
from napari_her2.stain import Stains
from napari_her2.stain.shades import SHOWN_OD, STAIN_NAMES, shades

__all__ = ["PAGES_ENDING", "Page", "write_pages"]

#: Ending of the folder of the pages of one image, put after its name.
PAGES_ENDING = ".pages"
#: How the outline of a cell of each class is drawn: its width in µm, and its dashes; told apart in grey, too.
_STROKES = ((0.6, "1.2 1.4"), (0.7, "3 1.4"), (0.55, ""), (0.95, ""))


@dataclass(frozen=True)
class Page:
    """What became of the page of one core.

    Attributes
    ----------
    core : str
        Its name.
    link : str
        Where the page lies, as the report beside its folder links to it.
    failure : str
        Why there is none, as a sentence; empty when there is one.
    """

    core: str
    link: str = ""
    failure: str = ""


def write_pages(
    folder: str | Path,
    run: Run,
    *,
    overwrite: bool = False,
    field_of: Callable[[Core], CellField | None] | None = None,
) -> Iterator[Page]:
    """Write a page for each core that was measured, one after another; one that fails costs only itself.

    Nothing is loaded from elsewhere by a page, and it names no patient. It shows the cells of `Run.fields`. When a file
    cannot be written, as on a full disk, no other is tried.

    Parameters
    ----------
    folder : str or Path
        Of the results; the pages come into a folder of their own in it.
    run : Run
        With a `provenance` that says how it was measured.
    overwrite : bool
        Replace pages that are there; all that cores of the run have are removed before the first is written.
    field_of : callable, optional
        Gives the cells that the page of a core shows, in place of `Run.fields`. The page of a core for which it raises
        an error of ours is not written, for that reason.

    Yields
    ------
    Page

    Raises
    ------
    OutputError
        If the folder cannot be made.
    """
    inside = check_folder(Path(folder) / (safe_name(run.slide.name) + PAGES_ENDING))
    taken: set[str] = set()
    paths = [inside / _file_name(core, taken) for core in run.grid]
    for path in paths if overwrite else ():
        with suppress(OSError):  # what cannot be removed cannot be written either, which is told
            path.unlink(missing_ok=True)  # the page of an earlier run would contradict the report
    try:
        for number, (core, path) in enumerate(zip(run.grid, paths, strict=True)):
            measured = run.measured.get(core.name)
            if measured is None or measured.failed:
                continue
            try:
                field = run.fields.get(core.name) if field_of is None else field_of(core)
                text = _page(run, number, measured, field)
                with writing(path, overwrite=overwrite) as temporary:
                    temporary.write_text(text, encoding="utf-8")
                yield Page(core.name, f"{quote(inside.name)}/{quote(path.name)}")
            except HER2Error as error:
                yield Page(core.name, failure=f"Its page was not written: {error}")
                if isinstance(error, OutputError) and not path.exists():
                    return
    finally:
        with suppress(OSError):  # a folder that nothing could be written into goes; one that holds pages stays
            inside.rmdir()


def _file_name(core: Core, taken: set[str]) -> str:
    """The file of a core; names that a file system takes for the same are numbered."""
    name = safe_name(core.name)
    file, k = name, 1
    while file.casefold() in taken:
        k += 1
        file = f"{name}-{k}"
    taken.add(file.casefold())
    return f"{file}.html"


def _page(run: Run, number: int, measured: Measurement, field: CellField | None) -> str:
    core, made = run.grid.cores[number], run.provenance["measurement"]
    stains, thresholds = Stains.from_dict(made["stains"]), Thresholds.from_dict(made["thresholds_od"])
    rules = RULES.get(made["rules"])
    row = report_row(run, number, 1.0)
    return render(
        "page.html.jinja",
        name=run.slide.name,
        report=f"../{quote(safe_name(run.slide.name))}.report.html#core-{number + 1}",
        record=record(run),
        row=row,
        scores=SCORES,
        colours=SCORE_COLOURS,
        written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        thresholds=thresholds if rules is None else thresholds.for_rules(rules),
        where=_where(row),
        classes=[round(p * measured.count / 100) for p in measured.percent] if measured.count else None,
        strokes=_STROKES,
        **_pictures(run, core, stains, field),
    )


def _pictures(run: Run, core: Core, stains: Stains, field: CellField | None) -> dict[str, Any]:
    """Pictures and what is drawn on them, in µm from the corner of the core's square."""
    drawn = core_pictures(run.slide, core, stains)
    y0, x0, _, _ = core.box
    um = run.slide.require_mpp()
    measured = run.measured[core.name]
    regions = [
        (region.kind, " ".join(f"{um * (x - x0):.1f},{um * (y - y0):.1f}" for y, x in region.outline))
        for region in measured.regions
    ]
    return {
        "whole": data_url(drawn.whole),
        "stains": [
            {
                "name": STAIN_NAMES[role],
                "picture": data_url(getattr(drawn, role)),
                "od": SHOWN_OD[role],
                "shades": [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in shades(stains, role, 9).tolist()],
            }
            for role in STAIN_NAMES
        ],
        "size": (drawn.width_um, drawn.height_um),
        "bar": scale_bar(drawn.width_um),
        "regions": regions,
        "field": None
        if field is None
        else {
            "at": field,
            "picture": data_url(field_picture(run.slide, field), fine=True),
            "box": (um * (field.x - x0), um * (field.y - y0)),
            "paths": [outline_path(field, k) for k in range(4)],
            "bar": scale_bar(field.side_um),
        },
    }


def _where(row: ReportRow) -> str:
    """Which cells were counted, as `measure_core` decides it."""
    if row.measured is not None and any(region.kind == "count here" for region in row.measured.regions):
        return "all cells in the regions drawn to be counted"
    if row.score is not None and row.score.places:
        return "cells where the network saw tumour, but for those unlike a tumour's; stroma may be among them"
    return "cells that look like a tumour's by their nuclei and the tissue about them; stroma may be among them"
