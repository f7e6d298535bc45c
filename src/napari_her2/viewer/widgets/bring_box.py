"""What is brought in or kept: a grid drawn by hand, one of another slide, a TMA map, files; and what is known."""

from __future__ import annotations

from napari.layers import Shapes
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QLineEdit, QMenu, QPushButton

from napari_her2.dearray import DearrayParams
from napari_her2.errors import HER2Error
from napari_her2.table import COLUMNS
from napari_her2.viewer import ask
from napari_her2.viewer.cores_layer import grid_of_layer
from napari_her2.viewer.grid_editor import GridEditor
from napari_her2.viewer.widgets.card import Card, yielding
from napari_her2.viewer.widgets.draw_box import DrawBox
from napari_her2.viewer.widgets.map_dialog import MapDialog

__all__ = ["BringBox"]


class BringBox(Card):
    """Buttons; the drawing itself is led by `draw`."""

    def __init__(self, editor: GridEditor, draw: DrawBox) -> None:
        super().__init__("Other ways to a grid")
        self._editor = editor
        self.draw, self.reuse, self.map = (QPushButton(t) for t in ("Draw by hand", "Of another slide", "TMA map…"))
        self.open, self.save = QPushButton("Open…"), QPushButton("Save…")
        self.menu = QMenu(self)
        self.menu.aboutToShow.connect(self._list_slides)
        self.reuse.setMenu(self.menu)
        for button, tip, act in (
            (self.draw, "Draw a rectangle of rows and columns; it is laid onto the tissue.", draw.start),
            (self.map, "Give cores their patients: a table or a matrix, from a file or the clipboard.", self._map),
            (self.open, "Take the cores of a file: .cores.geojson, .cores.csv, .qptma.", self._open),
            (self.save, "Write the cores, with all that is known of them, into one file.", self._save),
        ):
            button.setToolTip(tip)
            button.clicked.connect(lambda _=False, act=act: act())
        self.reuse.setToolTip("Find the cores of another section of the same block; names and patients come along.")
        for buttons in ((self.draw, self.reuse), (self.map, self.open, self.save)):
            row = QHBoxLayout()
            row.setSpacing(3)
            yielding(*buttons)
            for button in buttons:
                row.addWidget(button, 1)
            self.body.addLayout(row)
        self._lay_out_known()

    def refresh(self) -> None:
        """What can be done now."""
        session = self._editor.session
        ready = session.slide is not None and not session.working
        for button in (self.draw, self.reuse, self.open, self.again):
            button.setEnabled(ready)
        for button in (self.map, self.save):
            button.setEnabled(session.cores_layer is not None)
        self.unit.setText("Core ⌀, px" if session.slide is None or session.slide.mpp is None else "Core ⌀, mm")
        self.again.setText("Find cores" if session.cores_layer is None else "Find again")

    def _lay_out_known(self) -> None:
        self.diameter, self.rows, self.columns = QLineEdit(), QLineEdit(), QLineEdit()
        self.again = QPushButton("Find again")
        self.again.setToolTip("Find the cores with what you know; what you leave empty is found.")
        self.again.clicked.connect(lambda: self._find())
        self.unit = QLabel()
        grid = QGridLayout()
        grid.setSpacing(4)
        known = (self.unit, self.diameter), (QLabel("Rows"), self.rows), (QLabel("Columns"), self.columns)
        for column, (label, field) in enumerate(known):
            label.setObjectName("faint")
            grid.addWidget(label, 0, column)
            grid.addWidget(field, 1, column)
            yielding(field)
            field.setPlaceholderText("found")
        grid.addWidget(self.again, 1, 3)
        self.body.addLayout(grid)

    def _find(self) -> None:
        session = self._editor.session
        try:
            known = [_number(field) for field in (self.diameter, self.rows, self.columns)]
        except ValueError as error:
            session.said.emit(f'"{error}" is no number: correct it, or leave the field empty.', True)
            return
        diameter, rows, columns = known
        in_mm = session.slide is not None and session.slide.mpp is not None
        session.params = DearrayParams(
            core_diameter_um=diameter * 1000 if diameter is not None and in_mm else None,
            core_diameter_px=diameter if not in_mm else None,
            rows=None if rows is None else int(rows),
            columns=None if columns is None else int(columns),
        )
        session.find()

    def _list_slides(self) -> None:
        session = self._editor.session
        self.menu.clear()
        for layer in session.viewer.layers:
            cores = isinstance(layer, Shapes) and set(COLUMNS) <= set(layer.features.columns)
            if cores and layer is not session.cores_layer:
                self.menu.addAction(layer.name, lambda layer=layer: self._reuse(layer))
        self.menu.addAction("From a file…", self._reuse_file)

    def _reuse(self, layer: Shapes) -> None:
        try:
            self._editor.reuse(grid_of_layer(layer), layer.name)
        except HER2Error as error:
            self._editor.session.said.emit(str(error), True)

    def _reuse_file(self) -> None:
        from napari_her2.export import read_cores

        path = ask.cores_file(self)
        if path is None:
            return
        try:
            self._editor.reuse(read_cores(path), path.name)
        except HER2Error as error:
            self._editor.session.said.emit(str(error), True)

    def _map(self) -> None:
        MapDialog(self._editor, self).show()

    def _open(self) -> None:
        path = ask.cores_file(self)
        if path is not None:
            self._editor.open(path)

    def _save(self) -> None:
        session = self._editor.session
        if session.slide is not None:
            path = ask.save_cores(f"{session.slide.name}.cores.geojson", self)
            if path is not None:
                self._editor.save(path)


def _number(field: QLineEdit) -> float | None:
    text = field.text().strip().replace(",", ".")
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(text) from None
