"""Drawing a grid by hand: how many rows and columns, what to do next, use it or not."""

from __future__ import annotations

from napari.layers import Shapes
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSpinBox

from napari_her2.viewer.grid_drawing import GridDrawing
from napari_her2.viewer.grid_editor import GridEditor
from napari_her2.viewer.widgets.card import Card, restyle, yielding

__all__ = ["DrawBox"]


class DrawBox(Card):
    """Shown while a grid is drawn."""

    def __init__(self, editor: GridEditor) -> None:
        super().__init__("Draw the grid by hand")
        self._editor = editor
        self.drawing: GridDrawing | None = None
        self._hidden: Shapes | None = None
        self.hint, self.rows, self.columns = QLabel(), QSpinBox(), QSpinBox()
        self.use, self.cancel = QPushButton("Lay onto tissue"), QPushButton("Cancel")
        self.hint.setWordWrap(True)
        size = QHBoxLayout()
        for text, field, value in (("Rows", self.rows, 9), ("Columns", self.columns, 12)):
            yielding(field)
            field.setRange(1, 200)
            field.setValue(value)
            field.valueChanged.connect(self._resize)
            size.addWidget(QLabel(text))
            size.addWidget(field, 1)
        buttons = QHBoxLayout()
        yielding(self.use, self.cancel)
        buttons.addWidget(self.use, 1)
        buttons.addWidget(self.cancel, 1)
        self.use.setToolTip("Each core moves to the tissue near its place; places without any are called missing.")
        self.use.clicked.connect(self._use)
        self.cancel.clicked.connect(lambda: self.stop())
        self.body.addWidget(self.hint)
        self.body.addLayout(size)
        self.body.addLayout(buttons)
        self.setVisible(False)

    def start(self) -> None:
        """Begin to draw on the slide of the session."""
        session = self._editor.session
        self.stop()
        if session.image is None:
            session.said.emit("Open a slide first.", False)
            return
        if session.cores_layer is not None and session.cores_layer.visible:
            # the rings there are would hide those that are drawn
            self._hidden = session.cores_layer
            self._hidden.visible = False
        self.drawing = GridDrawing(session.viewer.layers, session.image, self.rows.value(), self.columns.value())
        self.drawing.changed.connect(self.refresh)
        self.drawing.ended.connect(self._ended)
        self.refresh()
        session.changed.emit()

    def stop(self) -> None:
        """Give the drawing up."""
        if self.drawing is not None:
            self.drawing.close()

    def refresh(self) -> None:
        """Say what to do next."""
        drawing = self.drawing
        self.setVisible(drawing is not None)
        if drawing is None:
            return
        ready = bool(len(drawing.grid))
        if ready:
            hint = "Pull its corners onto the centres of the corner cores; set rows and columns until the rings fit."
        else:
            hint = drawing.why_not or "Drag a rectangle from the centre of the first core to that of the last."
        self.hint.setText(hint)
        self.use.setEnabled(ready)
        restyle(self.use, "primary", str(ready).lower())

    def _resize(self) -> None:
        if self.drawing is not None:
            self.drawing.resize(self.rows.value(), self.columns.value())

    def _use(self) -> None:
        drawing = self.drawing
        if drawing is not None and len(drawing.grid):
            grid = drawing.grid
            drawing.close()
            self._editor.use_drawn(grid)

    def _ended(self) -> None:
        self.drawing = None
        self.setVisible(False)
        if self._hidden is not None:
            self._hidden.visible, self._hidden = True, None
        self._editor.session.changed.emit()
