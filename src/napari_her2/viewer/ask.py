"""The few questions that the viewer asks; a script or a test puts its own answers in their place."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

__all__ = ["confirm", "folder", "model"]


def confirm(question: str, yes: str, no: str = "Cancel", parent: QWidget | None = None) -> bool:
    """Ask before something is lost; the answer that loses nothing is the default."""
    box = QMessageBox(QMessageBox.Icon.Question, "HER2 scoring", question, parent=parent)
    agree = box.addButton(yes, QMessageBox.ButtonRole.AcceptRole)
    box.setDefaultButton(box.addButton(no, QMessageBox.ButtonRole.RejectRole))
    box.exec()
    return box.clickedButton() is agree


def folder(start: Path | None = None, parent: QWidget | None = None) -> Path | None:
    """Folder to write results into; None when the user changes their mind."""
    chosen = QFileDialog.getExistingDirectory(parent, "Folder for the results", str(start or Path.home()))
    return Path(chosen) if chosen else None


def model(parent: QWidget | None = None) -> Path | None:
    """A model file of the user's own."""
    chosen, _ = QFileDialog.getOpenFileName(parent, "Scoring model", "", "Scoring model (*.safetensors)")
    return Path(chosen) if chosen else None
