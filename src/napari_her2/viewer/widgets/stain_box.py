"""The stains of the slide: swatches with their numbers, one stain alone, and their correction; folded up at first."""

from __future__ import annotations

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QScrollArea,
    QToolButton,
    QWidget,
)

from napari_her2.stain import QUPATH_STAINS, Stains
from napari_her2.stain.vectors import angle
from napari_her2.viewer import ask
from napari_her2.viewer.slide_stains import SlideStains
from napari_her2.viewer.widgets.card import Card, yielding

__all__ = ["StainBox"]

_ROLES = {"hematoxylin": "Haematoxylin", "dab": "DAB", "white": "Glass"}
_REGIONS = {"dab": "Brown", "hematoxylin": "Blue", "white": "Glass"}
_VIEWS = {None: "Slide", "hematoxylin": "Haematox.", "dab": "DAB"}
#: OD in which a stain is shown as a swatch.
_DENSITY = 0.7


class StainBox(Card):
    """A line of swatches; unfolded, the numbers beside QuPath's, what to look at, and corrections."""

    def __init__(self, slide_stains: SlideStains) -> None:
        super().__init__("Stains")
        self._stains = slide_stains
        self.fold = QToolButton()
        self.fold.setCheckable(True)
        self.fold.setAutoRaise(True)
        self.fold.setToolTip("Colours of haematoxylin, DAB and glass on this slide: look at them, correct them.")
        self.fold.toggled.connect(self._unfold)
        self.head.insertWidget(0, self.fold)
        self.small = {role: QLabel() for role in _ROLES}
        for role, swatch in self.small.items():
            swatch.setFixedSize(16, 12)
            swatch.setToolTip(_ROLES[role])
            self.head.addWidget(swatch)
        self.inner = QWidget()
        self.inner.setObjectName("inner")
        self.body.addWidget(self.inner)
        self._lay_out()
        self._unfold(False)

    def _lay_out(self) -> None:
        grid = QGridLayout(self.inner)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(4)
        self.swatches, self.numbers = ({role: QLabel() for role in _ROLES} for _ in range(2))
        for row, role in enumerate(_ROLES):
            self.swatches[role].setFixedSize(22, 14)
            self.numbers[role].setObjectName("faint")
            yielding(self.numbers[role])
            self.numbers[role].setToolTip(
                "R, G, B of the empty glass."
                if role == "white"
                else "Unit OD vector (R, G, B) on QuPath's scale, and its angle to QuPath's default."
            )
            grid.addWidget(self.swatches[role], row, 0)
            grid.addWidget(QLabel(_ROLES[role]), row, 1)
            grid.addWidget(self.numbers[role], row, 2)
        self.warning = QLabel()
        self.warning.setObjectName("faint")
        self.warning.setWordWrap(True)
        self.views = {role: QPushButton(text) for role, text in _VIEWS.items()}
        self.regions = {role: QPushButton(text) for role, text in _REGIONS.items()}
        self.more = QToolButton()
        self.normalise = QCheckBox("Normalise colours for the model")
        self.normalise.setToolTip(
            "The model sees the slide in the colours of its reference, by the stains above. On ordinary stains this "
            "did not help: try it on control cores first, see the model card."
        )
        self.normalise.toggled.connect(self._normalise)
        grid.addWidget(self.warning, 3, 0, 1, 3)
        grid.addLayout(self._row("Show", self._view_buttons()), 4, 0, 1, 3)
        grid.addLayout(self._row("Correct", [*self._region_buttons(), self._menu()]), 5, 0, 1, 3)
        grid.addWidget(self.normalise, 6, 0, 1, 3)
        grid.setColumnStretch(2, 1)

    def _row(self, text: str, buttons: list[QWidget]) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(3)
        label = QLabel(text)
        label.setFixedWidth(60)  # both rows begin alike
        row.addWidget(label)
        for button in buttons:
            if isinstance(button, QPushButton):
                yielding(button)
                row.addWidget(button, len(button.text()) + 3)
            else:
                row.addWidget(button)
        return row

    def _view_buttons(self) -> list[QWidget]:
        for role, button in self.views.items():
            button.setCheckable(True)
            button.setToolTip("The slide as it is." if role is None else f"{_ROLES[role]} alone, at every zoom.")
            button.clicked.connect(lambda _=False, role=role: self._stains.show(role))
        return list(self.views.values())

    def _region_buttons(self) -> list[QWidget]:
        tips = {"dab": "pure brown", "hematoxylin": "pure blue", "white": "empty glass"}
        for role, button in self.regions.items():
            button.setCheckable(True)
            button.setToolTip(f"Drag a small rectangle where there is {tips[role]} and nothing else.")
            button.clicked.connect(lambda on=False, role=role: self._correct(role, on))
        return list(self.regions.values())

    def _menu(self) -> QWidget:
        menu = QMenu(self)
        menu.addAction("Estimate again", self._stains.reset)
        menu.addAction("Save for other slides…", self._save)
        menu.addAction("Take from a file…", self._load)
        self.more.setText("…")
        self.more.setStyleSheet("QToolButton::menu-indicator { image: none; }")  # it lay over the dots
        self.more.setToolTip("Estimate again, save, take from a file.")
        self.more.setMenu(menu)
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        return self.more

    def refresh(self) -> None:
        """Show what is known of the stains."""
        known, stains = self._stains, self._stains.stains
        for role in _ROLES:
            for swatch in (self.small[role], self.swatches[role]):
                swatch.setVisible(stains is not None)
                if stains is not None:
                    r, g, b = stains.swatch(role, _DENSITY)
                    swatch.setStyleSheet(f"background: rgb({r}, {g}, {b}); border: 1px solid rgba(128, 128, 128, 160);")
            self.numbers[role].setText("–" if stains is None else _numbers(stains, role))
        on = known.session.normalise
        self.normalise.setEnabled(stains is not None or on)
        self.normalise.setChecked(on)
        self.summary.setText(_summary(stains, known.estimating) + (", normalised" if on and stains is not None else ""))
        text = known.why_not if stains is None else " ".join(stains.warnings)
        self.warning.setText(text)
        self.warning.setVisible(bool(text))
        for role, button in self.views.items():
            button.setEnabled(stains is not None)
            button.setChecked(stains is not None and role == known.shown)
        for role, button in self.regions.items():
            button.setEnabled(stains is not None)
            button.setChecked(role == known.correcting)

    def _unfold(self, shown: bool) -> None:
        self.fold.setText("▾" if shown else "▸")
        self.inner.setVisible(shown)
        if shown and self._stains.stains is None and not self._stains.why_not:
            self._stains.estimate()
        if shown:
            QTimer.singleShot(0, self._scroll)

    def _scroll(self) -> None:
        """Bring all of it into view."""
        parent = self.parentWidget()
        while parent is not None and not isinstance(parent, QScrollArea):
            parent = parent.parentWidget()
        if parent is not None:
            parent.ensureWidgetVisible(self, 0, 4)

    def _normalise(self, on: bool) -> None:
        if on != self._stains.session.normalise:  # else it only follows the session
            self._stains.session.use_normalised(on)

    def _correct(self, role: str, on: bool) -> None:
        self._stains.stop_correcting()
        if on:
            self._stains.correct(role)

    def _save(self) -> None:
        path = ask.save_stains("stains.json", self)
        if path is not None:
            self._stains.save_stains(path)

    def _load(self) -> None:
        path = ask.stains_file(self)
        if path is not None:
            self._stains.load_stains(path)


def _numbers(stains: Stains, role: str) -> str:
    vector = getattr(stains, role)
    if role == "white":
        return ", ".join(f"{v:.0f}" for v in vector)
    return f"{' '.join(f'{v:.3f}' for v in vector)}   {angle(vector, getattr(QUPATH_STAINS, role)):.1f}°"


def _summary(stains: Stains | None, estimating: bool) -> str:
    if estimating:
        return "being looked for…"
    if stains is None:
        return ""
    return "corrected" if stains.source == "region" else stains.source
