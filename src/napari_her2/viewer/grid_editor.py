"""GridEditor: what can be done to a grid in the viewer; every verb is one step that can be undone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from psygnal import Signal

from napari_her2 import grid_edit
from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.errors import HER2Error
from napari_her2.naming import Naming, naming_of, parse_labels
from napari_her2.sectors import count_sectors, join_sectors, split_sectors
from napari_her2.tma_map import MapMatch, apply_map
from napari_her2.viewer.autosave import autosave_path, saved_when
from napari_her2.viewer.camera import look_at
from napari_her2.viewer.grid_files import open_cores_file, write_cores_file
from napari_her2.viewer.selection import selected_names
from napari_her2.viewer.session import Session

__all__ = ["GridEditor"]

_WORDS = {CoreState.TISSUE: "tissue", CoreState.MISSING: "missing", CoreState.EXCLUDED: "excluded"}


class GridEditor:
    """The verbs of the grid page and of its keys, on the cores that a session shows.

    Signals: `read(score)` when selected cores were given a reader's score; "" when it was taken off.
    """

    read = Signal(str)

    def __init__(self, session: Session) -> None:
        self.session = session

    # --- single cores ----------------------------------------------------------------------------------------------

    def mark(self, state: CoreState) -> None:
        """Call the selected cores missing or excluded; when they all are already, call them tissue again."""
        chosen = self.chosen()
        if not chosen:
            self._say("Select cores first: click them, or drag a box.")
            return
        to = CoreState.TISSUE if all(core.state is state for core in chosen) else state
        self._change(chosen, f"{_some(chosen)} called {_WORDS[to]}", state=to)

    def confirm(self) -> None:
        """The selected cores are right as they stand: no doubt is left."""
        chosen = self.chosen()
        if not chosen:
            self._say("Select a core first: click it, or a line of the list.")
            return
        self._change(chosen, f"{_some(chosen)} called right")

    def go_to(self, name: str) -> None:
        """Select a core and look at it."""
        layer, grid = self.session.cores_layer, self.session.grid()
        if layer is None or name not in grid:
            return
        self.session.viewer.layers.selection.active = layer
        layer.selected_data = {i for i, n in enumerate(layer.features["core"]) if n == name}
        look_at(self.session.viewer, layer, grid[name])

    def next_doubtful(self, step: int = 1) -> None:
        """Go to the next core of the doubtful list, or to the first."""
        names = [core.name for core in self.session.grid().doubtful]
        if not names:
            self._say("No core is doubtful.")
            return
        here = [names.index(core.name) for core in self.chosen() if core.name in names]
        self.go_to(names[(here[0] + step) % len(names)] if here else names[0])

    def chosen(self) -> list[Core]:
        """The cores selected."""
        layer, grid = self.session.cores_layer, self.session.grid()
        return [] if layer is None else [grid[name] for name in selected_names(layer) if name in grid]

    # --- names -----------------------------------------------------------------------------------------------------

    def rename(self, rows: str, columns: str, row_first: bool) -> None:
        """Name all cores of the grid after labels such as "A-J" and "1-16"."""
        self.edit(
            "other names",
            lambda grid: grid_edit.rename(grid, Naming(_labels(rows), _labels(columns), row_first)),
        )

    def renumber(self, corner: str) -> None:
        """Count rows and columns from another corner."""
        self.edit(f"numbering from the {corner.replace('-', ' ')}", lambda grid: grid_edit.renumber(grid, corner))

    def sectors(self, apart: bool) -> None:
        """Name sector by sector, or straight through."""
        change = split_sectors if apart else join_sectors
        self.edit("naming sector by sector" if apart else "naming straight through", change)

    def naming(self) -> Naming:
        """How the cores are named now."""
        return naming_of(self.session.grid())

    def count_sectors(self) -> int:
        """How many sectors the grid has, by its wider gaps."""
        try:
            return count_sectors(self.session.grid())
        except HER2Error:
            return 1

    # --- lines -----------------------------------------------------------------------------------------------------

    def insert(self, axis: str, *, after: bool) -> None:
        """A line of missing cores before or after that of the selected core."""
        line = self._line(axis)
        if line is not None:
            block, index = line
            where = "after" if after else "before"
            self.edit(
                f"{axis} inserted {where} {self._label(axis, index)}",
                lambda grid: grid_edit.insert_line(grid, axis, index + after, block=block),
            )

    def delete(self, axis: str) -> None:
        """Take the line of the selected core, with its cores, off the grid."""
        line = self._line(axis)
        if line is not None:
            block, index = line
            self.edit(
                f"deletion of {axis} {self._label(axis, index)}",
                lambda grid: grid_edit.delete_line(grid, axis, index, block=block),
            )

    def rename_line(self, axis: str, label: str) -> None:
        """Another label for the line of the selected core."""
        line = self._line(axis)
        if line is not None and label.strip():
            block, index = line
            self.edit(
                f"{axis} {self._label(axis, index)} called {label.strip()}",
                lambda grid: grid_edit.rename_line(grid, axis, index, label.strip(), block=block),
            )

    def shift(self, axis: str, by: int) -> None:
        """Move the names of the line of the selected core along by one."""
        line = self._line(axis)
        if line is not None:
            block, index = line
            self.edit(
                f"shift of {axis} {self._label(axis, index)}",
                lambda grid: grid_edit.shift_line(grid, axis, index, by, block=block),
            )

    def _line(self, axis: str) -> tuple[str, int] | None:
        lines = {(core.block, getattr(core, axis)) for core in self.chosen() if core.row >= 0}
        if len(lines) == 1:
            return lines.pop()
        self._say(f"Select one core of the {axis} first." if not lines else f"Select cores of one {axis} only.")
        return None

    def _label(self, axis: str, index: int) -> str:
        naming = self.naming()
        labels = naming.rows if axis == "row" else naming.columns
        return labels[index] if index < len(labels) else str(index + 1)

    # --- what is brought in ----------------------------------------------------------------------------------------

    def apply_map(self, match: MapMatch) -> None:
        """Give the cores the patients and columns of a TMA map."""
        self.edit("TMA map", lambda grid: apply_map(grid, match))

    def use_drawn(self, drawn: CoreGrid) -> None:
        """Lay a grid that was drawn by hand onto the tissue under it, in the background."""
        session = self.session
        if session.slide is None or session.image is None:
            return
        image, slide = session.image, session.slide

        def snapped() -> CoreGrid:
            from napari_her2.dearray.snap import snap_grid

            return snap_grid(slide, drawn)

        session.background(
            "Laying the grid onto the tissue",
            snapped,
            lambda grid: session.show(image, slide, grid.with_data_of(session.grid()), did="drawing the grid"),
        )

    def reuse(self, grid: CoreGrid, of: str) -> None:
        """Find the cores of another slide of the same block on this one, in the background."""
        session = self.session
        if session.slide is None or session.image is None:
            return
        image, slide = session.image, session.slide

        def find() -> tuple[CoreGrid, list[str]]:
            from napari_her2.dearray.reuse import reuse_grid

            reuse = reuse_grid(slide, grid)
            fit = f"{reuse.matched} of {reuse.of} cores of {of} lie on tissue here"
            fit += f", turned by {reuse.rotation_degrees:.0f}°" if abs(reuse.rotation_degrees) >= 0.5 else ""
            fit += ", mirrored." if reuse.flipped else "."
            return reuse.grid, [fit, *([reuse.warning] if reuse.warning else [])]

        def show(found: tuple[CoreGrid, list[str]]) -> None:
            session.show(image, slide, *found, did=f"taking over {of}")

        session.background(f"Looking for the cores of {of}", find, show)

    # --- files -----------------------------------------------------------------------------------------------------

    def open(self, path: Path) -> None:
        """Take the cores of a file, with the scores that stand in it."""
        session = self.session
        if session.slide is None or session.image is None:
            return
        try:
            grid, scored, remark = open_cores_file(path)
        except HER2Error as error:
            session.said.emit(str(error), True)
            return
        remarks = [remark] if remark else []
        session.show(session.image, session.slide, grid, remarks, did=f"opening {path.name}", scored=scored)

    def save(self, path: Path) -> None:
        """Write the cores, with all that is known of them, into a file; its ending says which kind."""
        session = self.session
        if session.cores_layer is None or session.slide is None:
            return
        try:
            remark = write_cores_file(path, session.cores_layer, session.slide)
        except HER2Error as error:
            session.said.emit(str(error), True)
            return
        session.said.emit(f"{len(session.grid())} cores written to {path}.{remark}", False)

    def saved(self) -> str:
        """When the cores of this slide were saved last, as in "24 Nov 2026, 12:04"; "" when they never were."""
        slide = self.session.slide
        when = None if slide is None else saved_when(slide)
        return "" if when is None else time.strftime("%d %b %Y, %H:%M", time.localtime(when))

    def restore(self) -> None:
        """Take up the cores of this slide as they were saved last."""
        if self.session.slide is not None:
            self.open(autosave_path(self.session.slide))

    # --- one step --------------------------------------------------------------------------------------------------

    def _change(self, chosen: Iterable[Core], did: str, **changes: CoreState) -> None:
        """Change some cores; what the user has decided is not doubtful any more."""
        names = {core.name for core in chosen}
        self.edit(
            did,
            lambda grid: CoreGrid(
                tuple(
                    replace(core, found_confidence=None, reason="", **changes) if core.name in names else core
                    for core in grid
                )
            ),
        )

    def edit(self, did: str, change: Callable[[CoreGrid], CoreGrid]) -> None:
        """Change the grid, as one step that can be undone and is told."""
        session = self.session
        if session.cores_layer is None:
            self._say("Find the cores first, or draw the grid by hand.")
            return
        try:
            grid = change(session.grid())
        except HER2Error as error:
            session.said.emit(str(error), True)
            return
        session.watch.edit(did, grid)
        session.said.emit(f"{did[:1].upper()}{did[1:]}.", False)

    def _say(self, sentence: str) -> None:
        self.session.said.emit(sentence, False)


def _labels(text: str) -> tuple[str, ...]:
    return parse_labels(text) if text.strip() else ()


def _some(cores: list[Core]) -> str:
    return cores[0].name if len(cores) == 1 else f"{len(cores)} cores"
