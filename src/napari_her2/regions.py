"""Region: where on a slide tumour cells are to be counted, or nothing is; drawn by the user over one core or more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from skimage.draw import polygon2mask

from napari_her2.cores import Core

__all__ = ["KINDS", "Region", "RegionKind", "region_masks", "regions_on"]

RegionKind = Literal["count here", "leave out"]
KINDS: tuple[RegionKind, ...] = ("count here", "leave out")

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Region:
    """A closed outline and what holds inside it.

    Attributes
    ----------
    kind : {"count here", "leave out"}
        Where one says "count here", every nucleus in it counts on that core, and none outside; "leave out" stands above
        all else.
    outline : tuple of (float, float)
        Vertices (y, x) in level-0 pixels; the last is joined to the first.
    """

    kind: RegionKind
    outline: tuple[tuple[float, float], ...]

    def touches(self, core: Core) -> bool:
        """Whether any of it lies in the disc of a core."""
        vertices = np.array(self.outline) - (core.y, core.x)
        radius = core.diameter / 2
        if len(vertices) < 3 or (vertices.min(axis=0) > radius).any() or (vertices.max(axis=0) < -radius).any():
            return False
        ends = np.roll(vertices, -1, axis=0)
        along = ends - vertices
        length = np.maximum((along**2).sum(axis=1), 1e-12)
        t = np.clip(-(vertices * along).sum(axis=1) / length, 0, 1)
        nearest = np.hypot(*(vertices + t[:, None] * along).T).min()
        return bool(nearest <= radius) or _holds_origin(vertices, ends)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in ``run.json``: `outline_xy` are vertices (x, y) in level-0 pixels."""
        return {"kind": self.kind, "outline_xy": [[x, y] for y, x in self.outline]}


def _holds_origin(starts: npt.NDArray[np.float64], ends: npt.NDArray[np.float64]) -> bool:
    """Whether (0, 0) lies in a polygon: a ray along x crosses its sides an odd number of times."""
    (y0, x0), (y1, x1) = starts.T, ends.T
    crosses = (y0 > 0) != (y1 > 0)
    at = x0[crosses] - y0[crosses] * (x1 - x0)[crosses] / (y1 - y0)[crosses]
    return bool(np.count_nonzero(at > 0) % 2)


def regions_on(core: Core, regions: Iterable[Region]) -> tuple[Region, ...]:
    """Those that touch the disc of a core, in an order of their own: drawing them in another changes nothing."""
    return tuple(sorted((r for r in regions if r.touches(core)), key=lambda r: (r.kind, r.outline)))


def region_masks(
    regions: Iterable[Region], box: tuple[int, int, int, int], shape: tuple[int, int]
) -> tuple[Mask | None, Mask | None]:
    """Where cells are counted, and where nothing is, on squares that fill a box.

    Parameters
    ----------
    regions : iterable of Region
    box : tuple of 4 int
        (y0, x0, y1, x1) in level-0 pixels, see `Core.box`.
    shape : (int, int)
        Rows and columns of squares.

    Returns
    -------
    count, leave : ndarray of bool, shape `shape`, or None
        None where there is no region of the kind.
    """
    y0, x0, y1, x1 = box
    step = np.array(((y1 - y0) / shape[0], (x1 - x0) / shape[1]))
    masks: dict[str, Mask] = {}
    for region in regions:
        # the centre of the first square is (0, 0)
        corners = (np.array(region.outline) - (y0, x0)) / step - 0.5
        inside = polygon2mask(shape, corners)  # type: ignore[no-untyped-call]
        masks[region.kind] = masks[region.kind] | inside if region.kind in masks else inside
    return masks.get("count here"), masks.get("leave out")
