"""ReviewPage: core after core with what the model says, to be read with one key; the third page of the widget."""

from __future__ import annotations

import math
from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_her2.scores import CoreScore
from napari_her2.viewer import calibrating
from napari_her2.viewer.reading import READING_KEYS
from napari_her2.viewer.review import QUEUES, Opinions, Review, agreement
from napari_her2.viewer.widgets.calibrate_dialog import CalibrateDialog
from napari_her2.viewer.widgets.card import Card, yielding
from napari_her2.viewer.widgets.explain_box import ExplainBox
from napari_her2.viewer.widgets.opinion_view import OpinionView
from napari_her2.viewer.widgets.train_dialog import TrainDialog

__all__ = ["ReviewPage"]

_NONE = (float("nan"),) * 4
_TIPS = {
    "Opinions differ": "Cores that model, reader and measured staining do not call the same.",
    "Uncertain": "Cores that the model marks ?, or could not score.",
    "Flagged": "Cores of which something unusual is told.",
    "Not read": "Cores that you have not scored yet.",
    "All": "Every core with tissue.",
}


class ReviewPage(QWidget):
    """A queue, the core under review with buttons 0 to 3+, and the agreement so far."""

    def __init__(self, review: Review, leave: Callable[[], None]) -> None:
        super().__init__()
        self.review, self._session = review, review.session
        self._agreed_on: list[Opinions] = []
        self._agreement = agreement([]).sentence
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.back, self.undo, self.redo = QPushButton("‹ Score"), QPushButton("↶ Undo"), QPushButton("↷ Redo")
        self.back.setToolTip("Back to the steps; all readings are kept.")
        self.back.clicked.connect(lambda: leave())
        self.undo.clicked.connect(lambda: self._session.watch.undo())
        self.redo.clicked.connect(lambda: self._session.watch.redo())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(6)
        layout.addLayout(_row(self.back, self.undo, self.redo))
        self.explain = ExplainBox(review)
        for card in (self._lay_out_queue(), self._lay_out_core(), self.explain, self._lay_out_agreement()):
            layout.addWidget(card)
        layout.addStretch()
        review.editor.read.connect(self._go_on)

    def refresh(self) -> None:
        """Show the session."""
        watch, review = self._session.watch, self.review
        for button, what, key in ((self.undo, watch.undoes, "Ctrl+Z"), (self.redo, watch.redoes, "Ctrl+Shift+Z")):
            button.setEnabled(bool(what))
            button.setToolTip(f"{what[:1].upper()}{what[1:]} ({key})" if what else "")
        opinions = review.opinions()
        for i, queue in enumerate(QUEUES):
            self.queue.setItemText(i, f"{queue} ({sum(o.is_in(queue) for o in opinions)})")
        if opinions is not self._agreed_on:  # the interval takes a moment
            self._agreed_on, self._agreement = opinions, agreement(opinions).sentence
        self.agreed.setText(self._agreement + self._flattered())
        why = calibrating.why_not(self._session)
        self.calibrate.setToolTip(why or "Fit the cut points to the cores that you read; no core is scored anew.")
        for button in (self.calibrate, self.train):
            button.setEnabled(self._session.model is not None and not self._session.working)
        self.refresh_selection()

    def refresh_selection(self) -> None:
        """Show the core that is selected."""
        names, here = self.review.names(), self.review.here()
        at = names.index(here.core.name) + 1 if here is not None and here.core.name in names else None
        self.queue_card.summary.setText(f"{at} of {len(names)}" if at else f"{len(names)} cores")
        for button in (self.previous, self.next):
            button.setEnabled(bool(names))
        self._show(here)
        self.explain.refresh()
        if self.explain.patches.isChecked():
            self.explain.follow()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802 (Qt's name)
        """The keys of the page do the same as on the canvas."""
        if event is None:
            return
        plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
        if plain and event.text() in READING_KEYS:
            self.review.read(READING_KEYS[event.text()])
        elif plain and event.key() in (Qt.Key.Key_Right, Qt.Key.Key_Left):
            self.review.go(1 if event.key() == Qt.Key.Key_Right else -1)
        else:
            super().keyPressEvent(event)

    # --- parts -----------------------------------------------------------------------------------------------------

    def _lay_out_queue(self) -> Card:
        self.queue_card = Card("Review")
        self.queue = QComboBox()
        self.queue.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        for i, queue in enumerate(QUEUES):
            self.queue.addItem(queue)
            self.queue.setItemData(i, _TIPS[queue], Qt.ItemDataRole.ToolTipRole)
        self.queue.setCurrentIndex(QUEUES.index(self.review.queue))
        self.queue.setToolTip("Which cores to go through.")
        self.queue.activated.connect(self._choose_queue)
        self.previous, self.next = QPushButton("‹ Previous"), QPushButton("Next ›")
        for button, step, key in ((self.previous, -1, "Left"), (self.next, 1, "Right")):
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.setToolTip(f"Go there (key {key}).")
            button.clicked.connect(lambda _=False, step=step: self.review.go(step))
        yielding(self.queue)
        self.queue_card.body.addWidget(self.queue)
        self.queue_card.body.addLayout(_row(self.previous, self.next))
        return self.queue_card

    def _lay_out_core(self) -> Card:
        self.core_card = Card("")
        self.opinion = OpinionView(self.review.read)
        self.model, self.told = QLabel(), QLabel()
        self.told.setObjectName("faint")
        for label in (self.model, self.told):
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.go_on = QCheckBox("After a score, go to the next core")
        self.go_on.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.go_on.setChecked(True)
        for widget in (self.model, self.opinion, self.told, self.go_on):
            self.core_card.body.addWidget(widget)
        return self.core_card

    def _lay_out_agreement(self) -> Card:
        card = Card("Model and reader")
        self.agreed = QLabel()
        self.agreed.setWordWrap(True)
        self.calibrate, self.train = QPushButton("Calibrate…"), QPushButton("Train on these labels…")
        self.calibrate.clicked.connect(lambda: CalibrateDialog(self.review.editor, self).show())
        self.train.setToolTip("A model of your own, learned from the cores that you read on all open slides.")
        self.train.clicked.connect(lambda: TrainDialog(self._session, self).show())
        card.body.addWidget(self.agreed)
        card.body.addLayout(_row(self.calibrate, self.train))
        return card

    # --- what happens ----------------------------------------------------------------------------------------------

    def _choose_queue(self, index: int) -> None:
        self.review.queue = QUEUES[index]
        here = self.review.here()
        if here is None or not here.is_in(self.review.queue):
            self.review.go()
        self.refresh_selection()
        self.setFocus()

    def _go_on(self, score: str) -> None:
        if (
            score
            and self.isVisibleTo(self.window())
            and self.go_on.isChecked()
            and len(self.review.editor.chosen()) == 1
        ):
            self.review.go()

    def _flattered(self) -> str:
        batch = calibrating.batch_of(self._session.model)
        return f" The cut points were fitted on controls of {batch}: cores among them flatter this." if batch else ""

    def _show(self, here: Opinions | None) -> None:
        chosen = self.review.editor.chosen()
        score = None if here is None else here.score
        if here is None:
            several = f"{len(chosen)} cores selected: a score goes to all of them." if chosen else ""
            self.model.setText(several or "Press Next, or click a core.")
        else:
            self.model.setText(_model_says(score))
        self.core_card.title.setText(here.core.name if here is not None else "No core" if not chosen else "Several")
        self.core_card.summary.setText(here.core.patient_id if here is not None else "")
        shown = score.probabilities if score is not None and score.score else _NONE
        self.opinion.show_opinion(shown, here.core.reader_score if here is not None else "", enabled=bool(chosen))
        self.told.setText("" if here is None else "\n".join(_told(here)))
        self.told.setVisible(bool(self.told.text()))


def _model_says(score: CoreScore | None) -> str:
    if score is None:
        return "Not scored by the model yet."
    if not score.score:
        return score.reason or "The model could not score it."
    unsure = f" – uncertain. {score.reason}" if score.indeterminate else "."
    return f"Model: <b>{score.score}</b>{unsure}"


def _told(here: Opinions) -> list[str]:
    """What else is known of a core, a line each."""
    lines = [*here.flags]
    if here.measured or here.h_score == here.h_score:
        h_score = f" (H-score {here.h_score:.0f})" if here.h_score == here.h_score else ""
        lines.append(f"Measured staining: {here.measured or 'no score'}{h_score}")
    if here.score is not None and here.score.score and here.score.value == here.score.value:
        score = here.score
        lines.append(f"Value {score.value:.2f} on the scale from 0 to 3{_with_other_patches(score.spread)}")
    if here.score is not None and here.score.batch:
        lines.append(f"Cut points of {here.score.batch}")
    if here.score is not None and here.score.normalised:
        lines.append("Colours normalised for the model")
    return lines + ([here.core.note] if here.core.note else [])


def _with_other_patches(spread: float) -> str:
    if not math.isfinite(spread):
        return ""
    return f"; ± {spread:.2f} with other patches" if spread >= 0.005 else "; the same with other patches"


def _row(*buttons: QPushButton) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(3)
    yielding(*buttons)
    for button in buttons:
        row.addWidget(button, len(button.text()) + 6)
    return row
