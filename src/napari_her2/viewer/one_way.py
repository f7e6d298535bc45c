"""One table holds one way of scoring: the same model, pixel size, cut points and colours."""

from __future__ import annotations

from typing import Any, Protocol

from napari.components import ViewerModel
from napari.layers import Image, Shapes

from napari_her2.models import ScoringModel
from napari_her2.scores import CoreScore
from napari_her2.slide import Slide
from napari_her2.stain import Stains
from napari_her2.viewer import ask
from napari_her2.viewer.cores_watch import forget
from napari_her2.viewer.recut import recut_layer
from napari_her2.viewer.slide_layer import KEY
from napari_her2.viewer.stain_layers import stains_of_layer

__all__ = ["cuts_only", "keep", "last_way", "stains_of", "was_normalised", "way", "why_no_colours"]

#: Two ways that differ in nothing else are brought together without the network: see `recut`.
_CUTS = ("cuts", "batch")


class _Session(Protocol):
    """What is asked of a session here: what it looks at, and how that is scored."""

    viewer: ViewerModel
    image: Image | None
    slide: Slide | None
    model: ScoringModel | None
    normalise: bool

    @property
    def cores_layer(self) -> Shapes | None:
        """See `Session`."""

    def scores(self) -> dict[str, CoreScore]:
        """See `Session`."""


def way(session: _Session) -> dict[str, Any]:
    """What two scores must have in common to stand in one table."""
    model, slide = session.model, session.slide
    if model is None or slide is None:
        return {}
    stains = stains_of(session)
    return {
        "model": model.name,
        "model_sha256": model.sha256,
        "pixel_size_um": slide.mpp,
        "cuts": list(model.calibration.cuts),
        "batch": str(model.recalibration.get("batch", "")),
        # by which stains: those of the slide may be corrected, or not be known yet
        "normalised": None if not session.normalise else {} if stains is None else stains.to_dict(),
    }


def stains_of(session: _Session) -> Stains | None:
    """The stains of the slide, from which its colours are normalised; None when they are not to be, or not known."""
    return stains_of_layer(session.image) if session.normalise and session.image is not None else None


def was_normalised(session: _Session) -> bool:
    """Whether the scores that are there were made in normalised colours; without any, how it is set."""
    last = last_way(session)
    return session.normalise if last is None else last["normalised"] is not None


def why_no_colours(session: _Session) -> str:
    """Why the model cannot be shown the slide in the colours that are asked for; "" when it can."""
    if session.normalise and stains_of(session) is None:
        return "The stains of this slide are not known, and colours are to be normalised: see the box Stains."
    return "" if session.model is None else session.model.why_not_scored(session.normalise)


def last_way(session: _Session) -> dict[str, Any] | None:
    """How the scores that are there were made; None when nobody knows."""
    return None if session.cores_layer is None else session.cores_layer.metadata.get(KEY, {}).get("scored_with")


def cuts_only(session: _Session) -> bool:
    """Whether the scores that are there differ from the way of scoring now by their cut points alone."""
    last, now = last_way(session), way(session)
    return last is not None and {k: v for k, v in last.items() if k not in _CUTS} == {
        k: v for k, v in now.items() if k not in _CUTS
    }


def keep(session: _Session, wanted: set[str]) -> bool:
    """Make what is there one with what the `wanted` cores will be given; asks before scores of others go."""
    layer, slide, model = session.cores_layer, session.slide, session.model
    if layer is None or slide is None or model is None:
        return False
    others = [s for name, s in session.scores().items() if name not in wanted]
    last = last_way(session)
    if others and last is not None and last != way(session):
        if cuts_only(session):
            recut_layer(layer, slide, model)
        else:
            question = (
                f"{len(others)} other cores were scored with {last['model']} at {last['pixel_size_um']:g} µm per pixel"
                f"{_other_colours(last, way(session))}."
                " One table holds one way of scoring: their scores will be removed."
            )
            if not ask.confirm(question, "Remove and score"):
                return False
            forget(session.viewer.layers, layer, others)
    known = layer.metadata.setdefault(KEY, {})
    known["scored_with"], known["model"] = way(session), model
    return True


def _other_colours(last: dict[str, Any], now: dict[str, Any]) -> str:
    """How the model saw the slide then, where it does not now."""
    then, to_come = last["normalised"], now["normalised"]
    if then == to_come:
        return ""
    return (
        " in its own colours" if then is None else " in normalised colours" if to_come is None else " by other stains"
    )
