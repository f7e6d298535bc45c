"""Card: a framed part of the widget; StepCard: a numbered step that is done, next, or still to come."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget
from superqt import QElidingLabel

__all__ = ["ACCENT", "STYLE", "Card", "StepCard", "restyle", "yielding"]

ACCENT = "#2f80ed"
#: One sheet for the whole widget; greys are see-through, so that it fits napari's dark and light themes.
STYLE = f"""
Card {{ border: 1px solid rgba(128, 128, 128, 70); border-radius: 6px; background: rgba(128, 128, 128, 22); }}
StepCard[step="next"] {{ border: 2px solid {ACCENT}; background: rgba(47, 128, 237, 28); }}
Card QLabel, Card QWidget#inner {{ background: transparent; }}
QLabel#badge {{
    border-radius: 10px; min-width: 20px; max-width: 20px; min-height: 20px; max-height: 20px;
    background: rgba(128, 128, 128, 110); color: white; font-weight: bold;
}}
StepCard[step="next"] QLabel#badge {{ background: {ACCENT}; }}
StepCard[step="done"] QLabel#badge {{ background: #2e8b57; }}
QLabel#title {{ font-weight: bold; font-size: 13px; }}
QLabel#hint {{ font-style: normal; }}
QLabel#faint {{ color: rgba(150, 150, 150, 255); font-size: 11px; }}
QLabel#error {{ color: #ffffff; background: #a3302c; border-radius: 4px; padding: 4px; }}
QPushButton {{ padding: 3px 4px; min-width: 16px; }}
QPushButton[primary="true"] {{ background: {ACCENT}; color: white; font-weight: bold; }}
QPushButton[primary="true"]:hover {{ background: #4a93f3; }}
QPushButton:disabled {{ color: rgba(128, 128, 128, 140); background: rgba(128, 128, 128, 40); }}
QSpinBox {{ min-width: 24px; }}
QLineEdit[asked="true"] {{ border: 2px solid #e8a317; }}
"""


class Card(QFrame):
    """A frame with a title, a summary on its right, and room for a body."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title, self.summary = QLabel(title), QElidingLabel()
        self.title.setObjectName("title")
        self.summary.setObjectName("faint")
        self.head = QHBoxLayout()
        self.head.addWidget(self.title)
        yielding(self.summary)
        self.summary.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.head.addWidget(self.summary, 1)
        self.body = QVBoxLayout()
        self.body.setSpacing(4)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 5, 8, 6)
        layout.setSpacing(4)
        layout.addLayout(self.head)
        layout.addLayout(self.body)


class StepCard(Card):
    """A step with its number, and a hint while it is next."""

    def __init__(self, number: int, title: str) -> None:
        super().__init__(title)
        self._number = str(number)
        self.badge, self.hint = QLabel(self._number), QLabel()
        self.badge.setObjectName("badge")
        self.hint.setObjectName("hint")
        self.badge.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.hint.setWordWrap(True)
        self.head.insertWidget(0, self.badge)
        self.layout().insertWidget(1, self.hint)

    def set_step(self, step: str, hint: str = "") -> None:
        """`step` is "todo", "next" or "done"."""
        self.hint.setText(hint)
        self.hint.setVisible(bool(hint))
        self.badge.setText("✓" if step == "done" else self._number)
        restyle(self, "step", step)


def restyle(widget: QWidget, name: str, value: str) -> None:
    """Set a property that the style sheet looks at, for a widget and what is in it."""
    if widget.property(name) == value:
        return
    widget.setProperty(name, value)
    for part in (widget, *widget.findChildren(QWidget)):
        part.style().unpolish(part)
        part.style().polish(part)


def yielding(*widgets: QWidget) -> None:
    """Let widgets become as narrow as the dock wants them, rather than push its edge out of the window."""
    for widget in widgets:
        widget.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
