"""Rows and columns: insert, delete, rename, shift the line of the selected core."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton

from napari_her2.viewer import ask
from napari_her2.viewer.grid_editor import GridEditor
from napari_her2.viewer.widgets.card import Card, yielding

__all__ = ["LinesBox"]


class LinesBox(Card):
    """Acts on the row or column of the core that is selected."""

    def __init__(self, editor: GridEditor) -> None:
        super().__init__("Row or column")
        self._editor = editor
        self.axis = QComboBox()
        self.axis.addItems(["Row", "Column"])
        self.axis.currentIndexChanged.connect(lambda _: self.refresh())
        self.before, self.after, self.delete, self.rename, self.back, self.on = (QPushButton() for _ in range(6))
        for button, tip, act in (
            (self.before, "A line of missing cores before it.", lambda: editor.insert(self._axis, after=False)),
            (self.after, "A line of missing cores after it.", lambda: editor.insert(self._axis, after=True)),
            (self.delete, "Take it off the grid, with its cores; the lines after it move up.", self._delete),
            (self.rename, "Give it another label.", self._rename),
            (self.back, "Its names move back by one; no core moves.", lambda: editor.shift(self._axis, -1)),
            (self.on, "Its names move on by one; no core moves.", lambda: editor.shift(self._axis, 1)),
        ):
            button.setToolTip(tip)
            button.clicked.connect(lambda _=False, act=act: act())
        rows = (self.axis, self.before, self.after), (self.delete, self.rename, self.back, self.on)
        for widgets in rows:
            row = QHBoxLayout()
            row.setSpacing(3)
            yielding(*widgets)
            for widget in widgets:
                row.addWidget(widget, 1)
            self.body.addLayout(row)
        self.refresh()

    def refresh(self) -> None:
        """Name what the buttons would do to the line of the selected core."""
        chosen = [core for core in self._editor.chosen() if core.row >= 0]
        lines = {(core.block, getattr(core, self._axis)) for core in chosen}
        one = len(lines) == 1
        across = self._axis == "row"
        self.before.setText("+ above" if across else "+ left")
        self.after.setText("+ below" if across else "+ right")
        self.delete.setText("Delete")
        self.rename.setText("Rename…")
        self.back.setText("Shift ◂" if across else "Shift ▴")
        self.on.setText("Shift ▸" if across else "Shift ▾")
        for button in (self.before, self.after, self.delete, self.rename, self.back, self.on):
            button.setEnabled(one)
        self.summary.setText("" if one else "select a core")

    @property
    def _axis(self) -> str:
        return ("row", "column")[self.axis.currentIndex()]

    def _delete(self) -> None:
        self._editor.delete(self._axis)

    def _rename(self) -> None:
        label = ask.text(f"New label of the {self._axis}", parent=self)
        if label:
            self._editor.rename_line(self._axis, label)
