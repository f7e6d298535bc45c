"""find_cores: where the cores of a slide are, and what they are called.

Tissue is told from the slide's own glass (`_tissue`), discs of one size are found in it (`_discs`), their rows and
columns make a lattice (`_lattice`), and each core gets its own centre and size (`_fit`). Nothing has to be known
beforehand: neither diameter, pitch, rotation, number of rows and columns, nor the pixel size.
"""

from __future__ import annotations

import itertools

import numpy as np

from napari_her2.cores import CoreGrid
from napari_her2.dearray._discs import common_radius, disc_worth, pick
from napari_her2.dearray._fit import Spot, Spots, is_core
from napari_her2.dearray._outline import with_outlines
from napari_her2.dearray._params import DearrayParams
from napari_her2.dearray._positions import positions
from napari_her2.dearray._section import in_lines, look_like_cores
from napari_her2.dearray._tissue import Tissue, find_tissue, without_frame
from napari_her2.dearray._told import disagree, length, told_lattice, warn_of_grid
from napari_her2.errors import CoresError
from napari_her2.naming import core_name
from napari_her2.slide import Slide

__all__ = ["DearrayParams", "find_cores"]

#: Longest side of the overview that is looked at, in pixels; half as much more where the slide has it ready.
_SIDE = 1536
#: The overview is reduced until a core is about this many pixels in radius.
_RADIUS = 14
#: Least ring response of a disc that may be a core, that tells where rows and columns are, and that stands off them.
_LEAST, _LEAST_GRID, _LEAST_OFF = 0.3, 0.45, 0.6
#: A given diameter is taken when it is this close to the slide's own, or explains this share of what that does.
_CLOSE, _AGREES = 0.88, 0.7
#: No punch is wider than this; pieces of tissue are.
_LARGEST_UM = 7000.0
_NOTHING_KNOWN = DearrayParams()


def find_cores(slide: Slide, params: DearrayParams = _NOTHING_KNOWN) -> CoreGrid:
    """Find and name the cores of a tissue microarray.

    Parameters
    ----------
    slide : Slide
        Brightfield slide, any stain.
    params : DearrayParams
        What is known of the cores; by default everything is found.

    Returns
    -------
    CoreGrid
        One core per position of the grid in reading order, those without tissue in state ``missing`` at the place
        where the lattice expects them, then cores off the grid (orientation and control cores; row and column -1,
        names X-1, X-2, ...). Rows and columns are numbered straight through, gaps between blocks do not count.
        `found_confidence` is the chance that the position is right; below 0.9 `reason` says why.

    Raises
    ------
    CoresError
        If the slide is blank, or its tissue does not form round pieces of one size in rows and columns.
    PixelSizeError
        If the diameter or the pitch is given in µm and the slide does not know its pixel size.

    Warns
    -----
    UserWarning
        For each given value that is not that of the slide; the slide's own is used then.
    """
    given = params.diameter(slide)
    picture, downsample = slide.overview(_side(slide))
    tissue = find_tissue(picture)
    radius = _radius(slide, tissue, downsample, given)
    factor = max(1, int(radius / _RADIUS))
    tissue, radius, downsample = tissue.reduced(factor), radius / factor, downsample * factor
    tissue = without_frame(tissue, radius)
    finder, spots = _spots(tissue, radius)
    clear = [s for s in spots if s.response > _LEAST_GRID]
    if not look_like_cores(tissue, clear) or (given is None and _too_large(slide, radius * downsample)):
        raise _none_found(slide)
    told = params.told(slide, downsample)
    strength = np.array([min(1.0, s.response) for s in clear])
    lattice = told_lattice(np.array([s.place for s in clear]), strength, radius, told)
    if not in_lines(lattice, len(clear)):
        raise _none_found(slide)
    found, lone = positions(finder, clear, [s for s in spots if s not in clear], lattice)
    lone.sort(key=lambda p: (round(p.spot.y / (2 * radius)), p.spot.x))
    cores = {core_name(*cell): p.core(core_name(*cell), *cell, downsample) for cell, p in sorted(found.items())}
    for position in lone:
        name = next(name for n in itertools.count(1) if (name := f"X-{n}") not in cores)  # there may be a row X
        cores[name] = position.core(name, -1, -1, downsample)
    grid = with_outlines(tissue, CoreGrid(tuple(cores.values())), downsample)
    warn_of_grid(slide, grid, lattice, told, downsample)
    return grid


def _side(slide: Slide) -> int:
    """Longest side of the overview: that of a level which is hardly too large, rather than half of it."""
    sides = [int(max(level.shape[:2])) for level in slide.levels]
    return max((side for side in sides if _SIDE < side <= 1.5 * _SIDE), default=_SIDE)


def _none_found(slide: Slide) -> CoresError:
    return CoresError(
        f"No cores found on {slide.name}: its tissue does not form round pieces of one size. "
        "Draw the cores by hand, or score the image as a single core."
    )


def _too_large(slide: Slide, radius: float) -> bool:
    return slide.mpp is not None and 2 * radius * slide.mpp > _LARGEST_UM


def _radius(slide: Slide, tissue: Tissue, downsample: float, given: float | None) -> float:
    """Common radius of the cores in pixels of the overview."""
    if float(tissue.mask.mean()) < 1e-4:
        raise CoresError(f"{slide.name} looks empty: nothing on it is darker than its glass.")
    radius = common_radius(tissue.sharp)
    if given is None:
        if radius == 0:
            raise _none_found(slide)
        return radius
    told = given / 2 / downsample
    if radius == 0:
        return told
    if _CLOSE < told / radius < 1 / _CLOSE:
        return told
    if 2 < told < max(tissue.mask.shape):
        own, other = disc_worth(tissue.sharp, [radius, told])[1]
        if other >= _AGREES * own:
            return told
    disagree(length(slide, given), f"the cores of {slide.name} look {length(slide, 2 * radius * downsample)} across")
    return radius


def _spots(tissue: Tissue, radius: float) -> tuple[Spots, list[Spot]]:
    """Discs that look like cores, and what found them."""
    for _ in range(2):
        finder = Spots(tissue, radius)
        points, values = pick(finder.response, radius, _LEAST)
        spots = [finder.fit(p, v) for p, v in zip(points, values, strict=True)]
        spots = [s for s in spots if is_core(s)]
        own = [s.radius for s in spots if s.response > _LEAST_OFF]
        middle = float(np.median(own)) if own else radius
        if abs(middle / radius - 1) < 0.12:
            break
        radius = middle
    return finder, spots
