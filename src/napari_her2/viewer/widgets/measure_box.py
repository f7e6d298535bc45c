"""The second opinion: measure cores, and see the cells that were counted."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton

from napari_her2.colours import SCORE_COLOURS
from napari_her2.membrane import RULES
from napari_her2.regions import RegionKind
from napari_her2.scores import SCORES
from napari_her2.viewer.measuring import Measuring
from napari_her2.viewer.widgets.card import Card, yielding
from napari_her2.viewer.widgets.nuclei_button import NucleiButton
from napari_her2.viewer.widgets.thresholds_dialog import ThresholdsDialog

__all__ = ["MeasureBox"]

#: The rule sets in words that fit.
_RULES = dict(zip(RULES, ("Breast", "Gastric", "Gastric biopsy"), strict=True))

_DRAW: dict[RegionKind, str] = {"count here": "Count here", "leave out": "Leave out"}
_DRAW_TIPS: dict[RegionKind, str] = {
    "count here": "Draw round the tumour of a core: every cell in there counts, and no other of this core. "
    "Press again when done; select a region and press Delete to take it away.",
    "leave out": "Draw round what must not be measured: in situ tumour, a fold, necrosis. Press again when done.",
}


class MeasureBox(Card):
    """Measure selected or all; the cells of one core in the colours of their classes, with the share of each."""

    def __init__(self, measuring: Measuring) -> None:
        super().__init__("Second opinion")
        self._measuring, self._session = measuring, measuring.session
        self.title.setToolTip("Measured membrane staining: share of cells, intensity, completeness. No network.")
        self.selected, self.all, self.cells = QPushButton(), QPushButton(), QPushButton()
        self.rules = QComboBox()
        self.rules.addItems(list(_RULES.values()))
        self.rules.setToolTip(f"Rules that make a score of the classes of the cells: {', '.join(RULES)}.")
        self.sentence = QLabel()
        self.sentence.setWordWrap(True)
        self.sentence.setObjectName("faint")
        self.chips = {score: QLabel() for score in SCORES}
        self.draw = {kind: QPushButton(text) for kind, text in _DRAW.items()}
        for kind, button in self.draw.items():
            button.setCheckable(True)
            button.setToolTip(_DRAW_TIPS[kind])
            button.clicked.connect(lambda on=False, kind=kind: self._draw(kind, on))
        self.thresholds = QPushButton()
        self.thresholds.clicked.connect(lambda: ThresholdsDialog(measuring, self).show())
        self.nuclei = NucleiButton(measuring)
        yielding(self.selected, self.all, self.cells, self.rules, self.thresholds, *self.draw.values())
        yielding(*self.chips.values())
        buttons, below, regions, chips = QHBoxLayout(), QHBoxLayout(), QHBoxLayout(), QHBoxLayout()
        buttons.addWidget(self.selected, 1)
        buttons.addWidget(self.all, 1)
        below.addWidget(self.cells, 1)
        below.addWidget(self.rules, 1)
        below.addWidget(self.nuclei)
        for button in self.draw.values():
            regions.addWidget(button, 10)
        regions.addWidget(self.thresholds, 11)
        chips.setSpacing(4)
        for score, chip in self.chips.items():
            look = f"background: {SCORE_COLOURS[score]}; color: white; font-weight: bold"
            chip.setStyleSheet(f"{look}; border-radius: 4px; padding: 1px;")
            chip.setAlignment(Qt.AlignmentFlag.AlignCenter)
            chips.addWidget(chip, 1)
        self.body.addLayout(buttons)
        self.body.addLayout(below)
        self.body.addLayout(regions)
        self.body.addLayout(chips)
        self.body.addWidget(self.sentence)
        self.selected.clicked.connect(lambda: measuring.measure(self._session.chosen()))
        self.all.clicked.connect(lambda: measuring.measure(self._all()))
        self.cells.clicked.connect(lambda: self._toggle_cells())
        self.rules.activated.connect(self._choose_rules)

    def refresh(self) -> None:
        """Show the session."""
        why, measured = self._measuring.why_not(), self._measuring.measured()
        layer, outdated = self._session.cores_layer, self._measuring.outdated
        everything = "Measure rest" if measured and self._measuring.rest() and not outdated else "Measure all"
        self.all.setText(f"{everything} ({len(self._all())})" if layer is not None else everything)
        self.all.setEnabled(not why and bool(self._all()))
        self.all.setToolTip(why or "A second or two a core.")
        self.rules.setCurrentIndex(list(RULES).index(self._measuring.rules))
        batch = self._measuring.batch_in_use
        self.thresholds.setText("Thresholds…" if batch is None else _short(batch.batch))
        self.thresholds.setToolTip(
            "Default thresholds; calibrate them on control cores of known score."
            if batch is None
            else f"Thresholds of {batch.sentence}"
        )
        self.thresholds.setEnabled(layer is not None)
        self.nuclei.refresh()
        redrawn = self._measuring.redrawn()
        self.summary.setText(_summary(len(measured), outdated, len(redrawn)))
        self.summary.setToolTip(_why_outdated(outdated, redrawn))
        for kind, button in self.draw.items():
            button.setEnabled(layer is not None)
            button.setChecked(kind == self._measuring.regions.drawing)
        # room for the steps: what measuring is told comes with the scores that it is told beside
        told = bool(measured or self._session.scores() or self._measuring.regions.regions())
        for button in (*self.draw.values(), self.thresholds):
            button.setVisible(told)
        self.refresh_selection()

    def refresh_selection(self) -> None:
        """Show which cores are selected, and what was measured on the one of them."""
        why, chosen = self._measuring.why_not(), self._session.chosen()
        self.selected.setText(
            "Measure selected" if not chosen else f"Measure {chosen[0] if len(chosen) == 1 else f'{len(chosen)} cores'}"
        )
        self.selected.setEnabled(not why and bool(chosen))
        self.selected.setToolTip(why or ("" if chosen else "Select cores first."))
        shown, drawing = self._measuring.core_of_cells, self._measuring.drawing_cells
        one = chosen[0] if len(chosen) == 1 else shown
        asks = bool(shown) and one == shown
        self.cells.setText(
            "Give up" if drawing else "Hide cells" if asks else f"Show cells of {one}" if one else "Show cells"
        )
        self.cells.setEnabled(self._session.cores_layer is not None)
        self.cells.setToolTip("Outlines of the counted cells of the core selected, or in the middle of the view.")
        found = self._measuring.measured().get(one or shown)
        for k, (score, chip) in enumerate(self.chips.items()):
            there = found is not None and found.percent[k] == found.percent[k]
            chip.setVisible(there)
            chip.setToolTip("" if found is None else f"{one or shown}  {found.sentence}")
            chip.setText(f"{score}  {found.percent[k]:.0f} %" if found is not None and there else "")
        text = why if self._session.cores_layer is not None else ""
        text = text or self._measuring.warning()
        if not (text or found or self._session.scores()):
            text = "Best after scoring: the network then tells which cells are tumour."
        if found is not None and not found.score:
            text = f"{one or shown}  {found.sentence}"
        if (one or shown) in self._measuring.redrawn():
            text = f"{one or shown} was measured before its regions were drawn like this: measure it again."
        self.sentence.setText(text)
        self.sentence.setVisible(bool(self.sentence.text()))

    def _all(self) -> list[str]:
        return self._measuring.rest() or [core.name for core in self._session.grid().scorable]

    def _toggle_cells(self) -> None:
        asked = self._measuring.asked_core()
        shown = self._measuring.core_of_cells
        if self._measuring.drawing_cells or (shown and (asked is None or asked.name == shown)):
            self._measuring.hide_cells()
        else:
            self._measuring.show_cells(asked)

    def _draw(self, kind: RegionKind, on: bool) -> None:
        if on:
            self._measuring.regions.draw(kind)
        else:
            self._measuring.regions.stop()

    def _choose_rules(self, index: int) -> None:
        self._measuring.rules = list(RULES)[index]
        self._session.changed.emit()


def _short(name: str) -> str:
    return name if len(name) < 13 else f"{name[:11]}…"


def _summary(measured: int, outdated: bool, redrawn: int) -> str:
    if not measured:
        return ""
    if outdated:
        return f"{measured} out of date"
    return f"{measured} measured" + (f", {redrawn} out of date" if redrawn else "")


def _why_outdated(outdated: bool, redrawn: set[str]) -> str:
    if outdated:
        return "Stains, nuclei, rules, thresholds or pixel size are others now: measure again."
    return f"Regions were drawn or changed since: {', '.join(sorted(redrawn))}." if redrawn else ""
