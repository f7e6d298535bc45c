"""Turning the view to a core."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Layer

from napari_her2.cores import Core

__all__ = ["look_at"]

#: Share of the shorter side of the canvas that a core takes when it is looked at.
_SHARE = 0.35


def look_at(viewer: Any, layer: Layer, core: Core) -> None:
    """Put a core in the middle of the view, large enough to judge and with its neighbours around it."""
    scene = viewer.scene if hasattr(viewer, "scene") else viewer  # napari 0.9 moved the camera there
    here, there = (np.array(layer.data_to_world((core.y, core.x + d))) for d in (0.0, core.diameter))
    scene.camera.center = tuple(here)
    canvas = min(getattr(viewer, "_canvas_size", (0, 0))) or 600
    across = float(np.linalg.norm(there - here))
    if across > 0:
        scene.camera.zoom = _SHARE * canvas / across
