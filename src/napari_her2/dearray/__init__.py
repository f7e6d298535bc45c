"""find_cores: where the cores of a slide are, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_her2.cores import Core, CoreGrid, CoreState, core_name
from napari_her2.dearray._discs import common_radius, pick, ring_response
from napari_her2.dearray._lattice import fit_lattice
from napari_her2.dearray._tissue import tissue_map
from napari_her2.errors import CoresError
from napari_her2.slide import Slide

__all__ = ["DearrayParams", "find_cores"]

_SIDE = 1536


@dataclass(frozen=True)
class DearrayParams:
    core_diameter_um: float | None = None
    core_diameter_px: float | None = None


def find_cores(slide: Slide, params: DearrayParams = DearrayParams()) -> CoreGrid:
    picture, downsample = slide.overview(_SIDE)
    mask, density = tissue_map(picture)
    radius = common_radius(mask)
    response = ring_response(mask, [radius])[0]
    points, values = pick(response, radius, 0.15)
    strong = values > 0.35
    lattice = fit_lattice(points[strong], np.clip(values[strong], 0, 1), radius)
    cores = []
    cells = lattice.places(points[strong])
    taken = {}
    for i in np.flatnonzero(lattice.row >= 0):
        taken[lattice.row[i], lattice.column[i]] = points[strong][i]
    off = [points[strong][i] for i in np.flatnonzero(lattice.row < 0) if values[strong][i] > 0.6]
    weak = points[~strong]
    for (r, c) in np.ndindex(*cells.shape[:2]):
        p = taken.get((r, c)); state = CoreState.TISSUE; conf=1.
        if p is None:
            p = cells[r, c]; state = CoreState.MISSING
            d = np.hypot(*(weak - p).T) if len(weak) else np.array([9e9])
            if d.min() < 0.45 * lattice.pitch:
                p = weak[np.argmin(d)]; state = CoreState.TISSUE; conf=.3
        cores.append(Core(core_name(r, c), r, c, (p[0]+.5)*downsample, (p[1]+.5)*downsample, 2*radius*downsample, state,found_confidence=conf))
    for n, p in enumerate(off):
        cores.append(Core(f"X-{n+1}", -1, -1, (p[0]+.5)*downsample, (p[1]+.5)*downsample, 2*radius*downsample, found_confidence=.5))
    return CoreGrid(tuple(cores))
