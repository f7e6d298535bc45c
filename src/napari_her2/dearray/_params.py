"""What the user may know of the cores, and what is wrong with it by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

from napari_her2.dearray._blocks import Told
from napari_her2.errors import CoresError, PixelSizeError
from napari_her2.slide import Slide

__all__ = ["DearrayParams"]

#: Rows are those lines of cores that lie within so many degrees of level.
_LEVEL = 45.0
#: More rows, columns or blocks than this are a slip of the key.
_MOST = 200
#: Cores cannot stand closer than this share of their diameter.
_CLOSEST = 0.85


@dataclass(frozen=True)
class DearrayParams:
    """What the user knows of the cores; everything left out is found.

    Attributes
    ----------
    core_diameter_um, core_diameter_px : float or None
        Diameter of the cores in µm (the slide must know its pixel size) or in level-0 pixels.
    rows, columns : int or None
        Size of the grid. More than are found: the empty ones are put where there is room for them between the others.
        Fewer: cores that stand alone at the border are taken off the grid.
    pitch_um, pitch_px : float or None
        Distance of the centres of neighbouring cores in µm or in level-0 pixels.
    rotation_degrees : float or None
        How far the rows are turned, -45 to 45; positive where they run down to the right.
    blocks : int or None
        How many fields of cores (sectors, blocks) with wider gaps between them. Gaps do not count as rows or columns;
        where the user says that there is one block, they do.

    Raises
    ------
    CoresError
        If a value cannot be true on any slide.
    """

    core_diameter_um: float | None = None
    core_diameter_px: float | None = None
    rows: int | None = None
    columns: int | None = None
    pitch_um: float | None = None
    pitch_px: float | None = None
    rotation_degrees: float | None = None
    blocks: int | None = None

    def __post_init__(self) -> None:
        lengths = ("core_diameter_um", "core_diameter_px", "pitch_um", "pitch_px")
        for name in lengths:
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                what = "core diameter" if name.startswith("core") else "pitch of the cores"
                raise CoresError(f"The {what} must be more than 0: correct it, or leave it out.")
        for name in ("rows", "columns", "blocks"):
            value = getattr(self, name)
            if value is not None and value not in range(1, _MOST + 1):
                raise CoresError(
                    f"The number of {name} must be a whole number from 1 to {_MOST}: correct it, or leave it out."
                )
        turn = self.rotation_degrees
        if turn is not None and not -_LEVEL <= turn <= _LEVEL:
            raise CoresError(
                f"The rotation must lie between -{_LEVEL:g} and {_LEVEL:g} degrees: correct it, or leave it out."
            )
        for pitch, diameter in (
            (self.pitch_um, self.core_diameter_um),
            (self.pitch_px, self.core_diameter_px),
        ):
            if pitch is not None and diameter is not None and pitch < _CLOSEST * diameter:
                raise CoresError(
                    f"Cores {diameter:g} across cannot stand {pitch:g} apart: correct the diameter or the pitch."
                )

    def diameter(self, slide: Slide) -> float | None:
        """Diameter in level-0 pixels of a slide, if one is given.

        Raises
        ------
        PixelSizeError
            If it is given in µm and the slide does not know its pixel size.
        """
        return _pixels(slide, "core diameter", self.core_diameter_um, self.core_diameter_px)

    def told(self, slide: Slide, downsample: float) -> Told:
        """What is given of the grid, in pixels of an overview.

        Raises
        ------
        PixelSizeError
            If the pitch is given in µm and the slide does not know its pixel size.
        """
        pitch = _pixels(slide, "pitch", self.pitch_um, self.pitch_px)
        return Told(
            self.rows,
            self.columns,
            self.blocks,
            None if pitch is None else pitch / downsample,
            self.rotation_degrees,
        )


def _pixels(slide: Slide, what: str, um: float | None, px: float | None) -> float | None:
    """A length in level-0 pixels; that in µm stands above that in pixels."""
    if um is None:
        return px
    if slide.mpp is None:
        raise PixelSizeError(
            f"{slide.name} does not say its pixel size, so a {what} of {um:g} µm cannot be used: "
            f"give the pixel size, or leave the {what} out, as it is found without."
        )
    return um / slide.mpp
