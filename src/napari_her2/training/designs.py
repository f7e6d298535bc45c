"""What `train` can make: the pyramid of places, one magnification of it, or the published stack of patches."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from napari_her2.errors import ModelError

if TYPE_CHECKING:  # the command line reads this module for its help
    from napari_her2.models import ScoringModel

__all__ = ["Design", "alone", "one_magnification"]


class Design(StrEnum):
    """The names of the command line."""

    PLACES = "places"
    FULL_RESOLUTION = "full-resolution"
    WHOLE_CORE = "whole-core"
    DENSENET201 = "densenet201"


#: Downsampling of the magnification that a design looks at alone; see `pyramid.LevelSpec`.
_DOWNSAMPLE = {Design.FULL_RESOLUTION: 1.0, Design.WHOLE_CORE: 0.0}
_WORDS = {Design.FULL_RESOLUTION: "full resolution alone", Design.WHOLE_CORE: "the whole core in one patch alone"}


def one_magnification(model: ScoringModel, design: Design) -> tuple[ScoringModel, str]:
    """The model as a design looks at cores, and in words what it looks at: "" where that is all that the model has.

    Parameters
    ----------
    model : ScoringModel
        Of places.
    design : Design
        Any but `Design.DENSENET201`.

    Raises
    ------
    ModelError
        If the model has no such magnification.
    """
    if design is Design.PLACES:
        return model, ""
    wanted = _DOWNSAMPLE[design]
    seen = zip(model.spec.levels, model.calibration.level_weights, strict=True)
    there = [k for k, (level, weight) in enumerate(seen) if level.downsample == wanted and level.count and weight]
    if not there:
        what = _WORDS[design].removesuffix(" alone")
        raise ModelError(f"{model.name} does not look at {what}: choose another model.")
    return alone(model, there[0]), _WORDS[design]


def alone(model: ScoringModel, index: int) -> ScoringModel:
    """The model with one magnification: of the others it draws no patch, and they have no say.

    Its cut points were fitted to all magnifications together and wait to be fitted anew. What is familiar is told by
    patches of the first magnification: a model without these cannot tell.
    """
    levels = tuple(one if k == index else replace(one, count=0) for k, one in enumerate(model.spec.levels))
    weights = tuple(float(k == index) for k in range(len(levels)))
    return replace(
        model,
        spec=replace(model.spec, levels=levels),
        calibration=replace(model.calibration, level_weights=weights),
        familiar=model.familiar if index == 0 else {},
    )
