"""Rows of the report: one core each, with both opinions; and how well they agree over the slide."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from napari_her2.agreement import confusion, kappa, off_by
from napari_her2.colours import SCORE_COLOURS, core_colour
from napari_her2.cores import Core, CoreState
from napari_her2.errors import SlideError
from napari_her2.export.pictures import data_url, heat_over, thumbnail
from napari_her2.export.run import Run
from napari_her2.membrane.measurement import Measurement
from napari_her2.membrane.rules import RULES, low_remark
from napari_her2.scores import SCORES, CoreScore
from napari_her2.table import opinions_differ

__all__ = ["Agreement", "ReportRow", "agreements", "report_row"]

#: Name of the user's own column (from a TMA map) that holds results of in-situ hybridisation.
_ISH = "ish"


@dataclass(frozen=True)
class ReportRow:
    """One core as the template shows it.

    Attributes
    ----------
    number : int
        Place in the grid, from 0.
    core : Core
    score : CoreScore or None
    measured : Measurement or None
    colour, measured_colour : str
        Hex colours of the two scores.
    cx, cy, r : float
        Centre and radius in pixels of the overview.
    differ : float
        Steps between the opinions, -1 where one is absent.
    flags : tuple of str
    remark : str
        Why it is as it is, and what the user noted.
    low : tuple of str
        HER2-low and ultralow as they follow from either score: remarks, never scores.
    ish : str
        "" where there is nothing to ask, "open" where an opinion is 2+, "positive" or "negative" where it is known.
    picture, heat : str
        Data URLs; "" where there is none.
    page : str
        Link to the core's own page; "" where there is none.
    """

    number: int
    core: Core
    score: CoreScore | None
    measured: Measurement | None
    colour: str
    measured_colour: str
    cx: float
    cy: float
    r: float
    differ: float
    flags: tuple[str, ...]
    remark: str
    low: tuple[str, ...]
    ish: str
    picture: str
    heat: str
    page: str


def report_row(run: Run, number: int, downsample: float) -> ReportRow:
    """The row of a core; a core that cannot be read has no picture, and says so.

    Parameters
    ----------
    run : Run
    number : int
        Place of the core in the grid.
    downsample : float
        Level-0 pixels per pixel of the overview.
    """
    core = run.grid.cores[number]
    tissue = core.state is CoreState.TISSUE
    score = run.scores.get(core.name) if tissue else None
    measured = run.measured.get(core.name) if tissue else None
    remarks = [score.reason if score is not None else "", core.reason, core.note]
    picture = heat = ""
    try:
        square = thumbnail(run.slide, core)
        picture = data_url(square)
        if run.heatmap is not None and score is not None and score.places is not None:
            heat = data_url(heat_over(run.heatmap, core, square))
    except SlideError as error:
        remarks.append(str(error))
    given, found = (score.score if score is not None else ""), (measured.score if measured is not None else "")
    differ = opinions_differ(given, found)
    ish = _ish(core)
    flags = (*(score.flags if score is not None else ()), *(measured.flags if measured is not None else ()))
    return ReportRow(
        number=number,
        core=core,
        score=score,
        measured=measured,
        colour=core_colour(core.state, given if run.model is not None else found),
        measured_colour=SCORE_COLOURS[found],
        cx=core.x / downsample,
        cy=core.y / downsample,
        r=core.diameter / 2 / downsample,
        differ=differ if differ >= 0 else -1.0,
        flags=tuple(dict.fromkeys(flags)),
        remark=" ".join(dict.fromkeys(r for r in remarks if r)),
        low=_low(run, given, measured, ish),
        ish=(ish or "open") if "2+" in (given, found, core.reader_score) else "",
        picture=picture,
        heat=heat,
        page=run.pages.get(core.name, ""),
    )


def _ish(core: Core) -> str:
    """Result of in-situ hybridisation from the user's own columns: "positive", "negative" or ""."""
    known = next((text for name, text in core.extra.items() if name.strip().casefold() == _ISH), "")
    known = known.strip().casefold()
    return known if known in ("positive", "negative") else ""


def _low(run: Run, given: str, measured: Measurement | None, ish: str) -> tuple[str, ...]:
    """HER2-low and ultralow, after the breast rules only."""
    rules = RULES.get(run.provenance.get("measurement", {}).get("rules", ""))
    if rules is not None and rules.basolateral:
        return ()
    found = measured.score if measured is not None else ""
    percent = measured.percent if measured is not None else Measurement().percent
    if given == found or not given or not found:
        return tuple(filter(None, [low_remark(found or given, percent, ish)]))
    # the shares of faint cells belong to the measurement: "ultralow" does not follow from a network's 0
    said = {
        "network": low_remark(given, percent, ish) if given != "0" else "",
        "measurement": low_remark(found, percent, ish),
    }
    return tuple(f"By the {who}: {text}" for who, text in said.items() if text)


@dataclass(frozen=True)
class Agreement:
    """How often two ways of scoring say the same.

    Attributes
    ----------
    between : str
        Which two.
    n : int
        Cores that both scored.
    same, off_by_two : float
        Share of them with the same score, and with scores two or three apart; 0..1.
    kappa : float
        Quadratic weighted; NaN where it is not defined.
    """

    between: str
    n: int
    same: float
    off_by_two: float
    kappa: float


def agreements(run: Run) -> list[Agreement]:
    """Agreement of network, measurement and reader with each other, where two have scored the same cores."""
    said: dict[str, dict[str, str]] = {
        "network": {name: score.score for name, score in run.scores.items()},
        "measurement": {name: found.score for name, found in run.measured.items()},
        "reader": {core.name: core.reader_score for core in run.grid},
    }
    names = [core.name for core in run.grid.scorable]
    out = []
    for one, other in combinations(said, 2):
        pairs = [(said[one].get(name, ""), said[other].get(name, "")) for name in names]
        both = [(SCORES.index(a), SCORES.index(b)) for a, b in pairs if a and b]
        if both:
            table = confusion([a for a, _ in both], [b for _, b in both])
            out.append(Agreement(f"{one} and {other}", len(both), 1 - off_by(table, 1), off_by(table, 2), kappa(table)))
    return out
