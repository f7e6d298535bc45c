"""ThresholdsDialog: thresholds of measured staining fitted to control cores, looked at before they are used."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_her2.colours import SCORE_COLOURS
from napari_her2.errors import HER2Error
from napari_her2.membrane import Thresholds
from napari_her2.membrane.batch import BatchThresholds
from napari_her2.viewer import ask, thresholds
from napari_her2.viewer.measuring import Measuring
from napari_her2.viewer.selection import selected_names
from napari_her2.viewer.thresholds import Fit

__all__ = ["ThresholdsDialog"]

_PURPOSE = (
    "How brown a membrane has to be for weak, moderate or intense differs from run to run and scanner to scanner. One "
    "factor on the three densities is fitted, so that control cores whose score you know come out right: at least 3 "
    "that are not all 0, better some of every score."
)
#: Controls that are listed; more are summed up.
_LISTED = 12


class ThresholdsDialog(QDialog):
    """Nothing is changed before Apply; cores that are measured stay as they are until they are measured again."""

    def __init__(self, measuring: Measuring, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Calibrate thresholds on control cores")
        self.resize(540, 400)
        self._measuring, self._waiting = measuring, False
        self.found: BatchThresholds | None = None
        session = measuring.session
        name = measuring.batch_in_use.batch if measuring.batch_in_use else session.slide.name if session.slide else ""
        self.batch, self.which = QLineEdit(name), QComboBox()
        self.batch.setToolTip("Your name for the staining run; it is stored with every measurement made with it.")
        self.sentence, self.numbers, self.controls = QLabel(), QLabel(), QLabel()
        self.controls.setTextFormat(Qt.TextFormat.RichText)
        self.open, self.save = QPushButton("Open…"), QPushButton("Save…")
        self.own, self.undo = QPushButton("Default thresholds"), QPushButton("Undo")
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Apply | QDialogButtonBox.StandardButton.Cancel)
        self.apply = self.buttons.button(QDialogButtonBox.StandardButton.Apply)
        self._lay_out()
        self._list_controls()
        self.batch.textChanged.connect(lambda _: self._check_name())
        self.which.activated.connect(lambda _: self._fit())
        self.apply.clicked.connect(lambda: self._apply())
        self.buttons.rejected.connect(self.reject)
        self.finished.connect(lambda _: self._leave())
        session.changed.connect(self._follow)
        self._fit()

    def _lay_out(self) -> None:
        purpose = QLabel(_PURPOSE)
        for label in (purpose, self.sentence, self.numbers, self.controls):
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        undoes = self._measuring.undoes_batch
        self.own.setEnabled(self._measuring.batch is not None)
        self.own.setToolTip("Measure with the thresholds that the plugin comes with.")
        self.undo.setEnabled(bool(undoes))
        self.undo.setToolTip(f"Back to {undoes}." if undoes else "Nothing was changed yet.")
        self.open.setToolTip("Thresholds saved here, or by napari-her2 calibrate --measure.")
        self.save.setToolTip("For other slides of the batch, and for napari-her2 measure --measure-calibration.")
        foot = QHBoxLayout()
        acts = {self.open: self._open, self.save: self._save, self.own: self._own, self.undo: self._undo}
        for button, act in acts.items():
            button.setAutoDefault(False)
            button.clicked.connect(lambda _=False, act=act: act())
            foot.addWidget(button)
        foot.addStretch()
        foot.addWidget(self.buttons)
        form = QFormLayout()
        form.addRow("Batch", self.batch)
        form.addRow("Control cores", self.which)
        layout = QVBoxLayout(self)
        layout.addWidget(purpose)
        layout.addLayout(form)
        for label in (self.sentence, self.numbers, self.controls):
            layout.addWidget(label)
        layout.addStretch()
        layout.addLayout(foot)

    def _list_controls(self) -> None:
        read, layer = thresholds.read_cores(self._measuring), self._measuring.session.cores_layer
        chosen = set() if layer is None else set(selected_names(layer))
        self._ways = {f"All cores that you read ({len(read)})": read}
        own = [core for core in read if core.name in chosen]
        if 1 < len(own) < len(read):
            self._ways[f"Those that are selected ({len(own)})"] = own
        self.which.addItems(list(self._ways))

    def _fit(self) -> None:
        cores = self._ways[self.which.currentText()]
        why = thresholds.why_not(self._measuring, cores)
        self._show(None, why or f"{len(cores)} control cores are being measured, a second or two each…")
        self.which.setEnabled(bool(why))
        if not why:
            self._waiting = True
            thresholds.fit_controls(self._measuring, cores, self._fitted)

    def _follow(self) -> None:
        if self._waiting and not self._measuring.session.busy:
            self._waiting = False
            self.which.setEnabled(True)
            self._show(None, "Cancelled. Choose the control cores to measure them after all.")

    def _leave(self) -> None:
        self._measuring.session.changed.disconnect(self._follow)
        if self._waiting:  # nobody wants to know any more
            self._waiting = False
            self._measuring.session.cancel()

    def _fitted(self, fit: Fit | HER2Error) -> None:
        if not self._waiting:
            return
        self._waiting = False
        self.which.setEnabled(True)
        if isinstance(fit, HER2Error):
            self._show(None, str(fit))
            return
        self._show(fit.batch, " ".join([_right(fit.batch), *fit.left_out]))
        self.controls.setText(_table(fit))

    def _show(self, found: BatchThresholds | None, sentence: str) -> None:
        self.found = found
        self.sentence.setText(sentence)
        self.numbers.setText("" if found is None else _numbers(found.thresholds))
        self.controls.setText("")
        self._check_name()

    def _check_name(self) -> None:
        for button in (self.apply, self.save):
            button.setEnabled(self.found is not None and bool(self.batch.text().strip()))
            button.setToolTip("" if self.batch.text().strip() else "Name the batch first.")

    def _open(self) -> None:
        path = ask.calibration_file(self)
        if path is None:
            return
        try:
            found = thresholds.load_thresholds(self._measuring, path)
        except HER2Error as error:
            self._show(None, str(error))
            return
        self.batch.setText(found.batch)
        self._show(found, f"{path.name}, made {found.when[:10]} on {found.n} control cores. {_right(found)}")

    def _save(self) -> None:
        if self.found is None:
            return
        found = thresholds.named(self.found, self.batch.text())
        name = "".join(c if c.isalnum() or c in "-_ ." else "_" for c in found.batch)
        path = ask.save_calibration(f"{name}.thresholds.json", self)
        if path is not None:
            thresholds.save_thresholds(self._measuring, found, path)

    def _own(self) -> None:
        self._measuring.use_batch(None)
        self.accept()

    def _undo(self) -> None:
        self._measuring.undo_batch()
        self.accept()

    def _apply(self) -> None:
        if self.found is not None:
            self._measuring.use_batch(thresholds.named(self.found, self.batch.text()))
        self.accept()


def _right(batch: BatchThresholds) -> str:
    return f"Right: {batch.right_before} of {batch.n} with the default thresholds, {batch.right_after} with these."


def _numbers(new: Thresholds) -> str:
    old = Thresholds()
    names = ("faint", "moderate", "intense")
    if new == old:
        return "The default thresholds serve these controls best: they stay."
    moved = (f"{name} from {getattr(old, name):.3f} to {getattr(new, name):.3f} OD" for name in names)
    text = ", ".join(moved)
    return f"{text[0].upper()}{text[1:]}."


def _table(fit: Fit) -> str:
    """Each control with its scores; those that are called otherwise first."""
    rows = sorted(fit.controls, key=lambda row: row[2] == row[3] == row[1])

    def cell(score: str, known: str) -> str:
        colour = SCORE_COLOURS.get(score, "#808080")
        wrong = "" if score == known else " ✗"
        return f'<td style="padding-right:18px"><b style="color:{colour}">{score or "–"}</b>{wrong}</td>'

    head = "".join(f'<td style="padding-right:18px">{t}</td>' for t in ("Core", "Read", "Default", "These"))
    body = "".join(
        f'<tr><td style="padding-right:18px">{name}</td>{"".join(cell(score, known) for score in scores)}</tr>'
        for name, *scores in rows[:_LISTED]
        for known in scores[:1]
    )
    more = f"<br>and {len(rows) - _LISTED} more." if len(rows) > _LISTED else ""
    return f"<table><tr>{head}</tr>{body}</table>{more}"
