"""``evaluation.json`` and ``evaluation.html``: how well a model agrees with readers, to keep and to send.

Neither names patients or folders.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from napari_her2 import __version__
from napari_her2.agreement import Figure
from napari_her2.colours import SCORE_COLOURS
from napari_her2.errors import SlideError
from napari_her2.evaluate import EvaluatedCore, Evaluation, place_of
from napari_her2.export.pictures import data_url, thumbnail
from napari_her2.export.plots import confusion_svg, coverage_svg, reliability_svg
from napari_her2.export.run import model_record, versions
from napari_her2.export.templates import render
from napari_her2.models import ScoringModel
from napari_her2.scores import SCORES
from napari_her2.slide import Slide

__all__ = ["evaluation_record", "write_evaluation_json", "write_evaluation_report"]

#: The figures as the report calls them; those of each score have a table of their own.
_NAMES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "quadratic_kappa": "Quadratic weighted kappa",
    "linear_kappa": "Linear weighted kappa",
    "off_by_two": "Off by two or more",
    "agreement_01_23": "Agreement on 0, 1+ | 2+, 3+",
    "agreement_0_123": "Agreement on 0 | 1+, 2+, 3+",
    "ece": "Expected calibration error",
    "brier": "Brier score (0 to 2)",
    "accuracy_at_coverage": "Accuracy of the surest",
    "determinate_share": "Share called determinate",
    "determinate_accuracy": "Accuracy of the determinate",
}


def evaluation_record(evaluation: Evaluation, model: ScoringModel, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What ``evaluation.json`` holds; NaN becomes null, patients become numbers in order of appearance."""
    numbers: dict[str, int] = {}
    cores = [
        {
            "line": core.line,
            "image": core.image,
            "core": core.core,
            "patient": numbers.setdefault(core.patient, len(numbers) + 1),
            "truth": SCORES[core.truth],
            "score": core.score,
            "probabilities": list(core.probabilities),
            "value": core.value,
            "spread": core.spread,
            "indeterminate": core.indeterminate,
            "reason": core.reason,
        }
        for core in evaluation.cores
    ]
    record = {
        "purpose": "research use only, not for diagnosis",
        "software": {"napari-her2": __version__, **versions()},
        "model": model_record(model) | {"cuts": list(model.calibration.cuts)},
        "cores_scored": len(evaluation.scored),
        "cores_unscored": len(evaluation.unscored),
        "patients": evaluation.patients,
        "coverage": evaluation.coverage,
        "figures": {name: figure._asdict() for name, figure in evaluation.figures.items()},
        "table": evaluation.table.tolist(),
        "reliability": [b._asdict() for b in evaluation.bins],
        "coverage_curve": [p._asdict() for p in evaluation.curve],
        "cores": cores,
        **provenance,
    }
    cleaned: dict[str, Any] = _finite(record)
    return cleaned


def write_evaluation_json(
    path: Path, evaluation: Evaluation, model: ScoringModel, provenance: Mapping[str, Any]
) -> None:
    """Write `evaluation_record` as JSON."""
    record = evaluation_record(evaluation, model, provenance)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def write_evaluation_report(
    path: Path,
    evaluation: Evaluation,
    model: ScoringModel,
    provenance: Mapping[str, Any],
    images: Mapping[int, Path],
) -> None:
    """Write one page with pictures that needs nothing else.

    Parameters
    ----------
    path : Path
    evaluation : Evaluation
    model : ScoringModel
    provenance : mapping
        "manifest", "manifest_sha256", "split", "seed", "device", "intervals".
    images : mapping of int to Path
        Image of each row of the manifest, for the pictures of the worst disagreements.
    """
    text = render(
        "evaluation.html.jinja",
        model=model,
        record=model_record(model),
        provenance=provenance,
        evaluation=evaluation,
        software=versions() | {"napari-her2": __version__},
        written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        scores=SCORES,
        colours=SCORE_COLOURS,
        rows=[(_name(name, evaluation), *_cells(evaluation.figures[name])) for name in _shown(evaluation)],
        by_score=[
            (SCORES[k], *(_cells(evaluation.figures[f"{kind}_{k}"]) for kind in ("sensitivity", "ppv")))
            for k in range(len(SCORES))
        ],
        pictures=[
            confusion_svg(evaluation.table),
            reliability_svg(evaluation.bins),
            coverage_svg(evaluation.curve, evaluation.coverage),
        ],
        worst=_worst(evaluation, images),
        wrong=sum(1 for core in evaluation.scored if core.off),
    )
    path.write_text(text, encoding="utf-8")


def _shown(evaluation: Evaluation) -> list[str]:
    return [name for name in _NAMES if name in evaluation.figures]


def _name(name: str, evaluation: Evaluation) -> str:
    return _NAMES[name] + (f" {100 * evaluation.coverage:g} %" if name == "accuracy_at_coverage" else "")


def _cells(figure: Figure) -> tuple[str, str, str]:
    """Value, interval and n as text."""

    def text(number: float) -> str:
        return f"{number:.3f}".replace("-", "\N{MINUS SIGN}") if math.isfinite(number) else "\N{EN DASH}"

    interval = f"{text(figure.low)} to {text(figure.high)}" if math.isfinite(figure.low) else "none"
    return text(figure.value), interval, str(figure.n)


@dataclass(frozen=True)
class _Wrong:
    """One disagreement as the template shows it."""

    core: EvaluatedCore
    picture: str


def _worst(evaluation: Evaluation, images: Mapping[int, Path]) -> list[_Wrong]:
    """The worst disagreements in their order, each slide opened once for its pictures."""
    worst = evaluation.worst()
    pictures: dict[int, str] = {}
    for path in dict.fromkeys(images[core.line] for core in worst if core.line in images):
        try:
            slide = Slide.open(path)
            for core in (c for c in worst if images.get(c.line) == path):
                place = place_of(core)
                if place is not None:
                    pictures[core.line] = data_url(thumbnail(slide, place))
        except SlideError:
            continue  # the disagreement is listed without its picture
    return [_Wrong(core, pictures.get(core.line, "")) for core in worst]


def _finite(value: Any) -> Any:
    """The same with None for numbers that JSON does not know."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
