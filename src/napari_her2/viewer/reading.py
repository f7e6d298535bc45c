"""Readings: the scores that the user gives cores; they stay with the tissue whatever is scored, named or found anew."""

from __future__ import annotations

from dataclasses import replace

from napari_her2.cores import CoreGrid, CoreState
from napari_her2.scores import SCORES
from napari_her2.viewer.grid_editor import GridEditor

__all__ = ["READING_KEYS", "give_reading"]

#: Which key gives which score; the same key again takes it off.
READING_KEYS = dict(zip("0123", SCORES, strict=True))


def give_reading(editor: GridEditor, score: str) -> str:
    """Give the selected cores a reader's score; when they all have it already, take it off.

    Returns
    -------
    str
        The score that they have now; "" when none was given.
    """
    chosen = [core for core in editor.chosen() if core.state is CoreState.TISSUE]
    if not chosen:
        editor.session.said.emit("Select cores with tissue first: click them, or drag a box.", False)
        return ""
    to = "" if all(core.reader_score == score for core in chosen) else score
    names = {core.name for core in chosen}
    some = chosen[0].name if len(chosen) == 1 else f"{len(chosen)} cores"
    editor.edit(f"{some} read as {to}" if to else f"{some} not read", lambda grid: _read(grid, names, to))
    editor.read.emit(to)
    return to


def _read(grid: CoreGrid, names: set[str], score: str) -> CoreGrid:
    return CoreGrid(tuple(replace(core, reader_score=score) if core.name in names else core for core in grid))
