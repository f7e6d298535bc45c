"""The few questions that the viewer asks; a script or a test puts its own answers in their place."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QInputDialog, QMessageBox, QWidget

__all__ = [
    "calibration_file",
    "confirm",
    "cores_file",
    "folder",
    "map_file",
    "model",
    "nuclei_weights",
    "save_calibration",
    "save_cores",
    "save_stains",
    "stains_file",
    "text",
]


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


def text(question: str, parent: QWidget | None = None) -> str:
    """A line of text; "" when the user changes their mind."""
    answer, given = QInputDialog.getText(parent, "HER2 scoring", question)
    return str(answer).strip() if given else ""


def cores_file(parent: QWidget | None = None) -> Path | None:
    """A file of cores to read."""
    kinds = "Cores (*.geojson *.json *.csv *.qptma);;All files (*)"
    chosen, _ = QFileDialog.getOpenFileName(parent, "Cores", "", kinds)
    return Path(chosen) if chosen else None


def map_file(parent: QWidget | None = None) -> Path | None:
    """A TMA map to read."""
    kinds = "TMA map (*.csv *.tsv *.txt *.xlsx *.qpmap);;All files (*)"
    chosen, _ = QFileDialog.getOpenFileName(parent, "TMA map", "", kinds)
    return Path(chosen) if chosen else None


def save_cores(name: str, parent: QWidget | None = None) -> Path | None:
    """Where to write cores; Qt asks before a file that is there is replaced."""
    kinds = "Cores, reopened exactly (*.cores.geojson);;Table (*.cores.csv);;QuPath TMA grid (*.qptma)"
    chosen, _ = QFileDialog.getSaveFileName(parent, "Save the cores", name, kinds)
    return Path(chosen) if chosen else None


def calibration_file(parent: QWidget | None = None) -> Path | None:
    """A calibration to read."""
    chosen, _ = QFileDialog.getOpenFileName(parent, "Calibration", "", "Calibration (*.json);;All files (*)")
    return Path(chosen) if chosen else None


def save_calibration(name: str, parent: QWidget | None = None) -> Path | None:
    """Where to write a calibration; Qt asks before a file that is there is replaced."""
    chosen, _ = QFileDialog.getSaveFileName(parent, "Save the calibration", name, "Calibration (*.calibration.json)")
    return Path(chosen) if chosen else None


def stains_file(parent: QWidget | None = None) -> Path | None:
    """Stains of another slide to read."""
    chosen, _ = QFileDialog.getOpenFileName(parent, "Stains of another slide", "", "Stains (*.json);;All files (*)")
    return Path(chosen) if chosen else None


def nuclei_weights(finder: str, parent: QWidget | None = None) -> Path | None:
    """Weights of a finder of nuclei: a folder for StarDist, a file for the others."""
    title = f"Weights of {finder}"
    if finder == "stardist":
        chosen = QFileDialog.getExistingDirectory(parent, title)
    else:
        chosen, _ = QFileDialog.getOpenFileName(parent, title, "", "All files (*)")
    return Path(chosen) if chosen else None


def save_stains(name: str, parent: QWidget | None = None) -> Path | None:
    """Where to write stains; Qt asks before a file that is there is replaced."""
    chosen, _ = QFileDialog.getSaveFileName(parent, "Save the stains", name, "Stains (*.json)")
    return Path(chosen) if chosen else None
