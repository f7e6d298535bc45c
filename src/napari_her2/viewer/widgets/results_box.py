"""Step 4: how many cores of each score, and the export."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QPushButton

from napari_her2.colours import SCORE_COLOURS
from napari_her2.scores import SCORES
from napari_her2.viewer import ask, results
from napari_her2.viewer.measuring import Measuring
from napari_her2.viewer.pages_run import PagesRun, export_with_pages, why_no_pages
from napari_her2.viewer.widgets.card import StepCard, restyle, yielding

__all__ = ["ResultsBox"]


class ResultsBox(StepCard):
    """A chip in its colour for each score, the button that writes the files, and whether pages of cores are some."""

    def __init__(self, measuring: Measuring) -> None:
        super().__init__(4, "Results")
        self._measuring, self._session = measuring, measuring.session
        self._folder: Path | None = None
        self.chips = {score: QLabel() for score in SCORES}
        chips = QHBoxLayout()
        chips.setSpacing(4)
        for score, chip in self.chips.items():
            look = f"background: {SCORE_COLOURS[score]}; color: white; font-weight: bold"
            chip.setStyleSheet(f"{look}; border-radius: 4px; padding: 3px;")
            chip.setAlignment(Qt.AlignmentFlag.AlignCenter)
            chip.setToolTip(f"Cores with HER2 score {score}; the rings have the same colour.")
            chips.addWidget(chip, 1)
        self.review = QPushButton("Review…")
        self.review.setToolTip(
            "Go from core to core, read them with the keys 0 to 3, compare with the model, calibrate."
        )
        self.export = QPushButton("Export…")
        self.export.setToolTip("Write table (CSV), QuPath GeoJSON, heatmap, report and record into a folder.")
        self.export.clicked.connect(self._export)
        self.pages = QCheckBox("Core pages")
        self.remark = QLabel()
        self.remark.setObjectName("faint")
        self.remark.setWordWrap(True)
        self.body.addLayout(chips)
        self.body.addWidget(self.remark)
        row = QHBoxLayout()
        row.setSpacing(3)
        yielding(self.review, self.export)
        for button in (self.review, self.export):
            row.addWidget(button, 1)
        row.addWidget(self.pages)
        self.body.addLayout(row)

    def refresh(self, is_next: bool) -> None:
        """Show the session."""
        session = self._session
        scores = session.scores()
        given = Counter(s.score for s in scores.values())
        for score, chip in self.chips.items():
            chip.setText(f"{score}:  {given[score]}")
            chip.setVisible(bool(scores))
        unsure = sum(s.indeterminate for s in scores.values() if s.score)
        parts = [f"{unsure} uncertain (marked ?)"] * bool(unsure) + [f"{given['']} not scorable"] * bool(given[""])
        layer = session.cores_layer
        flagged = 0 if layer is None else sum(bool(flags) for flags in layer.features["flags"])
        parts += [f"{flagged} flagged (marked !)"] * bool(flagged)
        self.remark.setText(", ".join(parts))
        self.remark.setVisible(bool(parts))
        self.review.setEnabled(session.cores_layer is not None)
        read = sum(bool(core.reader_score) for core in session.grid())
        self.summary.setText(f"{read} read by you" if read else "")
        paging = isinstance(session.run, PagesRun) and session.run.running
        self.export.setEnabled(session.cores_layer is not None and not session.busy and not paging)
        restyle(self.export, "primary", str(is_next).lower())
        why = why_no_pages(self._measuring)
        self.pages.setEnabled(not why)
        self.pages.setToolTip(
            why
            or "Export… also writes a page for each measured core: its stains alone, its cells outlined by class at "
            "full resolution, all figures. A second or two a core."
        )

    def _export(self) -> None:
        folder = ask.folder(self._folder, self)
        if folder is not None:
            self._folder = folder
            if self.pages.isChecked() and self.pages.isEnabled():
                export_with_pages(self._measuring, folder)
            else:
                results.export(self._session, folder)
