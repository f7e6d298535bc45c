"""One table holds one way of scoring: the same model, pixel size, cut points and colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_her2.viewer import ask
from napari_her2.viewer.cores_watch import forget
from napari_her2.viewer.recut import recut_layer
from napari_her2.viewer.slide_layer import KEY

if TYPE_CHECKING:
    from napari_her2.viewer.session import Session

__all__ = ["keep", "last_way", "way"]

#: Two ways that differ in nothing else are brought together without the network: see `recut`.
_CUTS = ("cuts", "batch")


def way(session: Session) -> dict[str, Any]:
    """What two scores must have in common to stand in one table."""
    model, slide = session.model, session.slide
    if model is None or slide is None:
        return {}
    stains = session.stains_to_normalise
    return {
        "model": model.name,
        "model_sha256": model.sha256,
        "pixel_size_um": slide.mpp,
        "cuts": list(model.calibration.cuts),
        "batch": str(model.recalibration.get("batch", "")),
        # by which stains: those of the slide may be corrected, or not be known yet
        "normalised": None if not session.normalise else {} if stains is None else stains.to_dict(),
    }


def last_way(session: Session) -> dict[str, Any] | None:
    """How the scores that are there were made; None when nobody knows."""
    return None if session.cores_layer is None else session.cores_layer.metadata.get(KEY, {}).get("scored_with")


def cuts_only(session: Session) -> bool:
    """Whether the scores that are there differ from the way of scoring now by their cut points alone."""
    last, now = last_way(session), way(session)
    return last is not None and {k: v for k, v in last.items() if k not in _CUTS} == {
        k: v for k, v in now.items() if k not in _CUTS
    }


def keep(session: Session, wanted: set[str]) -> bool:
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
