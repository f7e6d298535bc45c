"""reuse_grid: the grid of one slide laid onto another section of the same block."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.dearray._align import Affine, Ints, Points, assign, bend, settle, spacing, worth
from napari_her2.dearray._lattice import fit_lattice
from napari_her2.dearray.snap import Seen, lay, look
from napari_her2.errors import CoresError
from napari_her2.slide import Slide

__all__ = ["Reuse", "reuse_grid"]

#: Least ring response of a disc that is matched, and of one that is kept though it matches nothing.
_CLEAR, _LEAST_OFF = 0.45, 0.6
#: A section is not stretched more than this in one direction, nor are its cores so much larger than the scale says.
_STRETCH, _GROWN = 1.3, 1.7
#: Places of the whole grid that are tried for each direction, and how many are looked at closely.
_PLACES, _CLOSELY = 5, 10
#: So many discs tell the directions of rows and columns.
_ENOUGH = 200
#: Cells in which shifts are counted, and how far the cores of one shift lie apart, both in pitches.
_CELL, _LOOSE = 0.1, 0.12
#: Log odds of a core with tissue, and of one without, to show on the next section; of a disc where no core was.
_KEPT, _BACK, _NEW = (np.log(0.92), np.log(0.08)), (np.log(0.12), np.log(0.88)), np.log(0.05)
#: Centres are this exact, in pitches; and a log odds that leaves no doubt.
_EXACT, _SURE = 0.04, 3.5
#: Least share and number of the cores with tissue that must be found again, and the share below which a user is told.
_LEAST_SHARE, _LEAST_COUNT, _USUAL_SHARE = 0.5, 3, 0.75


@dataclass(frozen=True)
class Reuse:
    """A grid on another section.

    Attributes
    ----------
    grid : CoreGrid
        The cores of the old grid in their order, then cores of the new slide that match none (X-1, ...).
    matched, of : int
        How many of the cores that had tissue were found again.
    rotation_degrees : float
        Clockwise as seen on the screen, -180 to 180; after mirroring, if `flipped`.
    flipped : bool
        Whether the section is mirrored (left to right, before it is turned).
    scale : float
        Level-0 pixels of the new slide per level-0 pixel of the old one.
    ambiguous : bool
        Whether the cores fit another way about as well.
    warning : str
        What the user should check, in whole sentences; empty for nothing.
    """

    grid: CoreGrid
    matched: int
    of: int
    rotation_degrees: float
    flipped: bool
    scale: float
    ambiguous: bool
    warning: str


@dataclass(frozen=True)
class _Fit:
    """One way to lay the grid: where its cores come to lie, their discs, and how plain the way is."""

    places: Points
    disc: Ints  # of each core; -1 for none
    away: Points  # from each core to its disc, in pitches; nan for none
    odds: float
    rotation: float
    flipped: bool
    scale: float

    @property
    def plainness(self) -> tuple[bool, int, float]:
        return self.flipped, round(abs(self.rotation) / 45), -self.odds


def reuse_grid(slide: Slide, grid: CoreGrid) -> Reuse:
    """Apply the grid of one slide to another section of the same block.

    The section may be shifted, turned, mirrored, scaled and a little warped; cores may be lost, and others present.

    Parameters
    ----------
    slide : Slide
        The other section.
    grid : CoreGrid
        Of the first section. Names, rows, columns, blocks, patients and the user's columns come along, and cores that
        were excluded stay so. Reader scores and notes belong to the first section and are left there.

    Raises
    ------
    CoresError
        If the slide is blank or shows no cores, or if too few cores of the grid are found on it.
    """
    seen = look(slide)
    old = np.array([(c.y, c.x) for c in grid]).reshape(-1, 2)
    clear = np.flatnonzero(seen.strength > _CLEAR)
    fits = _fits(seen.discs[clear], seen.strength[clear], seen.radius, old, grid) if len(old) and len(clear) else []
    if not fits:
        raise _too_badly(slide, 0, len(grid.scorable))
    fit, others = _choose(fits)
    laid = lay(seen, CoreGrid(tuple(replace(c, reader_score="", note="") for c in grid)), fit.places)
    had, has = ({c.name for c in g.scorable} for g in (grid, laid))
    matched, of = len(had & has), len(had)
    if matched < max(_LEAST_COUNT, _LEAST_SHARE * of):
        raise _too_badly(slide, matched, of)
    extra = _unmatched(seen, laid)
    sentences = []
    if others:
        sentences.append(f"The array fits equally well {_told(fit, others[0])}: check {laid.cores[0].name}.")
    if matched < _USUAL_SHARE * of:
        sentences.append(f"Only {matched} of {of} cores were found again: is {slide.name} a section of the same block?")
    if extra:
        names = ", ".join(c.name for c in extra) if len(extra) < 5 else f"{extra[0].name} to {extra[-1].name}"
        sentences.append(f"Not in the grid, but on {slide.name}, and kept off the grid: {names}.")
    scale, whole = fit.scale * seen.downsample, CoreGrid((*laid, *extra))
    return Reuse(whole, matched, of, fit.rotation, fit.flipped, scale, bool(others), " ".join(sentences))


def _too_badly(slide: Slide, matched: int, of: int) -> CoresError:
    return CoresError(
        f"The grid fits {slide.name} too badly: {matched} of its {of} cores with tissue are found there. "
        "Is it a section of the same block? If so, find its cores, or draw the grid by hand."
    )


def _fits(discs: Points, strength: Points, radius: float, old: Points, grid: CoreGrid) -> list[_Fit]:
    """Ways to lay the grid onto the discs, the likeliest first."""
    size = float(np.median([c.diameter for c in grid])) / 2
    here, there = _frame_of(grid, old, size), _frame(discs, strength, radius)
    seen = np.array([c.state is not CoreState.MISSING for c in grid])
    tried: list[tuple[float, Points, bool]] = []
    for turn in _TURNS:
        linear = there @ turn @ np.linalg.inv(here)
        wide, narrow = np.linalg.svd(linear, compute_uv=False)
        if wide > _STRETCH * narrow or not 1 / _GROWN < np.sqrt(wide * narrow) * size / radius < _GROWN:
            continue
        for shift in _shifts(old[seen] @ linear.T, discs, strength, spacing(discs, 3 * radius)):
            places = Affine(linear, shift)(old)
            pitch = spacing(places, 2.5 * radius)
            places = settle(places, discs, strength, pitch)
            tried.append((worth(places[seen], discs, strength, pitch[seen]), places, bool(np.linalg.det(linear) < 0)))
    tried.sort(key=lambda t: -t[0])
    fits: list[_Fit] = []
    starts: list[Points] = []
    for _, places, flipped in tried:
        if len(starts) == _CLOSELY or any(np.hypot(*(places - p).T).mean() < 0.5 * radius for p in starts):
            continue
        starts.append(places)
        fit = _laid_out(places, flipped, old, discs, strength, radius, grid)
        if not any(_same(fit, other) for other in fits):
            fits.append(fit)
    return sorted(fits, key=lambda f: -f.odds)


#: Quarter turns and mirror images of a lattice.
_TURNS = [np.array(m, float) for a in (1, -1) for b in (1, -1) for m in ([[a, 0], [0, b]], [[0, a], [b, 0]])]


def _same(one: _Fit, other: _Fit) -> bool:
    """Whether two ways give nearly all discs the same names."""
    found = (one.disc >= 0) | (other.disc >= 0)
    return bool(np.mean((one.disc == other.disc)[found]) > 0.9) if found.any() else True


def _frame_of(grid: CoreGrid, old: Points, radius: float) -> Points:
    """Usual step from column to column and from row to row of a grid, (y, x) as columns of a matrix."""
    return _steps({(c.block, c.row, c.column): p for c, p in zip(grid, old, strict=True) if c.row >= 0}, radius)


def _frame(discs: Points, strength: Points, radius: float) -> Points:
    """The same of discs whose rows and columns nobody knows yet, but for quarter turns and mirroring."""
    # the middle of a large array is enough, and quicker
    middle = np.argsort(np.hypot(*(discs - np.median(discs, axis=0)).T))[:_ENOUGH]
    discs = discs[middle]
    lattice = fit_lattice(discs, strength[middle], radius)
    if lattice is None:
        return _steps({}, radius)
    cells = zip(lattice.row.tolist(), lattice.column.tolist(), discs, strict=True)
    return _steps({("", row, column): p for row, column, p in cells if row >= 0}, radius)


def _steps(at: dict[tuple[str, int, int], Points], radius: float) -> Points:
    """Usual step between neighbours; one that is not known is a quarter turn of the other."""
    along = [at[b, r, c + 1] - p for (b, r, c), p in at.items() if (b, r, c + 1) in at]
    down = [at[b, r + 1, c] - p for (b, r, c), p in at.items() if (b, r + 1, c) in at]
    v = np.median(down, axis=0) if down else None
    u = np.median(along, axis=0) if along else np.array([0.0, 2.5 * radius]) if v is None else np.array([-v[1], v[0]])
    return np.stack([u, np.array([u[1], -u[0]]) if v is None else v], axis=1)


def _shifts(places: Points, discs: Points, strength: Points, pitch: Points) -> list[Points]:
    """Shifts that bring most places near a disc, the best first."""
    step = float(np.median(pitch))
    shift = (discs[None] - places[:, None]).reshape(-1, 2)
    weight = np.tile(strength, len(places))
    cell = np.floor((shift - shift.min(axis=0)) / (_CELL * step)).astype(int)
    height, width = cell.max(axis=0) + 1
    votes = np.bincount(cell[:, 0] * width + cell[:, 1], weight, height * width).reshape(height, width)
    votes = ndimage.gaussian_filter(votes, _LOOSE / _CELL, mode="constant")
    found, apart = [], round(0.4 / _CELL)
    for _ in range(_PLACES):
        top = np.array(np.unravel_index(int(np.argmax(votes)), votes.shape))
        near = np.abs(cell - top).max(axis=1) <= 2 * _LOOSE / _CELL
        if not near.any():
            break
        found.append(np.average(shift[near], axis=0, weights=weight[near]))
        low, high = np.maximum(top - apart, 0), top + apart + 1
        votes[low[0] : high[0], low[1] : high[1]] = 0
    return found


def _laid_out(
    places: Points, flipped: bool, old: Points, discs: Points, strength: Points, radius: float, grid: CoreGrid
) -> _Fit:
    """Bring a way to lay the grid to its end, and say how likely it is."""
    places = bend(places, discs, strength, spacing(places, 2.5 * radius))
    pitch = spacing(places, 2.5 * radius)
    own, to = assign(places, discs, strength, pitch)
    disc, away = np.full(len(places), -1), np.full(len(places), np.nan)
    disc[own], away[own] = to, np.hypot(*(discs[to] - places[own]).T) / pitch[own]
    odds = _NEW * (len(discs) - len(to))
    for core, there in zip(grid, disc >= 0, strict=True):
        if core.state is not CoreState.EXCLUDED:
            odds += (_KEPT if core.state is CoreState.TISSUE else _BACK)[0 if there else 1]
    # turn and scale in one complex number; x runs to the right and y down, so that positive is clockwise
    before, after = ((p - p.mean(axis=0)) @ [1j, 1] for p in (old * [1, -1 if flipped else 1], places))
    turn = complex(np.vdot(before, after)) / max(float(np.vdot(before, before).real), 1e-9)
    return _Fit(places, disc, away, float(odds), float(np.degrees(np.angle(turn))), flipped, abs(turn))


def _choose(fits: list[_Fit]) -> tuple[_Fit, list[_Fit]]:
    """The likeliest way, and the others that are as likely; of these the plainest is taken."""
    best = fits[0]
    for fit in fits[1:]:
        if _evidence(fit, best) > 0:
            best = fit
    equal = sorted([f for f in fits if f is best or _evidence(best, f) < _SURE], key=lambda f: f.plainness)
    return equal[0], equal[1:]


def _evidence(one: _Fit, other: _Fit) -> float:
    """Log odds of one way to lay the grid against another.

    Cores are never punched in perfect rows: where both ways find a core, the right one has it nearer to its place. Of
    that only what goes beyond chance counts.
    """
    both = np.isfinite(one.away) & np.isfinite(other.away)
    nearer = 0.5 * np.log((_EXACT**2 + other.away[both] ** 2) / (_EXACT**2 + one.away[both] ** 2))
    total, chance = float(nearer.sum()), 3 * float(np.sqrt(np.sum(nearer**2)))
    return one.odds - other.odds + float(np.sign(total)) * max(0.0, abs(total) - chance)


def _told(fit: _Fit, other: _Fit) -> str:
    """How the other way differs, in words."""
    turned = round(other.rotation - fit.rotation)
    if fit.flipped != other.flipped:
        turned = round(other.rotation + fit.rotation if fit.flipped else other.rotation - fit.rotation)
    turned = (turned + 180) % 360 - 180
    quarter = abs(round(turned / 90) * 90)
    if fit.flipped != other.flipped:
        return "mirrored" if quarter == 0 else f"mirrored and turned by {quarter}°"
    return f"turned by {quarter}°" if quarter else "shifted by a row or column"


def _unmatched(seen: Seen, laid: CoreGrid) -> list[Core]:
    """Clear cores of the slide that are none of the grid."""
    taken = np.array([(c.y, c.x) for c in laid if c.state is not CoreState.MISSING]).reshape(-1, 2)
    apart = cKDTree(taken / seen.downsample - 0.5) if len(taken) else None
    found: list[Core] = []
    free = (name for name in (f"X-{n}" for n in range(1, 10_000)) if name not in laid)
    for spot in seen.spots:
        near = apart is not None and apart.query(spot.place)[0] < 1.2 * spot.radius
        if spot.response > _LEAST_OFF and spot.grain > 0.6 and not near:
            y, x = ((n + 0.5) * seen.downsample for n in spot.place)
            found.append(
                Core(next(free), -1, -1, y, x, 2 * spot.radius * seen.downsample, reason="not in the reused grid")
            )
    return found
