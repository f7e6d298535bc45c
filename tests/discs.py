"""A slide of coloured discs, the mock network that reads their scores, and a mock finder of nuclei."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_her2.cores import Core, CoreGrid
from napari_her2.finders import Sight, Source
from napari_her2.naming import core_name


class MockEngine:
    """Stands in for a network: the browner a place, the higher its class; every place is mostly tumour."""

    device = "mock"
    rows = 4

    def __init__(self, levels: int) -> None:
        self.levels = levels
        self.runs = 0

    def run(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.runs += 1
        side = pixels.shape[1] // self.rows
        squares = pixels.reshape(len(pixels), self.rows, side, self.rows, side, 3).astype(np.float32).mean(axis=(2, 4))
        grade = np.clip((squares[..., 0] - squares[..., 2]) / 30, 0, 3)
        out = np.zeros((len(pixels), self.levels, 5, self.rows, self.rows), np.float32)
        out[:, :, 0] = 0.1
        for k in range(4):
            out[:, :, k + 1] = 0.9 * np.clip(1 - np.abs(grade - k), 0, 1)[:, None]
        return out, squares.mean(axis=(1, 2))


class Pieces:
    """Stands in for a finder of nuclei: numbers the pieces of nuclear stain, and keeps the tiles that it was shown."""

    source = Source("cellpose", "pieces 1.0", "pieces.pt", "0123456789abcdef", "cpu")

    def __init__(self, *, colours: bool = False) -> None:
        self.sight = Sight(colours, 1, 99)
        self.seen: list[np.ndarray] = []

    def labels(self, picture: np.ndarray) -> np.ndarray:
        self.seen.append(picture)
        grey = 1 - picture[..., 0] if self.sight.colours else picture[..., 0]
        return ndimage.label(ndimage.gaussian_filter(grey, 1) > 0.5)[0]


#: RGB of discs whose brown makes `MockEngine` say 0, 1+, 2+, 3+.
DISC_COLOURS = ((170, 175, 190), (190, 175, 165), (190, 160, 135), (180, 110, 60))


def discs_picture(rows: int = 2, columns: int = 4, *, pitch: int = 120, diameter: int = 100) -> np.ndarray:
    """Glass with a grid of discs, coloured 0, 1+, 2+, 3+ in turn; uint8 (y, x, 3)."""
    y, x = np.mgrid[: rows * pitch + 40, : columns * pitch + 40]
    picture = np.full((*y.shape, 3), (236, 236, 242), np.uint8)
    for number in range(rows * columns):
        row, column = divmod(number, columns)
        cy, cx = 20 + pitch * (row + 0.5), 20 + pitch * (column + 0.5)
        picture[np.hypot(y - cy, x - cx) < diameter / 2] = DISC_COLOURS[number % 4]
    return picture


def discs_grid(rows: int = 2, columns: int = 4, *, pitch: int = 120, diameter: int = 100) -> CoreGrid:
    """Where `discs_picture` drew its discs."""
    return CoreGrid(
        tuple(
            Core(core_name(r, c), r, c, 20 + pitch * (r + 0.5), 20 + pitch * (c + 0.5), diameter)
            for r in range(rows)
            for c in range(columns)
        )
    )
