"""find_cores: where the cores of a slide are, and what they are called.

Tissue is told from the slide's own glass (`_tissue`), discs of one size are found in it (`_discs`), their rows and
columns make a lattice (`_lattice`), and each core gets its own centre and size (`_fit`). Nothing has to be known
beforehand: neither diameter, pitch, rotation, number of rows and columns, nor the pixel size.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from napari_her2.cores import Core, CoreGrid, CoreState, core_name
from napari_her2.dearray._discs import common_radius, disc_worth, pick
from napari_her2.dearray._fit import Spot, Spots, is_core
from napari_her2.dearray._lattice import Lattice, fit_lattice
from napari_her2.dearray._tissue import Tissue, border_pieces, find_tissue
from napari_her2.errors import CoresError, PixelSizeError
from napari_her2.slide import Slide

__all__ = ["DearrayParams", "find_cores"]

#: Longest side of the overview that is looked at, in pixels.
_SIDE = 1536
#: The overview is reduced until a core is about this many pixels in radius.
_RADIUS = 14
#: Denser than this along the border of the picture is the edge of the slide or its holder, not tissue.
_EDGE_DENSITY = 0.06
#: Least ring response of a disc that may be a core, that tells where rows and columns are, and that stands off them.
_LEAST, _LEAST_GRID, _LEAST_OFF = 0.3, 0.45, 0.6
#: A given diameter is taken when it is this close to the slide's own, or explains this share of what that does.
_CLOSE, _AGREES = 0.88, 0.7


@dataclass(frozen=True)
class DearrayParams:
    """What the user knows of the cores; everything left out is found.

    Attributes
    ----------
    core_diameter_um : float or None
        Diameter of the cores in µm; the slide must know its pixel size.
    core_diameter_px : float or None
        Diameter of the cores in level-0 pixels.
    """

    core_diameter_um: float | None = None
    core_diameter_px: float | None = None

    def diameter(self, slide: Slide) -> float | None:
        """Diameter in level-0 pixels of a slide, if one is given.

        Raises
        ------
        PixelSizeError
            If it is given in µm and the slide does not know its pixel size.
        CoresError
            If it is not a positive length.
        """
        given = self.core_diameter_px
        if self.core_diameter_um is not None:
            if slide.mpp is None:
                raise PixelSizeError(
                    f"{slide.name} does not say its pixel size, so a core diameter of {self.core_diameter_um:g} µm "
                    "cannot be used: give the pixel size, or leave the diameter out, as it is found without."
                )
            given = self.core_diameter_um / slide.mpp
        if given is not None and not 0 < given < np.inf:
            raise CoresError("The core diameter must be more than 0: correct it, or leave it out.")
        return given


def find_cores(slide: Slide, params: DearrayParams = DearrayParams()) -> CoreGrid:
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
        `found_confidence` says how sure the state of a position is; below about 0.9 `reason` says why.

    Raises
    ------
    CoresError
        If the slide is blank, or its tissue does not form round pieces of one size.
    PixelSizeError
        If the diameter is given in µm and the slide does not know its pixel size.

    Warns
    -----
    UserWarning
        If the given diameter is not that of the cores on the slide; the slide's own is used then.
    """
    given = params.diameter(slide)
    picture, downsample = slide.overview(_SIDE)
    tissue = find_tissue(picture)
    radius = _radius(slide, tissue, downsample, given)
    frame = border_pieces(tissue.density > _EDGE_DENSITY, 3 * radius)
    if frame.any():
        tissue = tissue.without(frame)
    factor = max(1, int(radius / _RADIUS))
    tissue, radius, downsample = tissue.reduced(factor), radius / factor, downsample * factor
    finder, spots = _spots(tissue, radius)
    clear = [s for s in spots if s.response > _LEAST_GRID]
    if not clear or (len(clear) == 1 and _leaves(clear[0], tissue.mask.shape)):
        raise _none_found(slide)
    lattice = fit_lattice(np.array([s.place for s in clear]), np.array([min(1.0, s.response) for s in clear]), radius)
    positions, lone = _positions(finder, clear, [s for s in spots if s not in clear], lattice)
    cores = [p.core(core_name(*cell), *cell, downsample) for cell, p in sorted(positions.items())]
    lone.sort(key=lambda s: (round(s.y / (2 * radius)), s.x))
    for n, spot in enumerate(lone, 1):
        cores.append(Position(spot, 0.7, "stands off the grid").core(f"X-{n}", -1, -1, downsample))
    return CoreGrid(tuple(cores))


@dataclass(frozen=True)
class Position:
    """A position of the grid: its disc, how sure its state is, and what is doubtful."""

    spot: Spot
    confidence: float
    reason: str = ""
    state: CoreState = CoreState.TISSUE

    def core(self, name: str, row: int, column: int, downsample: float) -> Core:
        s = self.spot
        y, x = (s.y + 0.5) * downsample, (s.x + 0.5) * downsample
        sure, reason = round(self.confidence, 3), self.reason
        return Core(name, row, column, y, x, 2 * s.radius * downsample, self.state, "", sure, reason)


