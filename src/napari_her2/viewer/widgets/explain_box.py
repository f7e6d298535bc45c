"""Where a score comes from: what the heatmap shows, and the patches of the core under review."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QWidget

from napari_her2.errors import HER2Error
from napari_her2.heatmap import KINDS
from napari_her2.viewer.heatmap_layer import LOOKS, find_heatmap_layer, kind_of_layer, show_kind
from napari_her2.viewer.patches_layer import find_patches_layer, hide_patches, patches_of, show_patches
from napari_her2.viewer.recut import model_of_layer
from napari_her2.viewer.review import Review
from napari_her2.viewer.widgets.card import Card, yielding

__all__ = ["ExplainBox"]

_NAMES = dict(zip(KINDS, ("Expected score", "Probability of 2+ or 3+", "Confidence"), strict=True))
_HIDDEN = "No heatmap"
_ENDS = {"score": ("0", "3+"), "at_least_2": ("0 %", "100 %"), "confidence": ("unsure", "sure")}


class ExplainBox(Card):
    """A choice for the heatmap with its scale, and a button for the patches."""

    def __init__(self, review: Review) -> None:
        super().__init__("Where the score comes from")
        self._review, self._session = review, review.session
        self.kind = QComboBox()
        self.kind.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.kind.addItems([*_NAMES.values(), _HIDDEN])
        self.kind.setToolTip("What the heatmap shows of each small square of tissue.")
        self.kind.activated.connect(self._choose)
        self.patches = QPushButton("Patches")
        self.patches.setCheckable(True)
        self.patches.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.patches.setToolTip("The patches that this core was judged by, each with its share of the value.")
        self.patches.clicked.connect(lambda: self.follow())
        self.low, self.scale, self.high = QLabel(), QLabel(), QLabel()
        self.scale.setFixedHeight(10)
        self._legend = QWidget()
        legend, row = QHBoxLayout(self._legend), QHBoxLayout()
        legend.setContentsMargins(0, 0, 0, 0)
        for label in (self.low, self.high):
            label.setObjectName("faint")
        legend.addWidget(self.low)
        legend.addWidget(self.scale, 1)
        legend.addWidget(self.high)
        yielding(self.kind, self.patches)
        row.addWidget(self.kind, 3)
        row.addWidget(self.patches, 1)
        self.body.addLayout(row)
        self.body.addWidget(self._legend)

    def refresh(self) -> None:
        """Show the session; the cut points may be other ones."""
        session = self._session
        layer = None if session.image is None else find_heatmap_layer(session.viewer.layers, session.image)
        self.kind.setEnabled(layer is not None)
        shown = layer is not None and layer.visible
        kind = "score" if layer is None else kind_of_layer(layer)
        model = None if session.cores_layer is None else model_of_layer(session.cores_layer)
        if layer is not None and model is not None:
            show_kind(layer, kind, model.calibration)
        self.kind.setCurrentIndex(list(_NAMES).index(kind) if shown or layer is None else len(_NAMES))
        self._legend.setVisible(shown)
        low, high = _ENDS[kind]
        self.low.setText(low)
        self.high.setText(high)
        self.scale.setStyleSheet(f"background: {_gradient(LOOKS[kind][0])}; border-radius: 3px;")
        drawn = None if session.image is None else find_patches_layer(session.viewer.layers, session.image)
        self.patches.setChecked(drawn is not None)
        self.patches.setEnabled(drawn is not None or self._can_explain())

    def follow(self) -> None:
        """Show the patches of the core under review, or of none, as the button says."""
        session = self._session
        if session.image is None or session.cores_layer is None:
            return
        if not self.patches.isChecked():
            self.hide_patches()
            return
        here, model = self._review.here(), model_of_layer(session.cores_layer)
        drawn = find_patches_layer(session.viewer.layers, session.image)
        if drawn is not None and here is not None and drawn.metadata["napari_her2"]["core"] == here.core.name:
            return
        if here is None or here.score is None or model is None or session.slide is None or not self._can_explain():
            self.hide_patches()
            return
        try:
            found = patches_of(session.slide, here.score, model)
        except HER2Error as error:
            session.said.emit(str(error), False)
            self.hide_patches()
            return
        show_patches(session.viewer.layers, session.image, session.cores_layer, found)

    def hide_patches(self) -> None:
        """Take the patches away."""
        if self._session.image is not None:
            hide_patches(self._session.viewer.layers, self._session.image)

    def _can_explain(self) -> bool:
        here = self._review.here()
        return here is not None and here.score is not None and here.score.places is not None

    def _choose(self, index: int) -> None:
        session = self._session
        layer = None if session.image is None else find_heatmap_layer(session.viewer.layers, session.image)
        model = None if session.cores_layer is None else model_of_layer(session.cores_layer)
        if layer is None:
            return
        layer.visible = index < len(_NAMES)
        if layer.visible and model is not None:
            show_kind(layer, list(_NAMES)[index], model.calibration)
        self.refresh()


def _gradient(colours: list[str]) -> str:
    """A style sheet's gradient; Qt writes the alpha in front."""
    stops = ", ".join(f"stop: {k / (len(colours) - 1):.3f} #{c[7:] or 'ff'}{c[1:7]}" for k, c in enumerate(colours))
    return f"qlineargradient(x1: 0, y1: 0, x2: 1, y2: 0, {stops})"
