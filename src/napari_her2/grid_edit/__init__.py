"""Edits of a grid, each from a CoreGrid to another: pure, whole, and what is known of a core stays with it."""

from __future__ import annotations

from napari_her2.grid_edit._places import complete, expected_places
from napari_her2.grid_edit.add import add_core, place_core

__all__ = ["add_core", "complete", "expected_places", "place_core"]
