"""find_cores: where the cores of a slide are, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_her2.cores import Core, CoreGrid, CoreState, core_name
from napari_her2.dearray._discs import common_radius, pick
from napari_her2.dearray._fit import Spots, is_core, Spot
from napari_her2.dearray._lattice import fit_lattice
from napari_her2.dearray._tissue import find_tissue, border_pieces
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
    tissue = find_tissue(picture)
    radius = common_radius(tissue.mask)
    frame = border_pieces(tissue.density > 0.06, 3 * radius)
    if frame.any():
        tissue = tissue.without(frame)
        radius = common_radius(tissue.mask)
    for _ in range(2):
        finder = Spots(tissue, radius)
        points, values = pick(finder.response, radius, 0.3)
        spots = [finder.fit(p, v) for p, v in zip(points, values, strict=True)]
        spots = [s for s in spots if is_core(s)]
        clear = [s.radius for s in spots if s.response > .6]
        own = float(np.median(clear)) if clear else radius
        if abs(own / radius - 1) < .06: break
        radius = own
    places = np.array([s.place for s in spots])
    lattice = fit_lattice(places, np.clip([s.response for s in spots], 0, 1), radius)
    cores = []
    cells = lattice.places(places)
    taken = {}
    for i in np.flatnonzero(lattice.row >= 0):
        taken[lattice.row[i], lattice.column[i]] = spots[i]
    offs = [spots[i] for i in np.flatnonzero(lattice.row < 0)]
    good = [s for s in offs if s.response > .6]
    off = [s for s in offs if s in good or any(np.hypot(*(s.place-q.place)) < 5*radius for q in good)]
    left = finder.leftovers(list(taken.values()) + off)
    for (r, c) in np.ndindex(*cells.shape[:2]):
        s = taken.get((r, c)); state = CoreState.TISSUE; conf=1.
        if s is None:
            s = finder.look_for(cells[r, c], left, lattice.pitch)
            conf = .3
            if s is None or not is_core(s):
                state = CoreState.MISSING
                s = Spot(*cells[r, c], radius, 0, 0, 0)
        cores.append(Core(core_name(r, c), r, c, (s.y+.5)*downsample, (s.x+.5)*downsample, 2*s.radius*downsample, state,found_confidence=conf, reason=f'{s.fill:.2f} {s.grain:.2f} {s.response:.2f}'))
    for n, s in enumerate(off):
        cores.append(Core(f"X-{n+1}", -1, -1, (s.y+.5)*downsample, (s.x+.5)*downsample, 2*s.radius*downsample, found_confidence=.5, reason=f'{s.fill:.2f} {s.grain:.2f} {s.response:.2f}'))
    return CoreGrid(tuple(cores))
