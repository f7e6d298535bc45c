"""``training.json``, ``training.html`` and ``learning_curve.svg``: how a laboratory's model was made and how it does.

None of them names patients or folders.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_her2.agreement import Figure
from napari_her2.evaluate import Evaluation
from napari_her2.export.evaluation import evaluation_record, write_evaluation_report
from napari_her2.export.plots import confusion_svg, learning_curve_svg
from napari_her2.export.templates import render
from napari_her2.files import writing
from napari_her2.models import ScoringModel

if TYPE_CHECKING:
    from napari_her2.training.lab_compare import Comparison
    from napari_her2.training.lab_head import LearningPoint

__all__ = ["write_training"]

_SHOWN = {
    "accuracy": "Accuracy",
    "quadratic_kappa": "Quadratic weighted kappa",
    "sensitivity_2": "Sensitivity for 2+",
    "off_by_two": "Off by two or more",
    "ece": "Expected calibration error",
    "accuracy_at_coverage": "Accuracy of the surest",
}


def write_training(
    folder: Path,
    model: ScoringModel,
    measured: Comparison,
    history: Sequence[LearningPoint],
    told: Mapping[str, Any],
    images: Mapping[int, Path],
) -> None:
    """Write the pages and pictures of a training beside the model, replacing what is there.

    Parameters
    ----------
    folder : Path
    model : ScoringModel
        As it was saved.
    measured : Comparison
    history : sequence of LearningPoint
        Of the fit.
    told : mapping
        "manifest", "manifest_sha256", "split", "seed".
    images : mapping of int to Path
        Image of each row of the manifest, for the pictures of the worst disagreements.
    """
    how = f"{measured.folds} folds by patient" if measured.folds else "cores kept apart"
    provenance = dict(told) | {
        "device": how,
        "intervals": "percentile bootstrap over patients; exact (Clopper-Pearson) for shares of 0 and 1.",
    }
    curve = learning_curve_svg(history)
    record = evaluation_record(measured.new, model, provenance) | {
        "compared": {name: _compared(evaluation) for name, evaluation in measured.judges.items()},
        "gains_over_recalibrating": {name: _finite(figure) for name, figure in measured.gains.items()},
        "measured_on": how,
        "learning_curve": [_finite_dict(point._asdict()) for point in history],
        "card": model.card,
    }
    del record["device"]
    with writing(folder / "training.json", overwrite=True) as temporary:
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    with writing(folder / "learning_curve.svg", overwrite=True) as temporary:
        temporary.write_text(curve.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1), encoding="utf-8")
    with writing(folder / "evaluation.html", overwrite=True) as temporary:
        write_evaluation_report(temporary, measured.new, model, provenance, images)
    with writing(folder / "training.html", overwrite=True) as temporary:
        temporary.write_text(_page(model, measured, curve, told, how), encoding="utf-8")


def _page(model: ScoringModel, measured: Comparison, curve: str, told: Mapping[str, Any], how: str) -> str:
    rows = []
    for name, label in _SHOWN.items():
        label += f" {100 * measured.new.coverage:g} %" if name == "accuracy_at_coverage" else ""
        rows.append((label, [_cell(e.figures[name]) for e in measured.judges.values()]))
    return render(
        "training.html.jinja",
        model=model,
        measured=measured,
        how=how,
        told=told,
        curve=curve,
        rows=rows,
        tables=[(name, confusion_svg(evaluation.table)) for name, evaluation in measured.judges.items()],
        card=_lines(model.card),
        written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )


def _cell(figure: Figure) -> str:
    if not math.isfinite(figure.value):
        return "\N{EN DASH}"
    interval = f" ({figure.low:.3f} to {figure.high:.3f})" if math.isfinite(figure.low) else ""
    return f"{figure.value:.3f}{interval}"


def _lines(card: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """The card, what is nested as a line each."""
    out: list[tuple[str, str]] = []
    for key, value in card.items():
        label = f"{before}{key}"
        if isinstance(value, Mapping):
            out += _lines(value, f"{label}: ")
        else:
            out.append((label, ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)))
    return out


def _compared(evaluation: Evaluation) -> dict[str, Any]:
    figures = {name: _finite(figure) for name, figure in evaluation.figures.items()}
    return {"figures": figures, "table": evaluation.table.tolist()}


def _finite(figure: Figure) -> dict[str, Any]:
    return _finite_dict(figure._asdict())


def _finite_dict(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The same with None for numbers that JSON does not know."""
    return {key: value if math.isfinite(value) else None for key, value in numbers.items()}
