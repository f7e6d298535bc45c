"""Keys on the layer of cores: one press marks, undoes, goes on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from napari.layers import Shapes

from napari_her2.cores import CoreState
from napari_her2.viewer.grid_editor import GridEditor
from napari_her2.viewer.reading import READING_KEYS, give_reading

__all__ = ["bind_keys", "release_keys"]

#: What each key does; they stand above napari's own on this layer (X and 1 would remove vertices, 3 whole cores).
_KEYS: dict[str, Callable[[GridEditor], object]] = {
    "M": lambda editor: editor.mark(CoreState.MISSING),
    "X": lambda editor: editor.mark(CoreState.EXCLUDED),
    "C": lambda editor: editor.confirm(),
    "N": lambda editor: editor.next_doubtful(),
    "Shift-N": lambda editor: editor.next_doubtful(-1),
    "Control-Z": lambda editor: editor.session.watch.undo(),
    "Control-Shift-Z": lambda editor: editor.session.watch.redo(),
    **{key: partial(give_reading, score=score) for key, score in READING_KEYS.items()},
}


def bind_keys(layer: Shapes, editor: GridEditor) -> None:
    """Let the keys act while the layer is active."""
    for key, act in _KEYS.items():

        def press(_layer: Any, act: Callable[[GridEditor], object] = act) -> None:
            act(editor)

        layer.bind_key(key, press, overwrite=True)


def release_keys(layer: Shapes) -> None:
    """Give the keys back to napari."""
    for key in _KEYS:
        with suppress(KeyError):
            layer.bind_key(key, None)
