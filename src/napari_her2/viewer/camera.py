"""Turning the view to a core."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Layer

from napari_her2.cores import Core

__all__ = ["look_at"]

#: Pixels of the screen across a core that is looked at: large enough to judge, with its neighbours around it.
_ACROSS = 220.0


def look_at(
    viewer: Any, layer: Layer, core: Core, *, across: float = _ACROSS, keep: tuple[float, float] = (0.0, 0.0)
) -> None:
    """Put a core in the middle of the view, `across` pixels of the screen wide.

    The zoom stays as it is where it shows the core at a width between those of `keep`.
    """
    scene = viewer.scene if hasattr(viewer, "scene") else viewer  # napari 0.9 moved the camera there
    here, there = (np.array(layer.data_to_world((core.y, core.x + d))) for d in (0.0, core.diameter))
    scene.camera.center = tuple(here)
    width = float(np.linalg.norm(there - here))
    if width > 0 and not keep[0] < width * scene.camera.zoom < keep[1]:
        scene.camera.zoom = across / width
