"""CalibrateDialog: cut points fitted to the cores that were read, looked at before they are applied."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

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

from napari_her2.errors import HER2Error
from napari_her2.viewer import ask, calibrating
from napari_her2.viewer.calibrating import Preview
from napari_her2.viewer.grid_editor import GridEditor

__all__ = ["CalibrateDialog"]

_PURPOSE = (
    "Staining differs from run to run. The cut points between the scores, and nothing else of the model, are refitted "
    "so that control cores whose score you know come out right: at least 3 of two scores, better 8 of all four."
)


class CalibrateDialog(QDialog):
    """Nothing is changed before Apply, and that can be undone."""

    def __init__(self, editor: GridEditor, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Calibrate on control cores")
        self.resize(520, 330)
        self._session = session = editor.session
        self._chosen = [core.name for core in editor.chosen()]
        self.preview: Preview | None = None
        purpose = QLabel(_PURPOSE)
        self.batch = QLineEdit(calibrating.batch_of(session.model) or (session.slide.name if session.slide else ""))
        self.batch.setToolTip("Your name for the staining run; it is stored with every score made with it.")
        self.batch.textChanged.connect(lambda _: self._fit())
        self.which = QComboBox()
        self.which.activated.connect(lambda _: self._fit())
        self.right, self.sentence, self.changes = QLabel(), QLabel(), QLabel()
        self.right.setStyleSheet("font-size: 15px; font-weight: bold;")
        for label in (purpose, self.sentence, self.changes):
            label.setWordWrap(True)
        self.open, self.save = QPushButton("Open…"), QPushButton("Save…")
        self.own = QPushButton("Own cut points")
        self.own.setToolTip("Back to the cut points that the model came with.")
        self.open.setToolTip("A calibration of this batch that was saved before.")
        self.save.setToolTip("For other slides of the batch, and for napari-her2 score --calibration.")
        for button, act in ((self.open, self._open), (self.save, self._save), (self.own, self._own)):
            button.setAutoDefault(False)
            button.clicked.connect(lambda _=False, act=act: act())
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Apply | QDialogButtonBox.StandardButton.Cancel)
        self.apply = self.buttons.button(QDialogButtonBox.StandardButton.Apply)
        self.apply.clicked.connect(lambda: self._apply())
        self.buttons.rejected.connect(self.reject)
        form = QFormLayout()
        form.addRow("Batch", self.batch)
        form.addRow("Control cores", self.which)
        foot = QHBoxLayout()
        for widget in (self.open, self.save, self.own):
            foot.addWidget(widget)
        foot.addStretch()
        foot.addWidget(self.buttons)
        layout = QVBoxLayout(self)
        layout.addWidget(purpose)
        layout.addLayout(form)
        for widget in (self.right, self.sentence, self.changes):
            layout.addWidget(widget)
        layout.addStretch()
        layout.addLayout(foot)
        self._list_controls()
        self._fit()

    def _list_controls(self) -> None:
        read = calibrating.read_cores(self._session)
        self._ways = {f"All {len(read)} cores that you read": read}
        own = [name for name in self._chosen if name in set(read)]
        if len(own) > 1:
            self._ways[f"The {len(own)} of them that are selected"] = own
        self.which.addItems(list(self._ways))
        self.own.setEnabled(bool(calibrating.batch_of(self._session.model)))

    def _fit(self) -> None:
        try:
            why = calibrating.why_not(self._session)
            names = self._ways[self.which.currentText()]
            self._show(None, why) if why else self._show(
                calibrating.preview(self._session, names, self.batch.text().strip())
            )
        except HER2Error as error:
            self._show(None, str(error))

    def _show(self, preview: Preview | None, why: str = "") -> None:
        self.preview = preview
        self.right.setText("" if preview is None else "Right: {} of {} before, {} after".format(*_of(preview)))
        self.right.setVisible(preview is not None)
        self.sentence.setText(why if preview is None else preview.sentence)
        self.changes.setText("" if preview is None else _changes(preview))
        self.apply.setEnabled(preview is not None)
        self.save.setEnabled(preview is not None)

    def _open(self) -> None:
        path = ask.calibration_file(self)
        if path is None:
            return
        try:
            preview = calibrating.load_calibration(self._session, path)
        except HER2Error as error:
            self._show(None, str(error))
            return
        with_name = calibrating.batch_of(preview.model)
        self.batch.blockSignals(True)
        self.batch.setText(with_name)
        self.batch.blockSignals(False)
        self._show(preview)

    def _save(self) -> None:
        if self.preview is None:
            return
        name = "".join(c if c.isalnum() or c in "-_ ." else "_" for c in calibrating.batch_of(self.preview.model))
        path: Path | None = ask.save_calibration(f"{name}.calibration.json", self)
        if path is not None:
            calibrating.save_calibration(self._session, self.preview.model, path)

    def _own(self) -> None:
        calibrating.use_own_cuts(self._session)
        self.accept()

    def _apply(self) -> None:
        if self.preview is not None:
            calibrating.use_cuts(self._session, self.preview.model)
        self.accept()


def _of(preview: Preview) -> tuple[int, int, int]:
    before, after, n = preview.right
    return before, n, after


def _changes(preview: Preview) -> str:
    """How many scores of the slide would be other ones, and which way."""
    if not preview.changes:
        return "No score on this slide would be another."
    ways = Counter((now, then) for _, now, then in preview.changes)
    told = ", ".join(f"{n} from {now} to {then}" for (now, then), n in ways.most_common())
    some = ", ".join(name for name, _, _ in preview.changes[:8]) + (" …" if len(preview.changes) > 8 else "")
    return f"{len(preview.changes)} scores on this slide would be other ones: {told} ({some})."
