"""What goes on, how far it is, and the button that stops it; hidden while nothing goes on."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_her2.viewer.session import Session

__all__ = ["ProgressStrip"]


class ProgressStrip(QWidget):
    """Bar, words and Cancel."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.bar, self.text, self.cancel = QProgressBar(), QLabel(), QPushButton("Cancel")
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(10)
        self.text.setWordWrap(True)
        self.cancel.clicked.connect(lambda: session.cancel())
        row = QHBoxLayout()
        row.addWidget(self.text, 1)
        row.addWidget(self.cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 0, 4, 0)
        layout.setSpacing(3)
        layout.addWidget(self.bar)
        layout.addLayout(row)

    def refresh(self) -> None:
        """Show the session."""
        session, run = self._session, self._session.run
        self.setVisible(session.working)
        if session.busy:
            self.bar.setRange(0, 0)
            self.text.setText(f"{session.busy}…")
        elif run is not None and run.running:
            self.bar.setRange(0, len(run.cores))
            self.bar.setValue(run.done)
            elsewhere = run.image is not session.image
            self.text.setText(f"{run.slide.name}: {run.progress_text()}" if elsewhere else run.progress_text())
        self.cancel.setEnabled(run is None or not run.running or not run.cancelled)
