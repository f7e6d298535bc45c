"""What is brought in or kept: a grid drawn by hand, one of another slide, a TMA map, files; and what is known."""

from __future__ import annotations

from collections.abc import Mapping

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

_LABELS = ("⌀", "Pitch", "Turn °", "Rows", "Cols", "Blocks")
_TIPS = {
    "diameter": "Diameter of a core.",
    "pitch": "Distance between the centres of neighbouring cores.",
    "turn": "How far the rows are turned, -45 to 45 degrees; positive where they run down to the right.",
    "rows": "Rows of the grid, empty ones included.",
    "columns": "Columns of the grid, empty ones included.",
    "blocks": "Fields of cores with wider gaps between them; 1: the gaps count as rows and columns.",
}


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
        unit = "px" if session.slide is None or session.slide.mpp is None else "mm"
        for name, label in (("diameter", "⌀"), ("pitch", "Pitch")):
            self.units[name].setText(f"{label} {unit}")
        self.again.setText("Find cores" if session.cores_layer is None else "Find again")

    def _lay_out_known(self) -> None:
        self.known = {name: QLineEdit() for name in ("diameter", "pitch", "turn", "rows", "columns", "blocks")}
        self.units = {name: QLabel(text) for name, text in zip(self.known, _LABELS, strict=True)}
        self.again = QPushButton("Find again")
        self.again.setToolTip("Find the cores with what you know; what you leave empty is found.")
        self.again.clicked.connect(lambda: self._find())
        grid = QGridLayout()
        grid.setSpacing(4)
        for number, (name, field) in enumerate(self.known.items()):
            row, column = divmod(number, 3)
            self.units[name].setObjectName("faint")
            field.setPlaceholderText("auto")
            field.setToolTip(_TIPS[name])
            yielding(field)
            grid.addWidget(self.units[name], row, 2 * column)
            grid.addWidget(field, row, 2 * column + 1)
            grid.setColumnStretch(2 * column + 1, 1)
        self.body.addLayout(grid)
        self.body.addWidget(self.again)

    def _find(self) -> None:
        session = self._editor.session
        try:
            known = {name: _number(field) for name, field in self.known.items()}
            session.params = _params(known, in_mm=session.slide is not None and session.slide.mpp is not None)
        except ValueError as error:
            session.said.emit(f'"{error}" is no number: correct it, or leave the field empty.', True)
        except HER2Error as error:
            session.said.emit(str(error), True)
        else:
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


def _params(known: Mapping[str, float | None], *, in_mm: bool) -> DearrayParams:
    lengths = {
        f"{name}_{'um' if in_mm else 'px'}": value * (1000 if in_mm else 1)
        for name, value in (("core_diameter", known["diameter"]), ("pitch", known["pitch"]))
        if value is not None
    }
    # a number of rows that is not whole is refused there, in a sentence
    counts = {n: int(v) if v.is_integer() else v for n in ("rows", "columns", "blocks") if (v := known[n]) is not None}
    return DearrayParams(**lengths, **counts, rotation_degrees=known["turn"])  # type: ignore[arg-type]
