"""Small pictures for reports, as SVG text: they stay sharp, print well and need nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_her2.agreement import CoveragePoint, ReliabilityBin
from napari_her2.colours import SCORE_COLOURS
from napari_her2.scores import SCORES

__all__ = ["confusion_svg", "coverage_svg", "learning_curve_svg", "reliability_svg"]

_W, _H, _LEFT, _TOP, _SIDE = 380, 330, 62, 16, 260
_INK, _SOFT, _LINE, _BLUE = "#1c2128", "#5d6570", "#d9dce1", "#1a58ec"


def confusion_svg(table: npt.NDArray[np.intp]) -> str:
    """The 4 x 4 table, truth in rows: counts, and a shade for their share of the row."""
    cell = _SIDE / len(SCORES)
    parts = []
    for i, row in enumerate(table):
        for j, count in enumerate(row):
            share = count / row.sum() if row.sum() else 0.0
            x, y = _LEFT + j * cell, _TOP + i * cell
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{cell:.1f}" height="{cell:.1f}" fill="{_BLUE}" '
                f'fill-opacity="{0.85 * share:.3f}" stroke="{_LINE}"/>'
            )
            ink = "#fff" if share > 0.55 else _INK
            parts.append(_text(x + cell / 2, y + cell / 2 + 1, str(count), ink, 17, bold=i == j))
            if count:
                parts.append(_text(x + cell / 2, y + cell / 2 + 17, f"{100 * share:.0f} %", ink, 11))
        parts.append(_text(_LEFT - 14, _TOP + (i + 0.5) * cell + 5, SCORES[i], _INK, 15))
        parts.append(_text(_LEFT + (i + 0.5) * cell, _TOP + _SIDE + 20, SCORES[i], _INK, 15))
    return _svg(parts, "the model's score", "known score", "Table of known scores against those of the model")


def reliability_svg(bins: Sequence[ReliabilityBin]) -> str:
    """Confidence against how often it was right; a disc for each bin, its area the number of cores."""
    parts = _axes()
    parts.append(f'<path d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}" stroke="{_SOFT}" stroke-dasharray="4 4" fill="none"/>')
    total = sum(b.n for b in bins)
    for b in (b for b in bins if b.n):
        radius = max(3.0, 26 * (b.n / total) ** 0.5)
        x, y = _x(b.confidence), _y(b.accuracy)
        parts.append(f'<path d="M{x} {y}L{x} {_y(b.confidence)}" stroke="{SCORE_COLOURS["3+"]}" fill="none"/>')
        parts.append(
            f'<circle cx="{x}" cy="{y}" r="{radius:.1f}" fill="{_BLUE}" fill-opacity="0.55" stroke="{_BLUE}">'
            f"<title>{b.n} cores: confidence {b.confidence:.2f}, right {b.accuracy:.2f}</title></circle>"
        )
        parts.append(_text(float(x) + radius + 4 + 3 * len(str(b.n)), float(y) + 4, str(b.n), _INK, 11))
    return _svg(parts, "confidence", "share right", "Confidence against the share of cores that were right")


def coverage_svg(curve: Sequence[CoveragePoint], marked: float) -> str:
    """How often the surest cores are right, against their share of all; a line at the coverage that is stated."""
    parts = _axes()
    parts.append(f'<path d="M{_x(marked)} {_y(0)}L{_x(marked)} {_y(1)}" stroke="{_SOFT}" stroke-dasharray="4 4"/>')
    # a page needs no more points than it has pixels
    step = max(1, len(curve) // 400)
    points = [*curve[::step], *curve[-1:]]
    line = "L".join(f"{_x(p.coverage)} {_y(p.accuracy)}" for p in points)
    parts.append(f'<path d="M{line}" stroke="{_BLUE}" stroke-width="2" fill="none"/>')
    parts.extend(f'<circle cx="{_x(p.coverage)}" cy="{_y(p.accuracy)}" r="2.5" fill="{_BLUE}"/>' for p in points[-1:])
    return _svg(parts, "share of cores, the surest first", "share right", "Accuracy against coverage")


def learning_curve_svg(history: Sequence[tuple[int, float, float]]) -> str:
    """Loss of the cores learned from and of those held out, over the steps; a dot where the second was least.

    Parameters
    ----------
    history : sequence of (int, float, float)
        Step, mean loss of the cores learned from, and of those held out; NaN where it was not taken.
    """
    last = max(1, max(step for step, _, _ in history))
    losses = [loss for point in history for loss in point[1:] if np.isfinite(loss)]
    top = max(losses, default=1.0) * 1.05
    parts = []
    for k in range(6):
        s = k / 5
        parts.append(f'<path d="M{_x(s)} {_y(0)}L{_x(s)} {_y(1)}M{_x(0)} {_y(s)}L{_x(1)} {_y(s)}" stroke="{_LINE}"/>')
        parts.append(_text(float(_x(s)), _TOP + _SIDE + 18, f"{s * last:.0f}", _SOFT, 12))
        parts.append(_text(_LEFT - 18, float(_y(s)) + 4, f"{s * top:.2f}", _SOFT, 12))
    named = ("learned from", _SOFT), ("held out", _BLUE)
    for which, (name, colour) in enumerate(named):
        points = [(step / last, point[which] / top) for step, *point in history if np.isfinite(point[which])]
        if points:
            line = "L".join(f"{_x(x)} {_y(y)}" for x, y in points)
            parts.append(f'<path d="M{line}" stroke="{colour}" stroke-width="2" fill="none"/>')
            parts.append(_text(_LEFT + 48, _TOP + _SIDE - 26 + 17 * which, name, colour, 13, bold=True))
    apart = [(held, step) for step, _, held in history if np.isfinite(held)]
    if apart:
        held, step = min(apart)
        parts.append(f'<circle cx="{_x(step / last)}" cy="{_y(held / top)}" r="4.5" fill="{_BLUE}"/>')
    return _svg(parts, "step", "loss, nats a core", "Loss over the steps of the fit")


def _x(share: float) -> str:
    return f"{_LEFT + share * _SIDE:.1f}"


def _y(share: float) -> str:
    return f"{_TOP + (1 - share) * _SIDE:.1f}"


def _axes() -> list[str]:
    parts = []
    for k in range(6):
        s = k / 5
        parts.append(f'<path d="M{_x(s)} {_y(0)}L{_x(s)} {_y(1)}M{_x(0)} {_y(s)}L{_x(1)} {_y(s)}" stroke="{_LINE}"/>')
        parts.append(_text(float(_x(s)), _TOP + _SIDE + 18, f"{s:.1f}", _SOFT, 12))
        parts.append(_text(_LEFT - 16, float(_y(s)) + 4, f"{s:.1f}", _SOFT, 12))
    return parts


def _text(x: float, y: float, text: str, ink: str, size: int, *, bold: bool = False, turned: bool = False) -> str:
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    weight = ' font-weight="700"' if bold else ""
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{ink}"'
    return f'<text {place} text-anchor="middle"{weight}{turn}>{text}</text>'


def _svg(parts: Sequence[str], below: str, beside: str, label: str) -> str:
    named = [
        _text(_LEFT + _SIDE / 2, _TOP + _SIDE + 42, below, _SOFT, 13),
        _text(16, _TOP + _SIDE / 2, beside, _SOFT, 13, turned=True),
    ]
    return f'<svg viewBox="0 0 {_W} {_H}" role="img" aria-label="{label}">{"".join([*parts, *named])}</svg>'
