"""Step 1: which image layer, and its pixel size: found, or asked for."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QLineEdit
from superqt import QElidingLabel

from napari_her2.viewer.session import Session
from napari_her2.viewer.widgets.card import StepCard, restyle, yielding

__all__ = ["SlideBox"]


class SlideBox(StepCard):
    """Choice of the layer, and the pixel size with where it comes from."""

    def __init__(self, session: Session) -> None:
        super().__init__(1, "Slide")
        self._session = session
        self.layers = QComboBox()
        self.layers.setToolTip("The RGB image layer to score.")
        self.mpp, self.source = QLineEdit(), QElidingLabel()
        self.mpp.setFixedWidth(64)
        self.mpp.setPlaceholderText("?")
        self.mpp.setToolTip("Micrometres per pixel at full resolution, typically 0.25 (40x) or 0.5 (20x).")
        self.source.setObjectName("faint")
        yielding(self.layers, self.source)
        row = QHBoxLayout()
        row.addWidget(QLabel("Pixel size"))
        row.addWidget(self.mpp)
        row.addWidget(QLabel("µm"))
        row.addWidget(self.source, 1)
        self.body.addWidget(self.layers)
        self.body.addLayout(row)
        self.layers.activated.connect(self._choose)
        self.mpp.editingFinished.connect(self._give)

    def refresh(self) -> None:
        """Show the session."""
        session, images = self._session, self._session.slides()
        names = [image.name for image in images] or ["No RGB image is open"]
        if names != [self.layers.itemText(i) for i in range(self.layers.count())]:
            self.layers.clear()
            self.layers.addItems(names)
        self.layers.setEnabled(bool(images))
        if session.image in images:
            self.layers.setCurrentIndex(images.index(session.image))
        slide = session.slide
        self.mpp.setEnabled(slide is not None)
        asked = slide is not None and slide.mpp is None
        restyle(self.mpp, "asked", str(asked).lower())
        if not self.mpp.hasFocus() or not asked:
            self.mpp.setText("" if slide is None or slide.mpp is None else f"{slide.mpp:.4g}")
        self.mpp.setModified(False)
        self.summary.setText("" if slide is None else f"{slide.shape[1]:,} × {slide.shape[0]:,} px")
        self.source.setText("" if slide is None else "unknown: please type it" if asked else slide.mpp_source)

    def _choose(self, index: int) -> None:
        images = self._session.slides()
        if index < len(images) and images[index] is not self._session.image:
            self._session.choose(images[index])

    def _give(self) -> None:
        if not self.mpp.isModified():
            return
        self.mpp.setModified(False)
        text = self.mpp.text().strip().replace(",", ".")
        try:
            mpp = float(text) if text else None
        except ValueError:
            self._session.said.emit(f'"{text}" is no number: give the micrometres per pixel, such as 0.25.', True)
            return
        self._session.give_mpp(mpp)
