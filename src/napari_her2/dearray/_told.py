"""What the user says of the grid, held against what the slide shows."""

from __future__ import annotations

import warnings

import numpy as np

from napari_her2.cores import CoreGrid
from napari_her2.dearray._blocks import UNTOLD, Told
from napari_her2.dearray._discs import Points
from napari_her2.dearray._lattice import Lattice, fit_lattice
from napari_her2.slide import Slide

__all__ = ["disagree", "length", "told_lattice", "warn_of_grid"]

#: A told pitch (as a ratio) and rotation (in degrees) that are so near to the slide's own need no word.
_SAME_PITCH, _SAME_TURN = 0.15, 4.0
#: A lattice with the told pitch or rotation is taken when it links at least this share of the neighbours.
_AS_GOOD = 0.97


def told_lattice(points: Points, strength: Points, radius: float, told: Told) -> Lattice | None:
    """The lattice of discs that agrees with what is told, or the slide's own where none does.

    Parameters are those of `fit_lattice`.
    """
    free = Told(told.rows, told.columns, told.blocks)
    own = fit_lattice(points, strength, radius, free)
    if own is None or (_pitch_agrees(own, told) and _turn_agrees(own, told)):
        return own
    other = fit_lattice(points, strength, radius, told)
    if other is None or other.links < _AS_GOOD * own.links or (other.row >= 0).sum() < (own.row >= 0).sum():
        return own
    return other if _pitch_agrees(other, told) and _turn_agrees(other, told) else own


def warn_of_grid(slide: Slide, grid: CoreGrid, lattice: Lattice | None, told: Told, downsample: float) -> None:
    """Warn of each told value that is not that of the grid which was found."""
    if told == UNTOLD:
        return
    from napari_her2.sectors import count_sectors

    size = {"rows": 0, "columns": 0}
    if len(grid):
        size = {"rows": max(c.row for c in grid) + 1, "columns": max(c.column for c in grid) + 1}
    for lines, found in size.items():
        said = getattr(told, lines)
        if said is not None and said != found:
            disagree(f"{said} {lines if said > 1 else lines[:-1]}", f"{slide.name} shows {found}")
    if lattice is not None and told.pitch is not None and not _pitch_agrees(lattice, told):
        steps = sorted(np.hypot(*step) * downsample for step in (lattice.across, lattice.down))
        apart = " to ".join(dict.fromkeys(length(slide, s) for s in steps))
        disagree(
            f"a pitch of {length(slide, told.pitch * downsample)}", f"the cores of {slide.name} stand {apart} apart"
        )
    if lattice is not None and told.degrees is not None and not _turn_agrees(lattice, told):
        disagree(
            f"a rotation of {told.degrees:.3g} degrees", f"the rows of {slide.name} are turned by {_turn(lattice):.1f}"
        )
    if told.blocks is not None and (found := count_sectors(grid)) != told.blocks:
        disagree(f"{told.blocks} block{'s' * (told.blocks > 1)}", f"the gaps of {slide.name} make {found}")


def disagree(said: str, seen: str) -> None:
    """Warn that something told is wrong, and that the slide's own is used."""
    warnings.warn(f"You said {said}; {seen}, and that was used.", UserWarning, stacklevel=4)


def length(slide: Slide, pixels: float) -> str:
    """A length on the slide in words: mm where the pixel size is known."""
    return f"{pixels * slide.mpp / 1000:.3g} mm" if slide.mpp else f"{pixels:.3g} pixels"


def _pitch_agrees(lattice: Lattice, told: Told) -> bool:
    if told.pitch is None:
        return True
    steps = (float(np.hypot(*step)) for step in (lattice.across, lattice.down))
    return any(abs(step / told.pitch - 1) < _SAME_PITCH for step in steps)


def _turn_agrees(lattice: Lattice, told: Told) -> bool:
    return told.degrees is None or abs(_turn(lattice) - told.degrees) < _SAME_TURN


def _turn(lattice: Lattice) -> float:
    """How far the rows are turned, in degrees; positive where they run down to the right."""
    return float(np.degrees(np.arctan2(*lattice.across)))
