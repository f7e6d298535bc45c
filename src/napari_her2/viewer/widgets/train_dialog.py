"""TrainDialog: what was read becomes a model: are the labels enough, how well does it do, keep it or not."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_her2.errors import HER2Error
from napari_her2.scores import SCORES
from napari_her2.viewer.session import Session
from napari_her2.viewer.training_run import Trained, TrainingRun, labels_of, save_trained, start_training, why_not

if TYPE_CHECKING:
    from napari_her2.agreement import Figure
    from napari_her2.evaluate import Evaluation

__all__ = ["TrainDialog"]

_PURPOSE = (
    "The last layer of {} is fitted to your scores; all before it stays as it is. It is tried on patients that it has "
    "not seen, beside the current model and beside merely calibrating that. You decide afterwards."
)


class TrainDialog(QDialog):
    """First what there is to learn from, then a bar, then the comparison; nothing is kept before Save."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Train on these labels")
        self.resize(760, 210)
        self._session = session
        self.run: TrainingRun | None = None
        self.trained: Trained | None = None
        self.purpose = QLabel(_PURPOSE.format(session.model.name if session.model is not None else "the model"))
        self.labels, self.verdict, self.tables = QLabel(), QLabel(), QLabel()
        self.tables.setTextFormat(Qt.TextFormat.RichText)
        for label in (self.purpose, self.labels, self.verdict):
            label.setWordWrap(True)
        self.bar, self.state = QProgressBar(), QLabel()
        self.bar.setTextVisible(False)
        self.name = QLineEdit(f"our-her2-{time.strftime('%Y-%m-%d')}")
        self.name.setToolTip("Under this name it stands in the list of models.")
        self.use = QCheckBox("Score with it from now on")
        self.train, self.save, self.leave = QPushButton("Train"), QPushButton("Save model"), QPushButton("Close")
        self.train.clicked.connect(lambda: self._start())
        self.save.clicked.connect(lambda: self._save())
        self.leave.clicked.connect(lambda: self.close())
        self._name_label = QLabel("Name")
        foot = QHBoxLayout()
        for widget in (self._name_label, self.name, self.use):
            foot.addWidget(widget)
        foot.addStretch()
        for button in (self.train, self.save, self.leave):
            foot.addWidget(button)
        layout = QVBoxLayout(self)
        for widget in (self.purpose, self.labels, self.tables, self.verdict, self.bar, self.state):
            layout.addWidget(widget)
        layout.addStretch()
        layout.addLayout(foot)
        self._labels = labels_of(session)
        self.labels.setText(self._labels.sentence)
        self._show(why_not(session, self._labels))

    def closeEvent(self, event: QCloseEvent | None) -> None:  # noqa: N802 (Qt's name)
        """Closing gives the run up."""
        if self.run is not None and self.run.running:
            self.run.cancel()
        if event is not None:
            super().closeEvent(event)

    def _start(self) -> None:
        self.run = start_training(self._session, self._labels)
        if self.run is not None:
            _follow(self.run, self)
        self._show()
        self.progress()

    def progress(self) -> None:
        """Show how far the run is."""
        if self.run is not None:
            self.bar.setRange(0, self.run.state[2])
            self.bar.setValue(self.run.state[1])
            self.state.setText(self.run.progress_text())

    def ended(self, message: str) -> None:
        """Show how it went."""
        self.trained = None if self.run is None else self.run.trained
        if self.trained is not None:
            comparison = self.trained.comparison
            self.use.setChecked(comparison.better)
            self.tables.setText(_tables(comparison.judges))
            message = " ".join([comparison.sentence, *self.trained.remarks])
        self._show(message)
        self.adjustSize()

    def _save(self) -> None:
        if self.trained is None:
            return
        try:
            save_trained(self._session, self.trained, self.name.text().strip(), use=self.use.isChecked())
        except HER2Error as error:
            self.verdict.setText(str(error))
            return
        self.close()

    def _show(self, said: str = "") -> None:
        running = self.run is not None and self.run.running
        done = self.trained is not None
        for widget in (self.bar, self.state):
            widget.setVisible(running)
        for widget in (self.name, self._name_label, self.use, self.save, self.tables):
            widget.setVisible(done)
        self.purpose.setVisible(not done)
        self.verdict.setText(said)
        self.verdict.setVisible(bool(said))
        self.train.setVisible(not done)
        self.train.setEnabled(not running and not why_not(self._session, self._labels))
        self.leave.setText("Cancel" if running else "Discard" if done else "Close")


def _follow(run: TrainingRun, dialog: TrainDialog) -> None:
    """Let a dialog show a run; one that is gone, with its window or alone, is told nothing any more."""
    slots = ((run.progressed, dialog.progress), (run.ended, dialog.ended))
    for signal, slot in slots:
        signal.connect(slot)
    dialog.destroyed.connect(lambda: [signal.disconnect(slot) for signal, slot in slots])


def _tables(judges: dict[str, Evaluation]) -> str:
    """For each judge its confusion table, accuracy and quadratic kappa, side by side."""
    cells = "".join(f'<td style="padding-right: 22px">{_table(name, judge)}</td>' for name, judge in judges.items())
    return f"<table><tr>{cells}</tr></table>"


def _table(name: str, judge: Evaluation) -> str:
    head = "".join(_cell(f"<b>{score}</b>") for score in SCORES)
    rows = "".join(
        f"<tr><td><b>{SCORES[i]}</b></td>{''.join(_cell(str(int(n)), right=i == j) for j, n in enumerate(row))}</tr>"
        for i, row in enumerate(judge.table)
    )
    accuracy, kappa = _figure(judge.figures["accuracy"], ".0%"), _figure(judge.figures["quadratic_kappa"], ".2f")
    return (
        f"<b>{name[:1].upper()}{name[1:]}</b><br>rows: you, columns: model"
        f"<table><tr><td></td>{head}</tr>{rows}</table>"
        f"Right {accuracy}<br>Quadratic kappa {kappa}<br>n = {len(judge.scored)}"
    )


def _cell(text: str, *, right: bool = False) -> str:
    colour = ' bgcolor="#2e8b57"' if right else ""
    return f'<td align="right" style="padding: 2px 6px"{colour}>{text}</td>'


def _figure(figure: Figure, form: str) -> str:
    interval = f" ({figure.low:{form}} to {figure.high:{form}})" if math.isfinite(figure.low) else ""
    return f"{figure.value:{form}}{interval}"
