"""File > Open Sample: the generated TMA slide that comes with the package."""

from __future__ import annotations

from napari_her2.sample import sample_slide
from napari_her2.viewer.reader import LayerData, read_slides

__all__ = ["open_sample"]


def open_sample() -> list[LayerData]:
    """The embedded slide as a layer."""
    return read_slides(str(sample_slide()))
