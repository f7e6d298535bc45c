"""Step 2: find the cores, and select some."""

from __future__ import annotations

from collections.abc import Callable

from napari.layers import Shapes
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton

from napari_her2.viewer import selection
from napari_her2.viewer.grid_editor import GridEditor
from napari_her2.viewer.session import Session
from napari_her2.viewer.widgets.card import StepCard, restyle, yielding

__all__ = ["CoresBox"]

_BUTTONS: dict[str, tuple[Callable[[Shapes], None], str]] = {
    "All": (selection.select_all, "Select every core that holds tissue."),
    "None": (selection.select_none, "Select nothing."),
    "Invert": (selection.invert, "Select the cores with tissue that are not selected now."),
    "Row": (selection.select_rows, "Widen the selection to whole rows."),
    "Column": (selection.select_columns, "Widen the selection to whole columns."),
    "Patient": (selection.select_patients, "Widen the selection to all cores of the same patients."),
}


class CoresBox(StepCard):
    """The button that finds cores, and those that select them; clicks and boxes are napari's own select mode."""

    def __init__(self, session: Session, editor: GridEditor) -> None:
        super().__init__(2, "Cores")
        self._session, self._editor = session, editor
        self.find = QPushButton("Find cores")
        self.find.setToolTip("Look for the cores of the array, and name them by row and column.")
        self.find.clicked.connect(lambda: session.find())
        self.edit = QPushButton("Check and mend the grid…")
        self.edit.setToolTip("Doubtful cores, names, rows and columns, TMA map, drawing by hand; undo for all of it.")
        self.restore = QPushButton()
        self.restore.clicked.connect(lambda: editor.restore())
        self.selected = QLabel()
        self.buttons = {name: QPushButton(name) for name in _BUTTONS}
        row = QHBoxLayout()
        row.setSpacing(3)
        for name, (select, tip) in _BUTTONS.items():
            self.buttons[name].setToolTip(tip)
            self.buttons[name].clicked.connect(lambda _=False, select=select: self._select(select))
            yielding(self.buttons[name])
            row.addWidget(self.buttons[name], len(name) + 3)
        for widget in (self.find, self.restore, self.edit, self.selected):
            self.body.addWidget(widget)
        self.body.addLayout(row)

    def refresh(self, is_next: bool) -> None:
        """Show the session."""
        session, layer = self._session, self._session.cores_layer
        self.find.setEnabled(session.slide is not None and not session.working)
        self.find.setVisible(layer is None)
        restyle(self.find, "primary", str(is_next).lower())
        self.edit.setEnabled(session.slide is not None)
        doubtful = len(session.grid().doubtful)
        self.edit.setText(f"Check and mend the grid ({doubtful} doubtful)…" if doubtful else "Check and mend the grid…")
        saved = "" if layer is not None else self._editor.saved()
        self.restore.setVisible(bool(saved))
        self.restore.setText(f"Take up the cores of {saved}")
        self.restore.setToolTip("The cores of this slide as they stood when it was last worked on.")
        grid = session.grid()
        empty = len(grid) - len(grid.scorable)
        self.summary.setText(
            "" if layer is None else f"{len(grid)} found, {empty} without tissue" if empty else f"{len(grid)} found"
        )
        for name, button in self.buttons.items():
            button.setEnabled(layer is not None)
            button.setVisible(name != "Patient" or any(core.patient_id for core in grid))
        self.refresh_selection()

    def refresh_selection(self) -> None:
        """Show how many cores are selected."""
        layer = self._session.cores_layer
        self.selected.setVisible(layer is not None)
        self.selected.setText("" if layer is None else selection.selection_text(layer))

    def _select(self, select: Callable[[Shapes], None]) -> None:
        layer = self._session.cores_layer
        if layer is None:
            return
        widening = (selection.select_rows, selection.select_columns, selection.select_patients)
        if select in widening and not layer.selected_data:
            self._session.said.emit("Click a core first: its row, column or patient is then selected whole.", False)
            return
        self._session.viewer.layers.selection.active = layer
        layer.mode = "select"
        select(layer)
