"""After the user has drawn, moved, copied or deleted shapes: features that agree with the shapes again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from napari.layers import Shapes

from napari_her2.cores import Core, CoreGrid
from napari_her2.grid_edit import add_core
from napari_her2.slide import Slide
from napari_her2.viewer.cores_layer import geometry, grid_of_layer, is_near
from napari_her2.viewer.edit_layer import write_grid

__all__ = ["moved_cores", "moved_scored_cores", "put_back", "tidy"]

#: A shape smaller than this share of the usual core was clicked rather than drawn: it gets the usual diameter.
_CLICK = 0.25


def moved_cores(layer: Shapes) -> list[str]:
    """Names of the cores whose shapes no longer lie where their features say."""
    away = ~is_near(geometry(layer), _noted(layer)) & ~_drawn(layer)
    return [str(n) for n in layer.features["core"][away]]


def moved_scored_cores(layer: Shapes) -> list[str]:
    """Those of them that were scored where they lay."""
    scores = dict(zip(layer.features["core"], layer.features["her2_score"], strict=True))
    return [name for name in moved_cores(layer) if scores[name]]


def put_back(layer: Shapes, names: Iterable[str]) -> None:
    """Move shapes back to where their features say that they were."""
    wanted = set(names)
    now, noted, data = geometry(layer), _noted(layer), list(layer.data)
    for i, name in enumerate(layer.features["core"]):
        if name in wanted and np.isfinite(noted[i]).all():
            data[i] = noted[i, :2] + (data[i] - now[i, :2]) * (noted[i, 2] / now[i, 2])
    layer.data = data


def tidy(layer: Shapes, slide: Slide) -> list[str]:
    """Make the features agree with the shapes.

    A shape without a name, or with the name of an earlier one, is a new core: it gets its name from its place in the
    grid, and no score. A core that was moved keeps what is known of it, but no score and no doubt.

    Returns
    -------
    list of str
        Names of the new cores.
    """
    new, moved = _drawn(layer), set(moved_cores(layer))
    if not new.any() and not moved:
        return []
    grid = grid_of_layer(layer)
    grid = CoreGrid(tuple(_placed(core) if core.name in moved else core for core in grid))
    usual = float(np.median([core.diameter for core in grid])) if len(grid) else 0.0
    names = []
    for y, x, diameter in geometry(layer)[new]:
        grid, name = add_core(grid, float(y), float(x), usual if diameter < _CLICK * usual else float(diameter))
        names.append(name)
    write_grid(layer, slide, grid)
    return names


def _placed(core: Core) -> Core:
    return replace(core, found_confidence=None, reason="", tissue_fraction=None)


def _noted(layer: Shapes) -> npt.NDArray[np.float64]:
    """Places as the features have them, in the manner of `geometry`."""
    return np.asarray(layer.features[["y", "x", "diameter"]].to_numpy(np.float64))


def _drawn(layer: Shapes) -> npt.NDArray[np.bool_]:
    """Which shapes have no name of their own yet."""
    names = layer.features["core"]
    return np.asarray(((names.fillna("") == "") | names.duplicated()).to_numpy())
