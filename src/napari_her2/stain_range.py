"""Is a slide stained within the range that a model was calibrated for? Told from the slide's own stains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_her2.slide import Slide
from napari_her2.stain import Stains, estimate_stains, optical_density, white_point
from napari_her2.stain.estimate import sample_tissue

__all__ = ["Staining", "fit_range", "nuclear_warning", "range_flag", "slide_staining"]

#: Share of the training laboratories that lies inside the range.
_INSIDE = 0.98
#: OD summed over both stains from which a pixel is coloured.
_COLOURED = 0.06


@dataclass(frozen=True)
class Staining:
    """How strongly a slide is stained.

    Attributes
    ----------
    blue : float
        Haematoxylin OD of a typical nucleus; NaN where none could be seen.
    brown : float
        DAB OD that 2 % of the tissue exceed.
    """

    blue: float
    brown: float


def slide_staining(slide: Slide, stains: Stains | None = None) -> Staining:
    """Look at about 28 squares of the slide's tissue at 0.5 µm/px.

    Parameters
    ----------
    slide : Slide
    stains : Stains, optional
        From `estimate_stains` or drawn by the user; estimated on the same squares when not given.

    Raises
    ------
    SlideError
        If the slide cannot be read.
    """
    glass = white_point(slide.overview(1536)[0]) if stains is None else np.asarray(stains.white)
    squares = sample_tissue(slide, glass)
    if not squares:
        return Staining(float("nan"), float("nan"))
    stains = stains or estimate_stains(squares, white=glass)
    amounts = np.concatenate([_amounts(square, stains, glass) for square in squares])
    amounts = amounts[amounts.sum(axis=1) > _COLOURED]
    if len(amounts) < 1000:
        return Staining(float("nan"), float("nan"))
    h, d = amounts[:, 0], amounts[:, 1]
    nuclear = (h > np.percentile(h, 85)) & (d < 0.6 * h)
    blue = float(np.median(h[nuclear])) if nuclear.sum() > 200 else float("nan")
    return Staining(blue, float(np.percentile(d, 98)))


def _amounts(square: npt.NDArray[np.uint8], stains: Stains, glass: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Haematoxylin and DAB of every pixel of a square, shape (n, 2)."""
    density = ndimage.uniform_filter(optical_density(square, glass), (3, 3, 1)).reshape(-1, 3)
    return np.asarray(density @ stains.unmixing.T, np.float32)


def fit_range(cores: Sequence[Staining]) -> dict[str, list[float]]:
    """The range of a training set, to keep in `ScoringModel.stain_range`.

    Parameters
    ----------
    cores : sequence of Staining
        Of cores from many laboratories, of all scores; those that are NaN are passed over.
    """
    tail = 100 * (1 - _INSIDE) / 2
    found = {}
    for name in ("blue", "brown"):
        values = np.array([getattr(core, name) for core in cores])
        low, high = np.nanpercentile(values, [tail, 100 - tail])
        found[name] = [round(float(low), 4), round(float(high), 4)]
    return found


def range_flag(staining: Staining, stain_range: Mapping[str, Any]) -> str:
    """A sentence where the slide lies outside the range of the model, else ""; "" also for a model without a range.

    Little brown is no sign of weak staining: a slide may hold no positive core. So brown has no lower end.
    """
    for name, value, shown in (("blue", staining.blue, "Haematoxylin"), ("brown", staining.brown, "Brown")):
        low, high = stain_range.get(name, (0.0, np.inf))
        if value > high or (name == "blue" and value < low):
            than = "stronger" if value > high else "weaker"
            bound = f"at most {high:.2f}" if value > high else f"at least {low:.2f}"
            return (
                f"{shown} is {than} on this slide than in any laboratory the model was calibrated for (OD {value:.2f}, "
                f"{bound}): calibrate on control cores of the batch."
            )
    return ""


def nuclear_warning(nuclear: Sequence[float], bounds: tuple[float, float]) -> str:
    """A sentence where the nuclei of a slide are stained otherwise than where thresholds were tried; "" where not.

    Parameters
    ----------
    nuclear : sequence of float
        `Measurement.nuclear_od` of its cores; NaN is passed over.
    bounds : (float, float)
        `MeasureParams.nuclear_od`, the range in which the thresholds of measuring were tried; cores of ordinary real
        slides have 0.07 to 0.14.
    """
    values = np.array([v for v in nuclear if np.isfinite(v)])
    low, high = bounds
    if not len(values) or low <= np.median(values) <= high:
        return ""
    middle = float(np.median(values))
    than, cores = ("stronger" if middle > high else "weaker"), f"{len(values)} core{'s' * (len(values) != 1)}"
    return (
        f"Nuclear haematoxylin is {than} on this slide than where the thresholds were tried (OD {middle:.2f}, median "
        f"of {cores}; {low:g} to {high:g}): calibrate them on control cores."
    )
