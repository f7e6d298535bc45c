"""snap_grid: the cores of a grid drawn by hand, each laid onto its own tissue."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.dearray._align import Ints, Points, assign, bend, settle, spacing, worth
from napari_her2.dearray._discs import common_radius, disc_worth, pick, vertex
from napari_her2.dearray._fit import Spot, Spots, is_core
from napari_her2.dearray._lattice import fit_lattice
from napari_her2.dearray._outline import Mask, with_outlines
from napari_her2.dearray._positions import Position, missing_position, tissue_position
from napari_her2.dearray._tissue import Tissue, border_pieces, find_tissue
from napari_her2.errors import CoresError
from napari_her2.slide import Slide

__all__ = ["Seen", "lay", "look", "snap_grid"]

#: Longest side of the overview that is looked at, in pixels, and the radius of a core to which that is reduced.
_SIDE, _RADIUS = 1536, 14
#: Denser than this along the border of the picture is the edge of the slide or its holder, not tissue.
_EDGE_DENSITY = 0.06
#: Least ring response of a disc that may be a core, and of one that tells where the others are.
_LEAST, _CLEAR = 0.3, 0.45
#: Sizes that are tried for cores whose diameter the user drew, in drawn radii, and how strongly his is preferred.
_SIZES, _TRUST = 2 ** np.linspace(-0.75, 0.75, 13), 0.5
#: A shift of the whole grid further than this, in pitches, was not meant.
_DRIFT = 0.75
#: Other starts are tried when the grid explains less than this share of the discs, or the discs of the grid.
_GOOD = 0.985


@dataclass(frozen=True)
class Seen:
    """What an overview shows: its tissue, the discs in it, and their common radius in its pixels."""

    tissue: Tissue
    radius: float
    downsample: float
    finder: Spots
    spots: list[Spot]

    @property
    def discs(self) -> Points:
        """(y, x) of the discs, in pixels of the overview; shape (n, 2)."""
        return np.array([s.place for s in self.spots]).reshape(-1, 2)

    @property
    def strength(self) -> Points:
        """How sure each disc is a core, 0..1; shape (n,)."""
        return np.array([min(1.0, s.response) for s in self.spots])


def snap_grid(slide: Slide, grid: CoreGrid) -> CoreGrid:
    """Lay a grid whose places are roughly right onto the tissue.

    The grid is shifted and stretched as a whole, bent smoothly, and then each core goes to a disc of tissue of its own
    within half a pitch. What has none is missing, at the place where its neighbours expect it.

    Parameters
    ----------
    slide : Slide
        Brightfield slide, any stain.
    grid : CoreGrid
        Places up to 0.4 pitches off, diameters up to 1.6 times too large or small.

    Returns
    -------
    CoreGrid
        The same cores in the same order, with new places, diameters, states, tissue fractions, confidences, reasons and
        outlines. Excluded cores stay excluded. All else is kept.

    Raises
    ------
    CoresError
        If the slide is blank.
    """
    if len(grid) == 0:
        return grid
    drawn = np.array([(c.y, c.x) for c in grid])
    diameter = float(np.median([c.diameter for c in grid]))
    seen = look(slide, diameter, float(np.median(spacing(drawn, 1.25 * diameter))))
    return lay(seen, grid, _settled(seen, grid, drawn / seen.downsample - 0.5))


def look(slide: Slide, diameter: float | None = None, pitch: float = np.inf) -> Seen:
    """Find the discs of tissue on a slide.

    Parameters
    ----------
    slide : Slide
    diameter : float, optional
        Rough diameter of the cores in level-0 pixels; found without it, but not on every slide.
    pitch : float
        Distance of neighbours in level-0 pixels, if known: cores are not larger.

    Raises
    ------
    CoresError
        If the slide is blank, or no diameter is given and nothing on it is round.
    """
    picture, downsample = slide.overview(_SIDE)
    tissue = find_tissue(picture)
    if float(tissue.mask.mean()) < 1e-4:
        raise CoresError(f"{slide.name} looks empty: nothing on it is darker than its glass.")
    if diameter is None:
        radius = common_radius(tissue.sharp)
    else:
        radius = _near_radius(tissue, diameter / 2 / downsample, pitch / downsample)
    if radius == 0:
        raise CoresError(f"No cores found on {slide.name}: its tissue does not form round pieces of one size.")
    frame = border_pieces(tissue.density > _EDGE_DENSITY, 3 * radius)
    if frame.any():
        tissue = tissue.without(frame)
    factor = max(1, int(radius / _RADIUS))
    tissue, radius, downsample = tissue.reduced(factor), radius / factor, downsample * factor
    finder = Spots(tissue, radius)
    points, values = pick(finder.response, radius, _LEAST)
    spots = [finder.fit(p, v) for p, v in zip(points, values, strict=True)]
    return Seen(tissue, radius, downsample, finder, [s for s in spots if is_core(s)])


def lay(seen: Seen, grid: CoreGrid, places: Points) -> CoreGrid:
    """Give each core of a grid its own disc of tissue.

    Parameters
    ----------
    seen : Seen
        The slide.
    grid : CoreGrid
    places : ndarray of float, shape (n, 2)
        Where its cores are expected, (y, x) in pixels of the overview, less than half a pitch off.
    """
    pitch = spacing(places, 2.5 * seen.radius)
    own, to = assign(places, seen.discs, seen.strength, pitch)
    spots = {int(n): seen.spots[m] for n, m in zip(own, to, strict=True)}
    # tissue of discs that belong to no core of the grid is not the remains of one of its cores
    known = [s for n, s in enumerate(seen.spots) if n in set(to.tolist()) or s.response > _CLEAR]
    empty = [n for n in range(len(places)) if n not in spots]
    rest = seen.finder.remains(places[empty], float(np.median(pitch)), known)
    spots |= {n: spot for n, spot in zip(empty, rest, strict=True) if spot is not None}
    usual = float(np.median([s.radius for s in spots.values()])) if spots else seen.radius
    found = []
    for n, (y, x) in enumerate(places):
        if n in spots:
            found.append(tissue_position(spots[n], spots[n].distance(places[n]) / pitch[n]))
        else:
            found.append(missing_position(seen.finder.measure(float(y), float(x), usual, 0.0)))
    cores = tuple(_laid(c, p, seen.downsample) for c, p in zip(grid, found, strict=True))
    return with_outlines(seen.tissue, CoreGrid(cores), seen.downsample)


def _laid(core: Core, position: Position, downsample: float) -> Core:
    spot = position.spot
    return replace(
        core,
        y=(spot.y + 0.5) * downsample,
        x=(spot.x + 0.5) * downsample,
        diameter=2 * spot.radius * downsample,
        state=CoreState.EXCLUDED if core.state is CoreState.EXCLUDED else position.state,
        found_confidence=round(position.confidence, 3),
        reason=position.reason,
        tissue_fraction=round(spot.fill, 3),
    )


def _near_radius(tissue: Tissue, told: float, pitch: float) -> float:
    """Radius near the told one that explains most tissue as separate discs; the told one where nothing does."""
    small = tissue.reduced(max(1, int(told / 6)))
    scale = tissue.mask.shape[0] / max(1, small.mask.shape[0])
    sizes = told * _SIZES
    sizes = sizes[(sizes < 0.55 * pitch) & (sizes > 2) & (sizes < 0.5 * max(tissue.mask.shape))]
    if len(sizes) == 0:
        return told
    worth = disc_worth(small.sharp, sizes / scale)[0] * np.exp(-(_TRUST * np.log(sizes / told) ** 2))
    best = int(np.argmax(worth))
    if worth[best] == 0:
        return told
    return float(np.exp(np.interp(vertex(worth, best), np.arange(len(sizes)), np.log(sizes))))


def _settled(seen: Seen, grid: CoreGrid, places: Points) -> Points:
    """Places corrected as a whole, then smoothly, by the clear discs near them."""
    clear = seen.strength > _CLEAR
    discs, strength = seen.discs[clear], seen.strength[clear]
    pitch = spacing(places, 2.5 * seen.radius)

    def settled(start: Points) -> tuple[float, Points]:
        end = bend(settle(start, discs, strength, pitch), discs, strength, pitch)
        return worth(end, discs, strength, pitch), end

    best = settled(places)
    # a start further away must be clearly better; rows and columns that fall on the discs' own need not
    for start, better in ((_shifted, 1.05), (_on_lattice, 1.01)):
        if best[0] > _GOOD * min(strength.sum(), len(places)):
            break
        other = settled(start(seen, grid, places, clear))
        best = other if other[0] > better * best[0] else best
    return best[1]


def _shifted(seen: Seen, grid: CoreGrid, places: Points, clear: Mask) -> Points:
    """All places by the shift that brings most near a disc, of those that are not too far to be meant."""
    discs, strength = seen.discs[clear], seen.strength[clear]
    pitch = float(np.median(spacing(places, 2.5 * seen.radius)))
    own, to = _close(places, discs, _DRIFT * pitch)
    if len(to) == 0:
        return places
    shift = discs[to] - places[own]
    votes = np.array([strength[to[n]].sum() for n in cKDTree(shift).query_ball_point(shift, 0.15 * pitch)])
    far = np.hypot(*shift.T) / pitch
    best = int(np.argmax(votes * (1 - 0.5 * far**2)))
    return np.asarray(places + shift[best])


def _close(places: Points, discs: Points, reach: float) -> tuple[Ints, Ints]:
    """All pairs of a place and a disc within `reach`."""
    near = cKDTree(discs.reshape(-1, 2)).query_ball_point(places, reach)
    return np.repeat(np.arange(len(places)), [len(n) for n in near]), np.concatenate([np.array(n, int) for n in near])


def _on_lattice(seen: Seen, grid: CoreGrid, places: Points, clear: Mask) -> Points:
    """Rows and columns laid onto those of the discs: gaps between sectors and warp, which nobody draws."""
    on = np.array([c.row >= 0 for c in grid])
    lattice = fit_lattice(seen.discs[clear], seen.strength[clear], seen.radius) if clear.sum() > 8 else None
    if lattice is None or not on.any() or len({c.block for c in grid}) > 1:
        return places
    # beyond the last row or column the next is as far away as the one before
    wide = np.pad(lattice.places(seen.discs[clear]), ((2, 2), (2, 2), (0, 0)), "reflect", reflect_type="odd")
    row, column = (np.array(n)[on] for n in zip(*((c.row, c.column) for c in grid), strict=True))
    best, found = lattice.pitch, places
    for turned in (wide, wide[::-1], wide[:, ::-1], wide[::-1, ::-1]):
        for crossings in (turned, turned.swapaxes(0, 1)):
            spare = max(0, crossings.shape[0] - row.max()), max(0, crossings.shape[1] - column.max())
            for down, across in np.ndindex(*spare):
                laid = crossings[row + down, column + across]
                away = float(np.mean(np.hypot(*(laid - places[on]).T)))
                if away < best:
                    best, found = away, places + np.mean(laid - places[on], axis=0)
                    found[on] = laid
    return found
