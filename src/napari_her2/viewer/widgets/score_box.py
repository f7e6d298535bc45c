"""Step 3: the model, the device, and the two buttons that score."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton

from napari_her2.errors import HER2Error
from napari_her2.models import DEFAULT_MODEL, ScoringModel, installed_models, load_model
from napari_her2.viewer import ask
from napari_her2.viewer.calibrating import batch_of
from napari_her2.viewer.session import Session
from napari_her2.viewer.widgets.card import StepCard, restyle, yielding

__all__ = ["DEVICE_NAMES", "ScoreBox"]

#: What the engine calls its devices, and what the user reads; the engine itself is not asked before it is needed.
DEVICE_NAMES = {"auto": "Fastest", "cpu": "CPU", "cuda": "NVIDIA GPU", "mps": "Apple GPU"}
_OTHER = "Choose a model file…"


class ScoreBox(StepCard):
    """Choice of model and device; "Score selected" and "Score all", each with why it cannot be pressed."""

    def __init__(self, session: Session) -> None:
        super().__init__(3, "Score")
        self._session = session
        self._models: list[ScoringModel] = []
        self.model, self.device, self.why = QComboBox(), QComboBox(), QLabel()
        yielding(self.model)
        self.device.addItems(list(DEVICE_NAMES.values()))
        self.device.setToolTip("Where the network runs; the scores are the same everywhere.")
        self.why.setObjectName("faint")
        self.why.setWordWrap(True)
        self.selected, self.all = QPushButton("Score selected"), QPushButton("Score all")
        choices, buttons = QHBoxLayout(), QHBoxLayout()
        choices.addWidget(self.model, 1)
        choices.addWidget(self.device)
        buttons.addWidget(self.selected)
        buttons.addWidget(self.all)
        self.body.addLayout(choices)
        self.body.addLayout(buttons)
        self.body.addWidget(self.why)
        self.model.activated.connect(self._choose_model)
        self.device.activated.connect(self._choose_device)
        self.selected.clicked.connect(lambda: session.score(self._session.chosen()))
        self.all.clicked.connect(lambda: session.score(self._all()))
        self._list_models()
        session.learned.connect(self._add_model)

    def refresh(self, is_next: bool) -> None:
        """Show the session."""
        why = self._session.why_no_scoring()
        scored, rest, chosen = self._session.scores(), self._session.rest(), self._session.chosen()
        everything = "Score all again" if scored and not rest else "Score the rest" if scored else "Score all"
        self.all.setText(f"{everything} ({len(self._all())})" if self._session.cores_layer is not None else everything)
        self.selected.setText(f"Score selected ({len(chosen)})" if chosen else "Score selected")
        self.selected.setEnabled(not why and bool(chosen))
        self.all.setEnabled(not why and bool(self._all()))
        self.why.setText(
            why or ("" if chosen or not is_next else "To score some only, select them: click, or drag a box.")
        )
        self.why.setVisible(bool(self.why.text()))
        self.selected.setToolTip(why or "" if chosen else why or "Select cores first.")
        self.all.setToolTip(why)
        first = self.selected if any(name not in scored for name in chosen) else self.all
        for button in (self.selected, self.all):
            restyle(button, "primary", str(is_next and not why and button is first).lower())
        self._adopt(self._session.model)
        batch = batch_of(self._session.model)
        parts = [f"{len(scored)} scored"] * bool(scored) + [f"cut points of {batch}"] * bool(batch)
        parts += ["colours normalised"] * self._session.normalise
        self.summary.setText(", ".join(parts))
        self.summary.setToolTip(f"Calibrated on control cores of {batch}." if batch else "")

    def _adopt(self, model: ScoringModel | None) -> None:
        """A model that got other cut points, or was chosen elsewhere, stands in the list as it is now."""
        if model is None:
            return
        at = [i for i, m in enumerate(self._models) if m is model]
        if at:
            if self.model.currentIndex() != at[0]:
                self._show_models(at[0])
            return
        same = [i for i, m in enumerate(self._models) if m.sha256 == model.sha256]
        if same:
            self._models[same[0]] = model
            self._show_models(same[0])

    def _add_model(self, model: ScoringModel) -> None:
        """A model that was trained is the last of the list; which one is chosen stays as it is."""
        self._models.append(model)
        self.model.insertItem(len(self._models) - 1, f"{model.name} {model.version}")

    def _all(self) -> list[str]:
        return self._session.rest() or [core.name for core in self._session.grid().scorable]

    def _list_models(self) -> None:
        try:
            self._models = installed_models()
        except HER2Error as error:
            self._session.said.emit(str(error), True)
        names = [model.name for model in self._models]
        self._show_models(names.index(DEFAULT_MODEL) if DEFAULT_MODEL in names else 0)

    def _show_models(self, index: int) -> None:
        self.model.clear()
        self.model.addItems([f"{m.name} {m.version}" for m in self._models] or ["No model is installed"])
        self.model.addItem(_OTHER)
        self.model.setCurrentIndex(index)
        self._session.model = self._models[index] if self._models else None
        self.model.setToolTip(
            "" if self._session.model is None else str(self._session.model.card.get("summary", "The scoring model."))
        )

    def _choose_model(self, index: int) -> None:
        path: Path | None = None
        if index == self.model.count() - 1:
            path = ask.model(self)
            try:
                if path is not None:
                    self._models.append(load_model(path))
                    index = len(self._models) - 1
            except HER2Error as error:
                self._session.said.emit(str(error), True)
                path = None
        if index < len(self._models):
            self._show_models(index)
        else:  # nothing was chosen: what was before
            names = [model is self._session.model for model in self._models]
            self._show_models(names.index(True) if True in names else 0)
        self._session.changed.emit()

    def _choose_device(self, index: int) -> None:
        self._session.device = list(DEVICE_NAMES)[index]
