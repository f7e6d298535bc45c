"""GridPage: checking and mending the grid, on the second page of the widget."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_her2.viewer.grid_editor import GridEditor
from napari_her2.viewer.widgets.bring_box import BringBox
from napari_her2.viewer.widgets.card import yielding
from napari_her2.viewer.widgets.check_box import CheckBox
from napari_her2.viewer.widgets.draw_box import DrawBox
from napari_her2.viewer.widgets.lines_box import LinesBox
from napari_her2.viewer.widgets.names_box import NamesBox

__all__ = ["GridPage"]


class GridPage(QWidget):
    """Undo and redo above, then the list of cores, names, lines, and other ways to a grid."""

    def __init__(self, editor: GridEditor, leave: Callable[[], None]) -> None:
        super().__init__()
        self._session = editor.session
        self.back, self.undo, self.redo = QPushButton("‹ Score"), QPushButton("↶ Undo"), QPushButton("↷ Redo")
        self.back.setToolTip("Back to the steps; all edits are kept.")
        self.back.clicked.connect(lambda: leave())
        self.undo.clicked.connect(lambda: self._session.watch.undo())
        self.redo.clicked.connect(lambda: self._session.watch.redo())
        self.name = QLabel()
        self.name.setObjectName("title")
        self.check, self.names, self.lines = CheckBox(editor), NamesBox(editor), LinesBox(editor)
        self.draw = DrawBox(editor)
        self.bring = BringBox(editor, self.draw)
        head = QHBoxLayout()
        yielding(self.back, self.undo, self.redo)
        for button in (self.back, self.undo, self.redo):
            head.addWidget(button, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(6)
        layout.addLayout(head)
        for card in (self.draw, self.check, self.names, self.lines, self.bring):
            layout.addWidget(card, 1 if card is self.check else 0)
        layout.addStretch()

    def refresh(self) -> None:
        """Show the session."""
        watch = self._session.watch
        for button, what, key in ((self.undo, watch.undoes, "Ctrl+Z"), (self.redo, watch.redoes, "Ctrl+Shift+Z")):
            button.setEnabled(bool(what))
            button.setToolTip(f"{what[:1].upper()}{what[1:]} ({key})" if what else "")
        drawing = self.draw.drawing is not None
        for card in (self.check, self.names, self.lines):
            card.setVisible(self._session.cores_layer is not None and not drawing)
        self.bring.setVisible(not drawing)
        self.check.refresh()
        self.names.refresh()
        self.lines.refresh()
        self.bring.refresh()

    def refresh_selection(self) -> None:
        """Show which cores are selected."""
        self.check.refresh_selection()
        self.lines.refresh()
