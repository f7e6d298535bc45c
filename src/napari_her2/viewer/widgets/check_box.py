"""The list of cores, the doubtful ones first, and what is said of each."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QHeaderView, QPushButton, QToolButton, QTreeWidget, QTreeWidgetItem

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.viewer.grid_editor import GridEditor
from napari_her2.viewer.outline_layer import hide_outlines, show_outlines
from napari_her2.viewer.widgets.card import Card, yielding

__all__ = ["CheckBox"]

_NAME = Qt.ItemDataRole.UserRole


class CheckBox(Card):
    """A line for each core; a click goes there, and the buttons (or keys) decide."""

    def __init__(self, editor: GridEditor) -> None:
        super().__init__("Check")
        self._editor = editor
        self._shown: CoreGrid | None = None
        self.list = QTreeWidget()
        self.list.setHeaderLabels(["Core", "Sure", "Why it should be looked at"])
        self.list.setRootIsDecorated(False)
        self.list.setUniformRowHeights(True)
        self.list.setMinimumHeight(110)
        header = self.list.header()
        header.setMinimumSectionSize(30)
        for column in (0, 1):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        self.list.itemClicked.connect(lambda item, _: editor.go_to(item.data(0, _NAME)))
        self.list.itemActivated.connect(lambda item, _: editor.go_to(item.data(0, _NAME)))
        self.buttons = {name: QPushButton(name) for name in ("Right", "Missing", "Excluded", "Next")}
        for button, tip, act in (
            ("Right", "The selected cores are right as they stand (key C).", editor.confirm),
            ("Missing", "No tissue there, or tissue again (key M).", lambda: editor.mark(CoreState.MISSING)),
            ("Excluded", "Not to be scored, or to be scored again (key X).", lambda: editor.mark(CoreState.EXCLUDED)),
            ("Next", "Go to the next doubtful core (key N).", editor.next_doubtful),
        ):
            self.buttons[button].setToolTip(tip)
            self.buttons[button].clicked.connect(lambda _=False, act=act: act())
        self.outlines = QToolButton()
        self.outlines.setText("Outlines")
        self.outlines.setCheckable(True)
        self.outlines.setToolTip("Show the outline of each core's own tissue.")
        self.outlines.toggled.connect(lambda _: self._show_outlines())
        self.head.addWidget(self.outlines)
        row = QHBoxLayout()
        row.setSpacing(3)
        yielding(*self.buttons.values())
        for button in self.buttons.values():
            row.addWidget(button, 1)
        self.body.addWidget(self.list)
        self.body.addLayout(row)

    def refresh(self) -> None:
        """Show the cores, if they are others than those shown."""
        grid = self._editor.session.grid()
        if grid is self._shown:
            return
        self._shown = grid
        doubtful = grid.doubtful
        rest = [core for core in grid if not core.doubtful]
        self.summary.setText(f"{len(doubtful)} of {len(grid)} doubtful" if len(grid) else "")
        self.list.clear()
        self.list.addTopLevelItems([_line(core) for core in (*doubtful, *rest)])
        self._show_outlines()
        self.refresh_selection()

    def refresh_selection(self) -> None:
        """Mark the lines of the cores selected in the slide."""
        chosen = {core.name for core in self._editor.chosen()}
        self.list.clearSelection()
        first = None
        for i in range(self.list.topLevelItemCount()):
            item = self.list.topLevelItem(i)
            if item is not None and item.data(0, _NAME) in chosen:
                item.setSelected(True)
                first = first or item
        if first is not None:
            self.list.scrollToItem(first)
        for name in ("Right", "Missing", "Excluded"):
            self.buttons[name].setEnabled(bool(chosen))

    def _show_outlines(self) -> None:
        session = self._editor.session
        if session.image is None or session.cores_layer is None:
            return
        layers = session.viewer.layers
        if self.outlines.isChecked():
            show_outlines(layers, session.image, session.cores_layer, session.grid())
        else:
            hide_outlines(layers, session.image)


def _line(core: Core) -> QTreeWidgetItem:
    name = core.name if core.state is CoreState.TISSUE else f"({core.name})"
    sure = "" if core.found_confidence is None else f"{core.found_confidence:.0%}"
    why = core.reason or ("" if core.state is CoreState.TISSUE else str(core.state))
    item = QTreeWidgetItem([name, sure, why])
    item.setData(0, _NAME, core.name)
    item.setToolTip(2, why)
    if core.doubtful:
        font = item.font(0)
        font.setBold(True)
        item.setFont(0, font)
    return item
