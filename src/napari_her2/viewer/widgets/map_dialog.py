"""MapDialog: a TMA map from a file or the clipboard, looked at on the grid before it is applied."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtGui import QBrush, QColor
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_her2.cores import Core, CoreState
from napari_her2.errors import HER2Error
from napari_her2.tma_map import MapMatch, MapRow, TmaMap, match_map, parse_map, read_map
from napari_her2.viewer import ask
from napari_her2.viewer.grid_editor import GridEditor

__all__ = ["MapDialog"]

_HINT = (
    "A table with one row a core (core name, or row and column; patient; anything else), or a matrix of patient ids. "
    "CSV, TSV, XLSX or QuPath's .qpmap."
)
_CONFLICT, _NEW, _EMPTY = QColor(178, 58, 52, 150), QColor(46, 139, 87, 130), QColor(128, 128, 128, 60)


class MapDialog(QDialog):
    """Nothing is changed before Apply, and that can be undone."""

    def __init__(self, editor: GridEditor, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("TMA map: which core is whose")
        self.resize(760, 560)
        self._editor = editor
        self._ways: dict[str, TmaMap] = {}
        self.match: MapMatch | None = None
        self.file, self.paste, self.way = QPushButton("File…"), QPushButton("Paste"), QComboBox()
        self.file.clicked.connect(lambda: self._choose())
        self.paste.setToolTip("Cells copied in a spreadsheet.")
        self.paste.clicked.connect(lambda: self._paste())
        self.way.activated.connect(lambda _: self._match())
        self.summary, self.remarks = QLabel(_HINT), QLabel()
        for label in (self.summary, self.remarks):
            label.setWordWrap(True)
        self.table, self.rest = QTableWidget(), QPlainTextEdit()
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.setMinimumHeight(200)
        self.rest.setReadOnly(True)
        self.rest.setMaximumHeight(110)
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Apply | QDialogButtonBox.StandardButton.Cancel)
        self.apply = self.buttons.button(QDialogButtonBox.StandardButton.Apply)
        self.apply.clicked.connect(lambda: self._apply())
        self.buttons.rejected.connect(self.reject)
        head = QHBoxLayout()
        for widget in (self.file, self.paste, self.way):
            head.addWidget(widget)
        head.addStretch()
        layout = QVBoxLayout(self)
        layout.addLayout(head)
        for widget in (self.summary, self.remarks, self.table, self.rest, self.buttons):
            layout.addWidget(widget)
        self._show()

    def load(self, read: Callable[[], TmaMap]) -> None:
        """Take a map, and show how it fits."""
        try:
            self._ways = {"as it stands": read()}
        except HER2Error as error:
            self._ways, self.match = {}, None
            self._show(str(error))
            return
        first = match_map(self._editor.session.grid(), self._ways["as it stands"])
        self._ways |= first.alternatives
        self.way.clear()
        self.way.addItems(list(self._ways))
        if first.problem and first.alternatives:
            # the map fits in another way only: that is shown, and said
            self.way.setCurrentIndex(1)
        self._match()

    def _choose(self) -> None:
        path = ask.map_file(self)
        if path is not None:
            self.load(lambda: read_map(path))

    def _paste(self) -> None:
        clipboard = QApplication.clipboard()
        text = clipboard.text() if clipboard is not None else ""
        self.load(lambda: parse_map(text))

    def _match(self) -> None:
        self.match = match_map(self._editor.session.grid(), self._ways[self.way.currentText()])
        self._show()

    def _apply(self) -> None:
        if self.match is not None:
            self._editor.apply_map(self.match)
        self.accept()

    def _show(self, error: str = "") -> None:
        match = self.match
        self.way.setVisible(len(self._ways) > 1)
        self.summary.setText(error or (match.summary if match is not None else _HINT))
        self.remarks.setText(" ".join(match.remarks) if match is not None else "")
        self.remarks.setVisible(bool(self.remarks.text()))
        fits = match is not None and not match.problem
        self.apply.setEnabled(fits)
        self.apply.setText(f"Apply to {len(match.matched)} cores" if match is not None and fits else "Apply")
        rest = [] if match is None else _left_over(match)
        self.rest.setPlainText("\n".join(rest))
        self.rest.setVisible(bool(rest))
        self._fill_table()

    def _fill_table(self) -> None:
        """The grid as it lies on the slide, each cell with the patient that the core would have."""
        grid, match = self._editor.session.grid(), self.match
        lines = sorted({(core.block, core.row) for core in grid if core.row >= 0}, key=_natural)
        columns = 1 + max((core.column for core in grid), default=-1)
        self.table.clear()
        self.table.setRowCount(len(lines))
        self.table.setColumnCount(max(0, columns))
        self.table.setVerticalHeaderLabels([_line_name(core_line, grid.cores) for core_line in lines])
        self.table.setHorizontalHeaderLabels([str(n + 1) for n in range(max(0, columns))])
        for core in grid:
            if core.row >= 0:
                self.table.setItem(lines.index((core.block, core.row)), core.column, _cell(core, match))
        self.table.resizeColumnsToContents()


def _cell(core: Core, match: MapMatch | None) -> QTableWidgetItem:
    patient = core.patient_id if match is None else match.preview.get(core.name, "")
    item = QTableWidgetItem(patient or core.name)
    if not patient:
        item.setForeground(QBrush(QColor(128, 128, 128)))
    if core.state is not CoreState.TISSUE:
        item.setBackground(QBrush(_EMPTY))
    elif match is not None and core.name in match.duplicates:
        item.setBackground(QBrush(_CONFLICT))
    elif match is not None and core.name in match.matched:
        item.setBackground(QBrush(_NEW))
    said = "; ".join(
        f"{k}: {v}" for k, v in (match.matched.get(core.name, {}) if match is not None else {}).items() if v
    )
    item.setToolTip(f"{core.name} ({core.state}){': ' + said if said else ''}")
    return item


def _left_over(match: MapMatch) -> list[str]:
    """What could not be laid on the grid, line by line."""
    rows = [f"No core for {_row_text(row)}" for row in match.unmatched]
    for name, several in match.duplicates.items():
        rows.append(f"{name} has rows that disagree: " + " / ".join(_row_text(row) for row in several))
    if match.without_row:
        rows.append(f"No row for {len(match.without_row)} cores: {', '.join(match.without_row)}")
    return rows


def _row_text(row: MapRow) -> str:
    where = row.core or "-".join(part for part in (row.row, row.column) if part)
    said = ", ".join(value for value in row.values.values() if value)
    return f"line {row.line} ({where}{': ' if where and said else ''}{said})"


def _line_name(line: tuple[str, int], cores: tuple[Core, ...]) -> str:
    """Name of a line by its first core, without the last part."""
    names = [core.name for core in cores if (core.block, core.row) == line]
    first = names[0].rsplit("-", 1)[0] if names else ""
    return first if len({name.rsplit("-", 1)[0] for name in names}) == 1 else str(line[1] + 1)


def _natural(line: tuple[str, int]) -> tuple[int, str, int]:
    return len(line[0]), line[0], line[1]
