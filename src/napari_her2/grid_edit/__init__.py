"""Edits of a grid, each from a CoreGrid to another: pure, whole, and what is known of a core stays with it."""

from __future__ import annotations

from napari_her2.grid_edit._names import Axis, reading_order
from napari_her2.grid_edit._places import complete, expected_places
from napari_her2.grid_edit.add import add_core, place_core
from napari_her2.grid_edit.draw import draw_grid
from napari_her2.grid_edit.lines import delete_line, insert_line, rename_line, shift_line
from napari_her2.grid_edit.numbering import Corner, rename, renumber, swap_order, transpose
from napari_her2.grid_edit.patients import replicates

__all__ = [
    "Axis",
    "Corner",
    "add_core",
    "complete",
    "delete_line",
    "draw_grid",
    "expected_places",
    "insert_line",
    "place_core",
    "reading_order",
    "rename",
    "rename_line",
    "renumber",
    "replicates",
    "shift_line",
    "swap_order",
    "transpose",
]
