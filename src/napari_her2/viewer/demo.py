"""``napari-her2 demo``: the sample slide in the viewer, cores found and scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import napari

from napari_her2.sample import sample_slide
from napari_her2.viewer.widgets.her2_widget import HER2Widget

__all__ = ["open_demo", "show_demo"]


def open_demo() -> None:
    """Open the viewer on the sample slide, find and score its cores, and wait until the user closes it."""
    show_demo()
    napari.run()


def show_demo(viewer: Any = None, path: Path | None = None) -> HER2Widget:
    """The same without waiting: returns as soon as the cores are being looked for.

    Parameters
    ----------
    viewer : napari.Viewer, optional
        A new one when not given.
    path : Path, optional
        Slide; the sample when not given.
    """
    if viewer is None:
        viewer = napari.Viewer(title="napari-her2 demo")
        viewer.window.resize(1280, 800)  # room for slide and widget side by side, on a small screen too
    viewer.open(str(path or sample_slide()), plugin="napari-her2")
    _, widget = viewer.window.add_plugin_dock_widget("napari-her2", "HER2 scoring")
    session = widget.session

    def score_when_found() -> None:
        if session.cores_layer is not None and not session.busy:
            session.changed.disconnect(score_when_found)
            viewer.reset_view()
            session.score(session.rest())

    session.changed.connect(score_when_found)
    session.find()
    return widget
