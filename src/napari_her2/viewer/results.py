"""The results of a slide as they stand in its layers, and writing them into a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_her2.errors import CoresError, HER2Error
from napari_her2.grid_edit import reading_order
from napari_her2.stain import Stains
from napari_her2.viewer import ask
from napari_her2.viewer.cores_measured import measured_of_layer
from napari_her2.viewer.heatmap_layer import find_heatmap_layer, heatmap_of_layer
from napari_her2.viewer.regions_layer import find_regions_layer, regions_of_layer
from napari_her2.viewer.slide_layer import KEY

if TYPE_CHECKING:
    from napari_her2.export import Run
    from napari_her2.viewer.session import Session

__all__ = ["ask_overwrite", "export", "gather"]


def ask_overwrite(folder: Path, slide: str) -> bool | None:
    """Whether results of that slide in the folder are to be replaced; None when the user wants to keep them.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    from napari_her2.export import check_results

    check_results(folder, slide, overwrite=True)
    try:
        check_results(folder, slide)
    except HER2Error:
        return ask.confirm(f"{folder} already holds results of {slide}.", "Replace them") or None
    return False


def export(session: Session, folder: Path, then: Callable[[Run, bool], None] = lambda written, overwrite: None) -> None:
    """Write the results in the background, asking before any is replaced; `then` learns what was written so."""
    from napari_her2.export import write_results

    if session.slide is None or session.cores_layer is None:
        return
    try:
        overwrite = ask_overwrite(folder, session.slide.name)
        if overwrite is None:
            return
        run = gather(session)
    except HER2Error as error:
        session.said.emit(str(error), True)
        return

    def written(paths: list[Path]) -> None:
        session.said.emit(f"{len(paths)} files written to {folder}.", False)
        session.wrote.emit(paths)
        then(run, overwrite)

    work = "Writing the results"
    session.background(work, lambda: write_results(folder, run, overwrite=overwrite), written, beside_scoring=True)


def gather(session: Session) -> Run:
    """What is known of the slide that a session looks at.

    Raises
    ------
    CoresError
        If its cores were not found yet, or the table was edited into something that is no grid.
    """
    from napari_her2.export import Run, normalised_record

    layers, image, slide, cores_layer = session.viewer.layers, session.image, session.slide, session.cores_layer
    if image is None or slide is None or cores_layer is None:
        raise CoresError("Find the cores first.")
    layer = find_heatmap_layer(layers, image)
    heatmap = None if layer is None else heatmap_of_layer(layer)
    if heatmap is not None:
        heatmap.image = heatmap.image.copy()  # the run that goes on may draw while this is written
    known = cores_layer.metadata.get(KEY, {})
    way = dict(known.get("scored_with") or {})
    seen = way.pop("normalised", None)
    provenance = {"seed": 0, "parameters": way, "device": session.device}
    if known.get("model") is not None:
        provenance |= normalised_record(known["model"], None if seen is None else Stains.from_dict(seen))
    provenance["slide_flags"] = known.get("slide_flags", [])
    measured = measured_of_layer(cores_layer, session.grid())
    if measured:
        provenance["measurement"] = known.get("measured_with") or {}
    grid, model = reading_order(session.grid()), known.get("model")
    drawn = find_regions_layer(layers, image)
    regions = () if drawn is None else regions_of_layer(drawn)
    return Run(slide, grid, session.scores(), model, heatmap, provenance, measured, regions)
