"""NucleiButton: whose nuclei are measured, found here or by a network whose weights the user has."""

from __future__ import annotations

from qtpy.QtGui import QAction
from qtpy.QtWidgets import QMenu, QToolButton

from napari_her2.finders import BUILT_IN, FINDERS, installed, open_finder, source_of
from napari_her2.viewer import ask
from napari_her2.viewer.measuring import Measuring

__all__ = ["NucleiButton"]

_WORDS = {
    BUILT_IN: "Nuclei found here",
    "cellpose": "By Cellpose…",
    "stardist": "By StarDist…",
    "instanseg": "By InstanSeg…",
}


class NucleiButton(QToolButton):
    """A menu of finders; one other than the built-in asks for its weights, and is opened in the background."""

    def __init__(self, measuring: Measuring) -> None:
        super().__init__()
        self._measuring = measuring
        self.setText("…")
        self.setStyleSheet("QToolButton::menu-indicator { image: none; }")  # it lay over the dots
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        self.ways: dict[str, QAction] = {name: menu.addAction(_said(name)) for name in (BUILT_IN, *FINDERS)}
        for name, way in self.ways.items():
            way.setCheckable(True)
            way.triggered.connect(lambda _=False, name=name: self._choose(name))
        self.setMenu(menu)
        self.refresh()

    def refresh(self) -> None:
        """Show whose nuclei are measured."""
        source = source_of(self._measuring.finder)
        for name, way in self.ways.items():
            way.setChecked(name == source.finder)
        self.setEnabled(not self._measuring.session.working)
        self.setToolTip(f"Nuclei: {source}. Others need an extra and weights on disk; see docs/nuclei.md.")

    def _choose(self, name: str) -> None:
        self.refresh()  # a click alone changes nothing
        if name == BUILT_IN:
            self._measuring.use_finder(None)
            return
        weights = ask.nuclei_weights(name, self)
        if weights is not None:
            work = lambda: open_finder(name, weights)  # noqa: E731
            self._measuring.session.background(f"Opening {name}", work, self._measuring.use_finder)


def _said(name: str) -> str:
    return _WORDS[name] if name == BUILT_IN or installed(name) else f"{_WORDS[name]} (not installed)"
