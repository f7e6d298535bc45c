"""How the cores are named: labels of rows and columns, which comes first, where A-1 is, sectors."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QLineEdit

from napari_her2.viewer.grid_editor import GridEditor
from napari_her2.viewer.widgets.card import Card, yielding

__all__ = ["NamesBox"]

_CORNERS = {"top-left": "↖", "top-right": "↗", "bottom-left": "↙", "bottom-right": "↘"}


class NamesBox(Card):
    """Each choice acts at once, and can be undone."""

    def __init__(self, editor: GridEditor) -> None:
        super().__init__("Names")
        self._editor = editor
        self.rows, self.columns = QLineEdit(), QLineEdit()
        self.order, self.corner, self.sectors = QComboBox(), QComboBox(), QComboBox()
        for field, example in ((self.rows, "A-J"), (self.columns, "1-16")):
            field.setPlaceholderText(example)
            field.setToolTip(f"Labels, as in {example}, H-A, 01-16, or one after the other: A B D.")
            field.editingFinished.connect(self._rename)
        self.order.setToolTip("Which label comes first in the name of a core.")
        self.order.activated.connect(lambda _: self._rename(always=True))
        for corner, arrow in _CORNERS.items():
            self.corner.addItem(arrow, corner)
            self.corner.setItemData(self.corner.count() - 1, corner.replace("-", " "), Qt.ItemDataRole.ToolTipRole)
        self.corner.setToolTip("The corner of the array, as you see it, where counting begins.")
        self.corner.activated.connect(lambda _: editor.renumber(self.corner.currentData()))
        self.sectors.addItems(["straight through", "sector by sector"])
        self.sectors.setToolTip("Wider gaps between rows or columns part an array into sectors.")
        self.sectors.activated.connect(lambda i: editor.sectors(bool(i)))
        yielding(self.rows, self.columns, self.order, self.corner, self.sectors)
        grid = QGridLayout()
        grid.setSpacing(4)
        for row, column, text, field in (
            (0, 0, "Rows", self.rows),
            (0, 2, "Columns", self.columns),
            (1, 0, "Names", self.order),
            (1, 2, "Count from", self.corner),
            (2, 0, "Sectors", self.sectors),
        ):
            grid.addWidget(QLabel(text), row, column)
            grid.addWidget(field, row, column + 1, 1, 3 if field is self.sectors else 1)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)
        self.body.addLayout(grid)

    def refresh(self) -> None:
        """Show how the cores are named now."""
        editor, grid = self._editor, self._editor.session.grid()
        naming = editor.naming()
        cores = [core for core in grid if core.row >= 0]
        size = [1 + max((getattr(core, axis) for core in cores), default=-1) for axis in ("row", "column")]
        self.summary.setText(f"{size[0]} rows × {size[1]} columns" if cores else "")
        for field, labels in ((self.rows, naming.rows), (self.columns, naming.columns)):
            if not field.hasFocus():
                field.setText(_short(labels))
                field.setModified(False)
        first, second = (labels[0] if labels else "?" for labels in (naming.rows, naming.columns))
        if self.order.itemText(0) != f"{first}-{second}":
            self.order.clear()
            self.order.addItems([f"{first}-{second}", f"{second}-{first}"])
        self.order.setCurrentIndex(0 if naming.row_first else 1)
        blocks = {core.block for core in cores}
        self.sectors.setCurrentIndex(int(len(blocks) > 1))
        many = len(blocks) if len(blocks) > 1 else editor.count_sectors()
        self.sectors.setItemText(1, f"sector by sector ({many})" if many > 1 else "sector by sector")
        for field in (self.rows, self.columns, self.order, self.corner):
            field.setEnabled(bool(cores))
        self.sectors.setEnabled(many > 1)

    def _rename(self, *, always: bool = False) -> None:
        if always or self.rows.isModified() or self.columns.isModified():
            self.rows.setModified(False)
            self.columns.setModified(False)
            self._editor.rename(self.rows.text(), self.columns.text(), self.order.currentIndex() == 0)


def _short(labels: tuple[str, ...]) -> str:
    """As in "A-J"; all labels where they are no such run."""
    from napari_her2.errors import CoresError
    from napari_her2.naming import parse_labels

    if not labels:
        return ""
    run = f"{labels[0]}-{labels[-1]}"
    try:
        return run if parse_labels(run) == labels else " ".join(labels)
    except CoresError:
        return " ".join(labels)
