"""Keys on the layer of cores: one press marks, undoes, goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from napari.layers import Shapes

from napari_her2.cores import CoreState
from napari_her2.viewer.grid_editor import GridEditor
from napari_her2.viewer.reading import READING_KEYS, give_reading
from napari_her2.viewer.review import Review

__all__ = ["bind_keys", "grid_keys", "release_keys", "review_keys"]


def grid_keys(editor: GridEditor) -> dict[str, Callable[[], object]]:
    """What each key does on the cores selected.

    They stand above napari's own on this layer: X and 1 would remove vertices, which a core has none of, 3 whole cores.
    """
    return {
        "M": lambda: editor.mark(CoreState.MISSING),
        "X": lambda: editor.mark(CoreState.EXCLUDED),
        "C": editor.confirm,
        "N": editor.next_doubtful,
        "Shift-N": lambda: editor.next_doubtful(-1),
        "Control-Z": editor.session.watch.undo,
        "Control-Shift-Z": editor.session.watch.redo,
        **{key: partial(give_reading, editor, score) for key, score in READING_KEYS.items()},
    }


def review_keys(review: Review) -> dict[str, Callable[[], object]]:
    """What further keys do while cores are reviewed."""
    return {"Right": review.go, "Left": lambda: review.go(-1)}


def bind_keys(layer: Shapes, keys: dict[str, Callable[[], object]]) -> None:
    """Let the keys act while the layer is active."""
    for key, act in keys.items():

        def press(_layer: Any, act: Callable[[], object] = act) -> None:
            act()

        layer.bind_key(key, press, overwrite=True)


def release_keys(layer: Shapes, keys: Iterable[str]) -> None:
    """Give the keys back to napari."""
    for key in keys:
        with suppress(KeyError):
            layer.bind_key(key, None)
