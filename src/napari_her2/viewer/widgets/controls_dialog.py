"""ControlsDialog: something fitted to the control cores of a batch, looked at before it is used."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any, ClassVar

from qtpy.QtCore import QSignalBlocker, Qt
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
from napari_her2.files import safe_name
from napari_her2.viewer import ask

__all__ = ["ControlsDialog"]


class ControlsDialog(QDialog):
    """Name of the batch, choice of the control cores, what was found, and what to do with it.

    Nothing is changed before Apply. What is fitted, told, stored and used is the part of each kind of calibration.

    Parameters
    ----------
    batch : str
        Name of the batch to begin with.
    read : sequence of str
        Names of the cores that can be controls.
    chosen : container of str
        Names of the cores that are selected.
    parent : QWidget, optional
    """

    title: ClassVar[str]
    purpose: ClassVar[str]
    #: What carries the name of the batch, and how a file of such a calibration ends.
    named: ClassVar[str]
    ending: ClassVar[str]
    open_tip: ClassVar[str]
    save_tip: ClassVar[str]

    def __init__(self, batch: str, read: Sequence[str], chosen: Container[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(self.title)
        #: What was fitted or opened, before it is used.
        self.found: Any = None
        self.batch, self.which, self.sentence = QLineEdit(batch), QComboBox(), QLabel()
        self.batch.setToolTip(f"Your name for the staining run; it is stored with every {self.named} made with it.")
        self._ways = {f"All {len(read)} cores that you read": list(read)}
        own = [name for name in read if name in chosen]
        if 1 < len(own) < len(read):
            self._ways[f"The {len(own)} of them that are selected"] = own
        self.which.addItems(list(self._ways))
        self._buttons, self._results = QHBoxLayout(), QVBoxLayout()
        self.open = self.add_button("Open…", self._open, self.open_tip)
        self.save = self.add_button("Save…", self._save)
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Apply | QDialogButtonBox.StandardButton.Cancel)
        self.apply = self.buttons.button(QDialogButtonBox.StandardButton.Apply)
        self._lay_out()
        self.batch.textChanged.connect(lambda _: self.renamed())
        self.which.activated.connect(lambda _: self.refit())
        self.apply.clicked.connect(lambda: self._apply())
        self.buttons.rejected.connect(self.reject)

    def _lay_out(self) -> None:
        form, foot, layout = QFormLayout(), QHBoxLayout(), QVBoxLayout(self)
        form.addRow("Batch", self.batch)
        form.addRow("Control cores", self.which)
        foot.addLayout(self._buttons)
        foot.addStretch()
        foot.addWidget(self.buttons)
        purpose = QLabel(self.purpose)
        purpose.setWordWrap(True)
        layout.addWidget(purpose)
        layout.addLayout(form)
        layout.addLayout(self._results)
        layout.addStretch()
        layout.addLayout(foot)

    # --- what each kind of calibration does for itself -------------------------------------------------------------

    def fit(self, names: Sequence[str]) -> None:
        """Fit to these control cores, and show what came of it."""
        raise NotImplementedError

    def load(self, path: Path) -> tuple[str, Any, str]:
        """Read a file: the batch that it is for, what it holds, and what to tell of it.

        Raises
        ------
        HER2Error
            If it cannot be used here.
        """
        raise NotImplementedError

    def store(self, path: Path) -> None:
        """Write what was found, under the name that the batch has now."""
        raise NotImplementedError

    def use(self) -> None:
        """Work with what was found from now on, under the name that the batch has now."""
        raise NotImplementedError

    def show_details(self, found: Any) -> None:
        """Tell what was found beside the sentence; None: nothing was."""
        raise NotImplementedError

    def renamed(self) -> None:
        """Follow another name of the batch."""
        self._check_name()

    # --- what they have in common ----------------------------------------------------------------------------------

    def add_button(self, text: str, act: Callable[[], None], tip: str = "") -> QPushButton:
        """Add a button to those that are there."""
        button = QPushButton(text)
        button.setToolTip(tip)
        button.setAutoDefault(False)
        button.clicked.connect(lambda: act())
        self._buttons.addWidget(button)
        return button

    def add_results(self, *labels: QLabel) -> None:
        """Lay out the sentence and the details, in this order."""
        for label in labels:
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            self._results.addWidget(label)

    def refit(self) -> None:
        """Fit to the control cores that are chosen."""
        self.fit(self._ways[self.which.currentText()])

    def show_found(self, found: Any, sentence: str) -> None:
        """Show what was fitted or opened; with None, the sentence says why there is nothing to use."""
        self.found = found
        self.sentence.setText(sentence)
        self.show_details(found)
        self._check_name()

    def _check_name(self) -> None:
        named = bool(self.batch.text().strip())
        for button, tip in ((self.apply, ""), (self.save, self.save_tip)):
            button.setEnabled(self.found is not None and named)
            button.setToolTip(tip if named else "Name the batch first.")

    def _open(self) -> None:
        path = ask.calibration_file(self)
        if path is None:
            return
        try:
            batch, found, sentence = self.load(path)
        except HER2Error as error:
            self.show_found(None, str(error))
            return
        with QSignalBlocker(self.batch):
            self.batch.setText(batch)
        self.show_found(found, sentence)

    def _save(self) -> None:
        if self.found is None:
            return
        path = ask.save_calibration(f"{safe_name(self.batch.text().strip())}{self.ending}", self)
        if path is not None:
            self.store(path)

    def _apply(self) -> None:
        if self.found is not None:
            self.use()
        self.accept()