def _none_found(slide: Slide) -> CoresError:
    return CoresError(
        f"No cores found on {slide.name}: its tissue does not form round pieces of one size. "
        "Draw the cores by hand, or score the image as a single core."
    )


def _leaves(spot: Spot, shape: tuple[int, ...]) -> bool:
    """Whether a disc goes beyond the picture: a piece of a larger section, not a core."""
    r = 0.9 * spot.radius
    return not (r < spot.y < shape[0] - r and r < spot.x < shape[1] - r)


def _radius(slide: Slide, tissue: Tissue, downsample: float, given: float | None) -> float:
    """Common radius of the cores in pixels of the overview."""
    if float(tissue.mask.mean()) < 1e-4:
        raise CoresError(f"{slide.name} looks empty: nothing on it is darker than its glass.")
    radius = common_radius(tissue.mask)
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
        own, other = disc_worth(tissue.mask, [radius, told])[1]
        if other >= _AGREES * own:
            return told
    unit, size = ("mm", slide.mpp / 1000) if slide.mpp else ("pixels", 1.0)
    warnings.warn(
        f"You said {given * size:.3g} {unit}; the cores of {slide.name} look {2 * radius * downsample * size:.3g} "
        f"{unit} across, and were found with that.",
        UserWarning,
        stacklevel=3,
    )
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


def _positions(
    finder: Spots, spots: list[Spot], weak: list[Spot], lattice: Lattice | None
) -> tuple[dict[tuple[int, int], Position], list[Spot]]:
    """What stands at each (row, column), and the cores off the grid."""
    if lattice is None:
        return {(0, 0): _tissue(max(spots, key=lambda s: s.response), 0.0)}, []
    known = {
        (int(lattice.row[i]), int(lattice.column[i])): (spots[i], float(lattice.residual[i]))
        for i in np.flatnonzero(lattice.row >= 0)
    }
    places = lattice.places(np.array([s.place for s in spots]))
    near = cKDTree(places.reshape(-1, 2))
    stray = []
    for spot in weak:
        away, index = near.query(spot.place)
        cell = (int(index) // places.shape[1], int(index) % places.shape[1])
        if away < 0.5 * lattice.pitch and cell not in known:
            known[cell] = spot, float(away) / lattice.pitch
        else:
            stray.append(spot)
    lone = _off_grid([spots[i] for i in np.flatnonzero(lattice.row < 0)] + stray, finder.radius)
    empty = [cell for cell in np.ndindex(*places.shape[:2]) if cell not in known]
    remains = finder.remains(
        np.array([places[cell] for cell in empty]).reshape(-1, 2),
        lattice.pitch,
        [s for s, _ in known.values()] + lone,
    )
    usual = float(np.median([s.radius for s, _ in known.values()]))
    positions = {cell: _tissue(spot, away) for cell, (spot, away) in known.items()}
    for (row, column), found in zip(empty, remains, strict=True):
        y, x = (float(n) for n in places[row, column])
        if found is not None:
            positions[row, column] = _tissue(found, float(np.hypot(found.y - y, found.x - x)) / lattice.pitch)
        else:
            positions[row, column] = _missing(finder.measure(y, x, usual, 0.0))
    return positions, lone


def _off_grid(spots: list[Spot], radius: float) -> list[Spot]:
    """Cores among the discs off the grid: clear ones with company of their kind or with grain, and what is near."""
    clear = [s for s in spots if s.response > _LEAST_OFF]
    near = [[t for t in clear if t is not s and t.distance(s.place) < 6 * radius] for s in spots]
    return [s for s, n in zip(spots, near, strict=True) if n or (s.response > _LEAST_OFF and s.grain > 0.6)]


def _tissue(spot: Spot, away: float) -> Position:
    """A core with tissue: sure when it is full, clear and in its place (`away` from it in pitches)."""
    full = 1 / (1 + np.exp(1.5 - 12 * min(spot.fill, max(0.0, spot.response) + 0.1)))
    confidence = float(full) * (1 - min(0.5, max(0.0, away - 0.25)))
    reasons = []
    if spot.fill < 0.3:
        reasons.append(f"tissue on {spot.fill:.0%} of the core only")
    if away > 0.3:
        reasons.append("far from its place in the grid")
    if spot.response < 0.3 <= spot.fill:
        reasons.append("hardly stands out from what is around it")
    return Position(spot, confidence, "; ".join(reasons))


def _missing(spot: Spot) -> Position:
    """A position without a core; the more tissue or dirt there is all the same, the less sure."""
    confidence = float(1 / (1 + np.exp(12 * spot.fill - 3.5)))
    if not is_core(spot):
        confidence = max(confidence, 0.6)
    reason = f"{spot.fill:.0%} of the place is covered, but not by a core" if spot.fill > 0.1 else ""
    return Position(spot, confidence, reason, CoreState.MISSING)
