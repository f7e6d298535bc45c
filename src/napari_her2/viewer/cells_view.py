"""Which core is looked at, and turning the view to its cells."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from napari.layers import Image, Layer

from napari_her2.cores import Core
from napari_her2.measure import Measurement

__all__ = ["core_in_view", "look_into"]

#: Pixels of the screen per µm below which outlines of cells cannot be told apart, and those that show them well.
_LEAST, _WELL = 1.0, 2.2


def core_in_view(viewer: Any, layer: Layer, cores: Iterable[Core]) -> Core | None:
    """The core that the middle of the view lies on; None when it lies on none."""
    y, x = layer.world_to_data(_camera(viewer).center[-2:])[-2:]
    here = [(np.hypot(core.y - y, core.x - x), core) for core in cores]
    distance, core = min(here, key=lambda pair: pair[0], default=(np.inf, None))
    return core if core is not None and distance <= 0.6 * core.diameter else None


def look_into(viewer: Any, image: Image, core: Core, measured: Measurement) -> None:
    """Turn the view to the cells of a core, near enough to tell them apart; a view that shows them stays as it is."""
    camera = _camera(viewer)
    y, x = image.world_to_data(camera.center[-2:])[-2:]
    inside = np.hypot(core.y - y, core.x - x) <= core.diameter / 2
    if not inside:
        y, x = (float(np.median(measured.y)), float(np.median(measured.x))) if len(measured.y) else (core.y, core.x)
    here, there = (np.array(image.data_to_world((y, x + d))) for d in (0.0, measured.pixel))
    um = float(np.linalg.norm(there - here))
    if not inside or camera.zoom * um < _LEAST:
        camera.center = tuple(here)
        camera.zoom = max(camera.zoom, _WELL / um)


def _camera(viewer: Any) -> Any:
    return (viewer.scene if hasattr(viewer, "scene") else viewer).camera  # napari 0.9 moved it
