"""CalibrateDialog: cut points fitted to the cores that were read, looked at before they are applied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from qtpy.QtWidgets import QLabel, QWidget

from napari_her2.errors import HER2Error
from napari_her2.viewer import calibrating
from napari_her2.viewer.calibrating import Preview
from napari_her2.viewer.grid_editor import GridEditor
from napari_her2.viewer.widgets.controls_dialog import ControlsDialog

__all__ = ["CalibrateDialog"]


class CalibrateDialog(ControlsDialog):
    """Scores follow the cut points, and that can be undone."""

    title = "Calibrate on control cores"
    purpose = (
        "Staining differs from run to run. The cut points between the scores, and nothing else of the model, are "
        "refitted so that control cores whose score you know come out right: at least 3 of two scores, better 8 of "
        "all four."
    )
    named, ending = "score", ".calibration.json"
    open_tip = "A calibration of this batch that was saved before."
    save_tip = "For other slides of the batch, and for napari-her2 score --calibration."

    def __init__(self, editor: GridEditor, parent: QWidget | None = None) -> None:
        session = editor.session
        batch = calibrating.batch_of(session.model)
        name = batch or (session.slide.name if session.slide else "")
        super().__init__(name, calibrating.read_cores(session), {core.name for core in editor.chosen()}, parent)
        self._session = session
        self.resize(520, 330)
        self.own = self.add_button("Own cut points", self._own, "Back to the cut points that the model came with.")
        self.own.setEnabled(bool(batch))
        self.right, self.changes = QLabel(), QLabel()
        self.right.setStyleSheet("font-size: 15px; font-weight: bold;")
        self.add_results(self.right, self.sentence, self.changes)
        self.refit()

    def fit(self, names: Sequence[str]) -> None:
        """Fit cut points to these cores; quick, as no network runs."""
        try:
            preview = calibrating.preview(self._session, names, self.batch.text().strip())
        except HER2Error as error:
            self.show_found(None, str(error))
        else:
            self.show_found(preview, preview.sentence)

    def load(self, path: Path) -> tuple[str, Preview, str]:
        """Read a calibration and say what would change."""
        preview = calibrating.load_calibration(self._session, path)
        return calibrating.batch_of(preview.model), preview, preview.sentence

    def store(self, path: Path) -> None:
        """Write the calibration."""
        calibrating.save_calibration(self._session, self.found.model, path)

    def use(self) -> None:
        """Score with these cut points."""
        calibrating.use_cuts(self._session, self.found.model)

    def show_details(self, found: Preview | None) -> None:
        """Tell how many controls are right before and after, and which scores would change."""
        before, after, n = (0, 0, 0) if found is None else found.right
        self.right.setText(f"Right: {before} of {n} before, {after} after")
        self.right.setVisible(found is not None)
        self.changes.setText("" if found is None else _changes(found))

    def renamed(self) -> None:
        """Fit again: the name of the batch is part of the calibration."""
        self.refit()

    def _own(self) -> None:
        calibrating.use_own_cuts(self._session)
        self.accept()


def _changes(preview: Preview) -> str:
    """How many scores of the slide would be other ones, and which way."""
    if not preview.changes:
        return "No score on this slide would be another."
    ways = Counter((now, then) for _, now, then in preview.changes)
    told = ", ".join(f"{n} from {now} to {then}" for (now, then), n in ways.most_common())
    some = ", ".join(name for name, _, _ in preview.changes[:8]) + (" …" if len(preview.changes) > 8 else "")
    return f"{len(preview.changes)} scores on this slide would be other ones: {told} ({some})."
