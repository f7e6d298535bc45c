"""Stains: the glass, the haematoxylin and the DAB of one slide, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_her2.errors import StainError

__all__ = [
    "MODEL_REFERENCE",
    "QUPATH_DAB",
    "QUPATH_HEMATOXYLIN",
    "QUPATH_STAINS",
    "Stains",
    "angle",
    "on_white",
    "unit",
]

Vector = tuple[float, float, float]
Role = Literal["white", "hematoxylin", "dab"]

#: QuPath's default vectors for H-DAB (Ruifrok & Johnston 2001), as its stain editor shows them.
QUPATH_HEMATOXYLIN: Vector = (0.651, 0.701, 0.290)
QUPATH_DAB: Vector = (0.269, 0.568, 0.778)

#: Degrees between the vectors under which they cannot be told apart: noise would be multiplied by more than 3.
_CLOSEST = 18.0
_ROLES = ("white", "hematoxylin", "dab")


@dataclass(frozen=True)
class Stains:
    """The colours of one slide.

    Attributes
    ----------
    white : tuple of 3 float
        R, G, B of the empty glass, 150..255.
    hematoxylin, dab : tuple of 3 float
        Unit vectors of optical density (R, G, B), on QuPath's scale (OD = -log10 of the transmitted share): stain 1
        and stain 2 of its stain editor.
    hematoxylin_sure, dab_sure : float
        0: the default, for want of pixels; 1: measured on plenty of this slide, or drawn by the user.
    warnings : tuple of str
        What the user should know, one sentence each.
    source : str
        "estimated", "default", or "region" once the user has drawn one.
    """

    white: Vector = (255.0, 255.0, 255.0)
    hematoxylin: Vector = QUPATH_HEMATOXYLIN
    dab: Vector = QUPATH_DAB
    hematoxylin_sure: float = 0.0
    dab_sure: float = 0.0
    warnings: tuple[str, ...] = ()
    source: str = "default"

    def __post_init__(self) -> None:
        for role in _ROLES:
            vector = getattr(self, role)
            if len(vector) != 3 or not all(math.isfinite(v) for v in vector):
                raise StainError(f"The {role} colour {vector} is not three numbers.")
        if min(self.white) <= 1 or max(self.white) > 255:
            raise StainError(f"The glass colour {self.white} cannot be right: it lies between 1 and 255.")
        if angle(self.hematoxylin, self.dab) < _CLOSEST:
            raise StainError(
                f"Blue and brown are {angle(self.hematoxylin, self.dab):.0f} degrees apart and cannot be told apart "
                f"({_CLOSEST:g} are needed): draw the region again where there is one stain only."
            )

    @property
    def unmixing(self) -> npt.NDArray[np.float64]:
        """Matrix of shape (2, 3): times the OD of a pixel it gives haematoxylin and DAB (least squares)."""
        return np.asarray(np.linalg.pinv(np.array([self.hematoxylin, self.dab]).T))

    @property
    def mixing(self) -> npt.NDArray[np.float64]:
        """Matrix of shape (3, 3): columns are haematoxylin, DAB and the residual, as QuPath completes two stains."""
        h, d = np.array(self.hematoxylin), np.array(self.dab)
        return np.stack([h, d, unit(np.cross(h, d))], axis=1)

    @property
    def compared(self) -> str:
        """The vectors beside QuPath's defaults, in one line."""
        return (
            f"haematoxylin {_text(self.hematoxylin)}, {angle(self.hematoxylin, QUPATH_HEMATOXYLIN):.1f}° from "
            f"QuPath's default; DAB {_text(self.dab)}, {angle(self.dab, QUPATH_DAB):.1f}°; glass "
            f"{', '.join(f'{w:.0f}' for w in self.white)}"
        )

    def swatch(self, role: Role, density: float = 0.5) -> tuple[int, int, int]:
        """Colour (R, G, B) that this much of a stain has on this slide's glass."""
        vector = np.zeros(3) if role == "white" else np.array(getattr(self, role))
        r, g, b = np.clip(np.rint(np.array(self.white) * 10 ** (-density * vector)), 0, 255).astype(int)
        return int(r), int(g), int(b)

    def with_region(self, pixels: npt.NDArray[np.uint8], role: Role) -> Stains:
        """The same with one colour taken from a region that the user drew.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (..., 3)
            The pixels of the region.
        role : {"white", "hematoxylin", "dab"}
            What the region shows, and nothing else: glass, pure blue, pure brown.

        Raises
        ------
        StainError
            If the region is too small, too pale for a stain, or would make blue and brown the same.
        """
        from napari_her2.stain.density import optical_density

        if role not in _ROLES:
            raise StainError(f'A region can be {", ".join(_ROLES)}, not "{role}".')
        flat = pixels.reshape(-1, pixels.shape[-1])[:, :3]
        if len(flat) < 9:
            raise StainError(f"The region for {role} holds {len(flat)} pixels: at least 9 are needed.")
        if role == "white":
            w = np.median(flat, axis=0)
            return replace(self, white=(float(w[0]), float(w[1]), float(w[2])), source="region")
        density = np.median(optical_density(flat, self.white), axis=0)
        if np.linalg.norm(density) < 0.05:
            raise StainError(f"The region for {role} is as pale as glass: draw it where the stain is strong.")
        vector = as_vector(unit(np.maximum(density, 0)))
        kept = tuple(w for w in self.warnings if not w.startswith(_WARNS_OF[role]))
        if role == "dab":
            return replace(self, dab=vector, dab_sure=1.0, warnings=kept, source="region")
        return replace(self, hematoxylin=vector, hematoxylin_sure=1.0, warnings=kept, source="region")

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, to store with the results."""
        return {
            "white": [round(v, 2) for v in self.white],
            "hematoxylin": [round(v, 5) for v in self.hematoxylin],
            "dab": [round(v, 5) for v in self.dab],
            "hematoxylin_sure": round(self.hematoxylin_sure, 3),
            "dab_sure": round(self.dab_sure, 3),
            "warnings": list(self.warnings),
            "source": self.source,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Stains:
        """What `to_dict` gave.

        Raises
        ------
        StainError
            If a colour is missing or is none.
        """
        try:
            white, h, d = (as_vector(np.asarray(data[role], float)) for role in _ROLES)
            sure = float(data.get("hematoxylin_sure", 1)), float(data.get("dab_sure", 1))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise StainError(f"These are no stored stains: white, hematoxylin and dab are needed ({error}).") from error
        warnings = tuple(str(w) for w in data.get("warnings", ()))
        return cls(white, h, d, *sure, warnings, str(data.get("source", "estimated")))


#: How the warnings of a vector begin, so that a region drawn for it takes them away.
_WARNS_OF = {"hematoxylin": "Haematoxylin", "dab": "DAB", "white": "Glass"}


def on_white(stains: Stains) -> Stains:
    """The same on glass of 255, as of pictures whose glass was divided out."""
    return replace(stains, white=(255.0, 255.0, 255.0))


def unit(vector: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The vector at length 1."""
    v = np.asarray(vector, float)
    return np.asarray(v / max(float(np.linalg.norm(v)), 1e-12))


def as_vector(values: npt.NDArray[np.float64]) -> Vector:
    """Three numbers as a tuple."""
    return float(values[0]), float(values[1]), float(values[2])


def angle(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Angle between two vectors in degrees."""
    return math.degrees(math.acos(min(1.0, max(-1.0, float(unit(a) @ unit(b))))))


def _text(vector: Vector) -> str:
    return " ".join(f"{v:.3f}" for v in vector)


QUPATH_STAINS = Stains()
#: Colours that models know best, on white glass: those of the scanner that generated tissue was likened to.
MODEL_REFERENCE = Stains(hematoxylin=(0.694, 0.607, 0.387), dab=(0.310, 0.567, 0.763), source="reference")
