"""What the model says of one core, as bars over the four buttons that give it a reader's score."""

from __future__ import annotations

import math
from collections.abc import Callable

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_her2.colours import SCORE_COLOURS
from napari_her2.scores import SCORES
from napari_her2.viewer.reading import READING_KEYS
from napari_her2.viewer.widgets.card import yielding

__all__ = ["OpinionView", "ProbabilityBars"]

_GAP = 4


class ProbabilityBars(QWidget):
    """The probability of each score, four bars in the scores' colours with the figure over each."""

    def __init__(self) -> None:
        super().__init__()
        self.probabilities: tuple[float, ...] = (math.nan,) * 4
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def show_probabilities(self, probabilities: tuple[float, ...]) -> None:
        """NaN for a core that was not scored."""
        self.probabilities = probabilities
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """As wide as the dock, low."""
        return QSize(280, 56)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 (Qt's name)
        """Draw."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        line = painter.fontMetrics().height()
        width = (self.width() - 3 * _GAP) / 4
        room = self.height() - line - 2
        for k, (score, p) in enumerate(zip(SCORES, self.probabilities, strict=True)):
            left = k * (width + _GAP)
            known = math.isfinite(p)
            height = max(2.0, p * room) if known else 2.0
            top = self.height() - height
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(SCORE_COLOURS[score]) if known else QColor(128, 128, 128, 90))
            painter.drawRoundedRect(QRectF(left, top, width, height), 2, 2)
            painter.setPen(self.palette().color(self.foregroundRole()))
            if known:
                place = QRectF(left, top - line - 1, width, line)
                painter.drawText(place, Qt.AlignmentFlag.AlignCenter, _percent(p))
        painter.end()


class OpinionView(QWidget):
    """Bars, and a button for each score under its bar; the reader's is filled with its colour."""

    def __init__(self, read: Callable[[str], object]) -> None:
        super().__init__()
        self.bars = ProbabilityBars()
        self.buttons = {score: QPushButton(score) for score in SCORES}
        row = QHBoxLayout()
        row.setSpacing(_GAP)
        for (key, score), button in zip(READING_KEYS.items(), self.buttons.values(), strict=True):
            button.setCheckable(True)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # or arrow keys would go from button to button
            button.setToolTip(f"I read this core as {score} (key {key}); again takes it off.")
            colour = SCORE_COLOURS[score]
            button.setStyleSheet(
                f"QPushButton {{ border: 2px solid {colour}; border-radius: 4px; padding: 4px; font-weight: bold; }}"
                f"QPushButton:checked {{ background: {colour}; color: white; }}"
            )
            button.clicked.connect(lambda _=False, score=score: read(score))
            row.addWidget(button, 1)
        yielding(*self.buttons.values())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.bars)
        layout.addLayout(row)

    def show_opinion(self, probabilities: tuple[float, ...], reading: str, *, enabled: bool) -> None:
        """The model's probabilities, and the score that the reader gave."""
        self.bars.show_probabilities(probabilities)
        for score, button in self.buttons.items():
            button.setChecked(score == reading)
            button.setEnabled(enabled)


def _percent(p: float) -> str:
    return "<1 %" if 0 < p < 0.005 else ">99 %" if 0.995 < p < 1 else f"{p:.0%}".replace("%", " %")
