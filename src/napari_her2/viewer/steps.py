"""What the user does next, in one line."""

from __future__ import annotations

from napari_her2.viewer.session import Session

__all__ = ["STEPS", "next_step"]

STEPS = ("Slide", "Cores", "Score", "Results")


def next_step(session: Session) -> tuple[int, str]:
    """Which of the four steps is next, from 0, and what to do there."""
    if session.slide is None:
        return 0, "Drag a slide into the window, or take File > Open Sample > napari-her2."
    running = session.run is not None and session.run.running and session.run.cores_layer is session.cores_layer
    if running:
        return 2, "Scores appear as they are ready; you can look around meanwhile."
    if session.cores_layer is None:
        return 1, "Press Find cores: each core gets a ring and a name."
    if session.slide.mpp is None:
        return 0, "This image does not say its pixel size, which scoring needs: type it here."
    if not session.scores():
        return 2, "Click cores, or drag a box around some, and score them; or score all."
    if session.rest():
        return 2, "Score the rest, or export what is there."
    marked = any(score.indeterminate or score.flags for score in session.scores().values())
    return 3, f"Look at the {'marked ' if marked else ''}cores, then export."
