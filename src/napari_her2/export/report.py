"""``report.html``: one page with pictures that needs nothing else, to read, sort, print and send."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from napari_her2.colours import SCORE_COLOURS
from napari_her2.export.pictures import data_url
from napari_her2.export.report_rows import ReportRow, agreements, report_row
from napari_her2.export.run import Run, counts, opinion_counts, record
from napari_her2.export.templates import render
from napari_her2.scores import SCORES

__all__ = ["write_report"]

_OVERVIEW = 1600


def write_report(path: Path, run: Run) -> None:
    """Write the report of one slide.

    Pictures are JPEG within the page, and so is the little script that sorts its rows; nothing is loaded from
    elsewhere. It shows neither the label image of the slide nor any folder, nor patients. The cores on which the two
    opinions differ come first, the most different of them at the top.
    """
    picture, downsample = run.slide.overview(_OVERVIEW)
    rows = [report_row(run, number, downsample) for number in range(len(run.grid))]
    text = render(
        "report.html.jinja",
        name=run.slide.name,
        record=record(run),
        counts=counts(run),
        opinions=opinion_counts(run),
        agreements=agreements(run),
        scores=SCORES,
        colours=SCORE_COLOURS,
        written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        overview=data_url(picture),
        size=(picture.shape[1], picture.shape[0]),
        rows=rows,
        queue=sorted(rows, key=_first),
        card=_card(run.model.card if run.model is not None else {}),
    )
    path.write_text(text, encoding="utf-8")


def _first(row: ReportRow) -> tuple[float, int]:
    """What is read first: the most different opinions, then the order of the grid."""
    return -max(row.differ, 0.0), row.number


def _card(card: dict[str, Any]) -> list[tuple[str, str]]:
    """The model card as lines of text: what is nested is written out in one line."""

    def text(value: Any) -> str:
        if isinstance(value, dict):
            return "; ".join(f"{k}: {text(v)}" for k, v in value.items())
        if isinstance(value, (list, tuple)):
            return ", ".join(text(v) for v in value)
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    return [(str(key).replace("_", " "), text(value)) for key, value in card.items()]
