"""HER2Widget: four steps from a slide to its scores, the next one always marked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error
from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QStackedWidget, QVBoxLayout, QWidget

from napari_her2 import RESEARCH_USE
from napari_her2.viewer.grid_editor import GridEditor
from napari_her2.viewer.keys import bind_keys, grid_keys, release_keys, review_keys
from napari_her2.viewer.label_size import LabelSize
from napari_her2.viewer.measuring import Measuring
from napari_her2.viewer.reading_layer import show_readings
from napari_her2.viewer.review import Review
from napari_her2.viewer.session import Session
from napari_her2.viewer.slide_stains import SlideStains
from napari_her2.viewer.steps import next_step
from napari_her2.viewer.widgets.card import STYLE, restyle
from napari_her2.viewer.widgets.cores_box import CoresBox
from napari_her2.viewer.widgets.grid_page import GridPage
from napari_her2.viewer.widgets.measure_box import MeasureBox
from napari_her2.viewer.widgets.progress_strip import ProgressStrip
from napari_her2.viewer.widgets.results_box import ResultsBox
from napari_her2.viewer.widgets.review_page import ReviewPage
from napari_her2.viewer.widgets.score_box import ScoreBox
from napari_her2.viewer.widgets.slide_box import SlideBox
from napari_her2.viewer.widgets.stain_box import StainBox

if TYPE_CHECKING:
    import napari
    from napari.layers import Shapes

__all__ = ["HER2Widget"]


class HER2Widget(QWidget):
    """The widget in Plugins > HER2 scoring; all it knows is in its `session`, all that lasts is in the layers."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.session = Session(napari_viewer)
        self.editor = GridEditor(self.session)
        self.slide_box, self.cores_box = SlideBox(self.session), CoresBox(self.session, self.editor)
        self.progress = ProgressStrip(self.session)
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.session.said.connect(self._say)
        self.score_box = ScoreBox(self.session)
        self.stains = SlideStains(self.session)
        self.measuring = Measuring(self.session, self.stains)
        self.measure_box, self.stain_box = MeasureBox(self.measuring), StainBox(self.stains)
        self.results_box = ResultsBox(self.measuring)
        self.grid_page = GridPage(self.editor, lambda: self.show_grid(False))
        self.cores_box.edit.clicked.connect(lambda: self.show_grid(True))
        self.review = Review(self.editor)
        self.review_page = ReviewPage(self.review, lambda: self.show_review(False))
        self.results_box.review.clicked.connect(lambda: self.show_review(True))
        self._keyed: tuple[Shapes, dict[str, Callable[[], object]]] | None = None
        self._labels = LabelSize(napari_viewer)
        self._lay_out()
        self.session.changed.connect(self.refresh)
        self.session.selected.connect(self._refresh_selection)
        # closing the dock sends no closeEvent: the session has to be told when Qt takes the widget away
        close, labels = self.session.close, self._labels
        self.destroyed.connect(lambda: (close(), labels.close()))
        self.session.open()
        self.refresh()

    def refresh(self) -> None:
        """Show the session."""
        step, hint = next_step(self.session)
        done = (
            self.session.slide is not None and self.session.slide.mpp is not None,
            self.session.cores_layer is not None,
            bool(self.session.scores()) and not self.session.rest(),
            False,
        )
        for i, card in enumerate(self._cards):
            card.set_step("next" if i == step else "done" if done[i] else "todo", hint if i == step else "")
        self.slide_box.refresh()
        self.cores_box.refresh(step == 1)
        self.score_box.refresh(step == 2)
        self.results_box.refresh(step == 3)
        self.measure_box.refresh()
        self.stain_box.refresh()
        if self.pages.currentIndex():
            self._page().refresh()
        self.progress.refresh()
        self._bind_keys(self.session.cores_layer)

    def show_grid(self, shown: bool) -> None:
        """Turn to the page of the grid, or back to the steps."""
        self.grid_page.draw.stop()
        self.pages.setCurrentIndex(int(shown))
        self.refresh()

    def show_review(self, shown: bool) -> None:
        """Turn to the page where cores are read, at the core that is selected or the first; or back to the steps."""
        self.grid_page.draw.stop()
        self.pages.setCurrentIndex(2 * int(shown))
        if shown:
            here = self.review.here()
            if here is None:
                self.review.go()
            else:
                self.review.show(here.core.name)
            self.review_page.setFocus()
        else:
            self.review_page.explain.hide_patches()
        self.refresh()

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """Narrow, to leave the room to the slide."""
        return QSize(320, 640)

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 (Qt's name)
        """A dock that is closed lets go of the widget without deleting it; one that takes it back opens it again."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and hasattr(self, "_cards"):
            if self.parent() is None:
                self.session.close()
            else:
                self.session.open()

    def _lay_out(self) -> None:
        self._cards = (self.slide_box, self.cores_box, self.score_box, self.results_box)
        self.setStyleSheet(STYLE)
        inner = QWidget()
        steps = QVBoxLayout(inner)
        steps.setContentsMargins(2, 2, 2, 2)
        steps.setSpacing(5)
        for card in (*self._cards[:3], self.measure_box, self.stain_box, *self._cards[3:]):
            steps.addWidget(card)
        steps.addStretch()
        self.pages = QStackedWidget()
        for page in (inner, self.grid_page, self.review_page):
            self.pages.addWidget(_scrolling(page))
        purpose = QLabel(RESEARCH_USE)
        purpose.setObjectName("faint")
        purpose.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.addWidget(self.pages, 1)
        for widget in (self.progress, self.status, purpose):
            layout.addWidget(widget)
        self.setMinimumWidth(300)

    def _refresh_selection(self) -> None:
        self.cores_box.refresh_selection()
        if self.pages.currentIndex():
            self._page().refresh_selection()
        self.score_box.refresh(next_step(self.session)[0] == 2)
        self.measure_box.refresh_selection()

    def _bind_keys(self, layer: Shapes | None) -> None:
        self._show_badges(layer)
        keys = grid_keys(self.editor) | (review_keys(self.review) if self._page() is self.review_page else {})
        if self._keyed is not None and (self._keyed[0] is not layer or set(self._keyed[1]) != set(keys)):
            release_keys(*self._keyed)
            self._keyed = None
        if layer is not None and self._keyed is None:
            bind_keys(layer, keys)
            self._keyed = layer, keys

    def _page(self) -> GridPage | ReviewPage:
        """The page shown, when it is not that of the steps."""
        return self.review_page if self.pages.currentIndex() == 2 else self.grid_page

    def _show_badges(self, layer: Shapes | None) -> None:
        session, badges = self.session, None
        if layer is not None and session.image is not None:
            badges = show_readings(session.viewer.layers, session.image, layer, session.grid())
        self._labels.bind(layer, badges)

    def _say(self, message: str, is_error: bool) -> None:
        self.status.setObjectName("error" if is_error else "")
        self.status.setText(message)
        self.status.setVisible(bool(message))
        restyle(self.status, "error", str(is_error).lower())
        if is_error:
            show_error(message)


def _scrolling(page: QWidget) -> QScrollArea:
    scroll = QScrollArea()
    scroll.setWidget(page)
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return scroll
