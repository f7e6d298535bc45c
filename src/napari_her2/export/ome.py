"""``heatmap.ome.tif``: the expected score over the slide as a small image that every viewer opens."""

from __future__ import annotations

from pathlib import Path

import tifffile

from napari_her2.heatmap import Heatmap

__all__ = ["write_heatmap"]


def write_heatmap(path: Path, heatmap: Heatmap, mpp: float | None) -> None:
    """Write a heatmap as a tiled OME-TIFF of float32, axes (y, x), NaN where nothing was scored.

    Parameters
    ----------
    path : Path
    heatmap : Heatmap
    mpp : float or None
        Micrometres per level-0 pixel of the slide; without it the file states no pixel size. Pixel (0, 0) of the
        heatmap begins where pixel (0, 0) of the slide begins.
    """
    metadata: dict[str, object] = {
        "axes": "YX",
        "Name": "HER2 heatmap",
        "Description": (
            "Expected HER2 score 0..3, NaN where nothing was scored. One pixel is "
            f"{heatmap.stride} x {heatmap.stride} full-resolution pixels of the slide. Research use only."
        ),
        "Channel": {"Name": ["expected HER2 score 0..3"]},
    }
    if mpp is not None:
        size = heatmap.stride * mpp
        metadata |= {"PhysicalSizeX": size, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": size}
        metadata["PhysicalSizeYUnit"] = "µm"
    tifffile.imwrite(path, heatmap.image, ome=True, tile=(256, 256), compression="zlib", metadata=metadata)
