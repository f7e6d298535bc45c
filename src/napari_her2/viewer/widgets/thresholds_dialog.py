"""ThresholdsDialog: thresholds of measured staining fitted to control cores, looked at before they are used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QWidget

from napari_her2.colours import SCORE_COLOURS
from napari_her2.errors import HER2Error
from napari_her2.membrane import Thresholds
from napari_her2.membrane.batch import BatchThresholds
from napari_her2.viewer import thresholds
from napari_her2.viewer.measuring import Measuring
from napari_her2.viewer.selection import selected_names
from napari_her2.viewer.thresholds import Fit
from napari_her2.viewer.widgets.controls_dialog import ControlsDialog

__all__ = ["ThresholdsDialog"]

#: Controls that are listed; more are summed up.
_LISTED = 12


class ThresholdsDialog(ControlsDialog):
    """The controls are measured in the background; cores that are measured stay so until they are measured again."""

    title = "Calibrate thresholds on control cores"
    purpose = (
        "How brown a membrane has to be for weak, moderate or intense differs from run to run and scanner to scanner. "
        "One factor on the three densities is fitted, so that control cores whose score you know come out right: at "
        "least 3 that are not all 0, better some of every score."
    )
    named, ending = "measurement", ".thresholds.json"
    open_tip = "Thresholds saved here, or by napari-her2 calibrate --measure."
    save_tip = "For other slides of the batch, and for napari-her2 measure --measure-calibration."

    def __init__(self, measuring: Measuring, parent: QWidget | None = None) -> None:
        session, in_use = measuring.session, measuring.batch_in_use
        name = in_use.batch if in_use else session.slide.name if session.slide else ""
        chosen = () if session.cores_layer is None else selected_names(session.cores_layer)
        super().__init__(name, [core.name for core in thresholds.read_cores(measuring)], chosen, parent)
        self._measuring, self._waiting = measuring, False
        self.resize(540, 400)
        own_tip, undoes = "Measure with the thresholds that the plugin comes with.", measuring.undoes_batch
        self.own = self.add_button("Default thresholds", self._own, own_tip)
        self.own.setEnabled(measuring.batch is not None)
        self.undo = self.add_button("Undo", self._undo, f"Back to {undoes}." if undoes else "Nothing was changed yet.")
        self.undo.setEnabled(bool(undoes))
        self.numbers, self.controls = QLabel(), QLabel()
        self.controls.setTextFormat(Qt.TextFormat.RichText)
        self.add_results(self.sentence, self.numbers, self.controls)
        self.finished.connect(lambda _: self._leave())
        session.changed.connect(self._follow)
        self.refit()

    def fit(self, names: Sequence[str]) -> None:
        """Measure these cores, and fit the thresholds to them."""
        cores = [core for core in thresholds.read_cores(self._measuring) if core.name in names]
        why = thresholds.why_not(self._measuring, cores)
        self.show_found(None, why or f"{len(cores)} control cores are being measured, a second or two each…")
        self.which.setEnabled(bool(why))
        if not why:
            self._waiting = True
            thresholds.fit_controls(self._measuring, cores, self._fitted)

    def _follow(self) -> None:
        if self._waiting and not self._measuring.session.busy:
            self._waiting = False
            self.which.setEnabled(True)
            self.show_found(None, "Cancelled. Choose the control cores to measure them after all.")

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
            self.show_found(None, str(fit))
            return
        self.show_found(fit.batch, " ".join([_right(fit.batch), *fit.left_out]))
        self.controls.setText(_table(fit))

    def load(self, path: Path) -> tuple[str, BatchThresholds, str]:
        """Read thresholds that were fitted before."""
        found = thresholds.load_thresholds(self._measuring, path)
        told = f"{path.name}, made {found.when[:10]} on {found.n} control cores. {_right(found)}"
        return found.batch, found, told

    def store(self, path: Path) -> None:
        """Write the thresholds."""
        thresholds.save_thresholds(self._measuring, self._named(), path)

    def use(self) -> None:
        """Measure with these thresholds."""
        self._measuring.use_batch(self._named())

    def _named(self) -> BatchThresholds:
        return thresholds.named(self.found, self.batch.text())

    def show_details(self, found: BatchThresholds | None) -> None:
        """Tell how the thresholds moved."""
        self.numbers.setText("" if found is None else _numbers(found.thresholds))
        self.controls.setText("")

    def _own(self) -> None:
        self._measuring.use_batch(None)
        self.accept()

    def _undo(self) -> None:
        self._measuring.undo_batch()
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
