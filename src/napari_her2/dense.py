"""dense_places: every bit of a core's tissue judged at full resolution, to see where it is what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from napari_her2.cores import Core
from napari_her2.engine import Engine
from napari_her2.errors import ModelError
from napari_her2.models import ScoringModel
from napari_her2.pooling import Pooling
from napari_her2.pyramid import tiles
from napari_her2.scores import Places
from napari_her2.scoring import judge_places
from napari_her2.slide import Slide
from napari_her2.stain import Stains, normaliser, on_white, white_point

__all__ = ["dense_pieces", "dense_places"]

#: Pixels from one place of a patch to the next.
_STRIDE = 16


def dense_pieces(
    slide: Slide,
    core: Core,
    model: ScoringModel,
    engine: Engine,
    *,
    white: npt.ArrayLike | None = None,
    normalise: Stains | None = None,
) -> Iterator[tuple[Places, float]]:
    """Judge every bit of a core's tissue at full resolution, piece by piece; no place comes twice.

    Parameters
    ----------
    slide : Slide
        With a known pixel size.
    core : Core
    model : ScoringModel
        One that knows places.
    engine : Engine
        From `engine.open_engine`.
    white : array-like, shape (3,), optional
        Glass of the slide, from `stain.white_point`; found when not given.
    normalise : Stains, optional
        As in `score_cores`.

    Yields
    ------
    places : Places
        Of the next few patches; before all are joined their weights are for nothing, and haze is not taken off.
    done : float
        Share of the core that has come, 0..1.

    Raises
    ------
    ModelError
        If the model judges cores as a whole only, or was calibrated with the other setting of `normalise`.
    PixelSizeError, SlideError
        See `pyramid.sample`.
    """
    if model.stacked or not model.calibration.level_weights[0]:
        why = f"{model.name} judges a core as a whole and knows no places at full resolution"
        raise ModelError(f"{why}: choose another model.")
    if why := model.why_not_scored(normalise is not None):
        raise ModelError(why)
    turned = None if normalise is None else normaliser(on_white(normalise), model.reference_stains)
    glass = white_point(slide.overview()[0]) if white is None else white
    margin = model.spec.patch // 256  # places along a patch's border that are taken from its neighbour
    # haze is that of the whole core, which no piece knows
    plain = replace(model.calibration, haze=0.0)
    for patches, done in tiles(slide, core, model.spec, white=glass, margin=_STRIDE * margin):
        if turned is not None:
            for patch in patches.pixels:
                patch[...] = turned(patch)
        yield judge_places(patches, engine.run(patches.pixels)[0], plain, margin=margin)[0], done


def dense_places(
    slide: Slide,
    core: Core,
    model: ScoringModel,
    engine: Engine,
    *,
    white: npt.ArrayLike | None = None,
    normalise: Stains | None = None,
) -> Places:
    """All the pieces of `dense_pieces` as one, with weights as if no other magnification had a say.

    It shows where the tissue is what; the score of a core stays that of `score_cores`.
    """
    pieces = [places for places, _ in dense_pieces(slide, core, model, engine, white=white, normalise=normalise)]
    y, x, size, grade, tumour = (
        np.concatenate([np.empty(0, np.float32), *(getattr(p, name) for p in pieces)])
        for name in ("y", "x", "size", "grade", "tumour")
    )
    level = np.zeros(len(grade), np.intp)
    pooling = Pooling(grade, tumour, level, model.calibration)
    return Places(y, x, size, pooling.grade, tumour, pooling.weight)
