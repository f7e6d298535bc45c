"""Finding cores on a pyramidal slide of 100,000 x 60,000 pixels: time beyond reading the overview, and memory.

`run_big_slide` writes the slide into a temporary folder (some 200 MB) and returns

seconds_overview           to read and decode the level that is looked at
seconds_beyond_overview    all else that `find_cores` does
peak_mib                   most memory that Python and numpy held meanwhile
peak_mib_quarter           the same on a slide of a quarter of the width and height: memory does not follow the size
right                      share of its cores that were found at their row and column
"""

from __future__ import annotations

import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile

from napari_her2.cores import CoreState
from napari_her2.dearray import find_cores
from napari_her2.slide import Slide

RGB = npt.NDArray[np.uint8]
_TILE = 512
_LEVELS = 4
_ROWS, _COLUMNS = 12, 20
_GLASS, _TISSUE = np.array([236, 234, 240], np.float32), np.array([190, 170, 195], np.float32)


def _centres(height: int, width: int) -> tuple[npt.NDArray[np.float64], float]:
    """(y, x) of the cores, shape (rows, columns, 2), and their radius in level-0 pixels."""
    pitch = min(height / (_ROWS + 1), width / (_COLUMNS + 1))
    y, x = np.mgrid[1 : _ROWS + 1, 1 : _COLUMNS + 1] * pitch
    return np.stack([y + 0.02 * x, x - 0.02 * y], axis=-1), 0.44 * pitch


def _tile(y0: int, x0: int, factor: int, centres: npt.NDArray[np.float64], radius: float, noise: RGB) -> RGB:
    """One tile of a level: discs with grain on glass."""
    y = (np.arange(y0, y0 + _TILE) + 0.5)[:, None] * factor
    x = (np.arange(x0, x0 + _TILE) + 0.5)[None] * factor
    inside = np.zeros((_TILE, _TILE), bool)
    for cy, cx in centres.reshape(-1, 2):
        if abs(cy - y.mean()) < radius + _TILE * factor and abs(cx - x.mean()) < radius + _TILE * factor:
            inside |= (y - cy) ** 2 + (x - cx) ** 2 < radius**2
    picture = np.where(inside[..., None], _TISSUE + (noise - 20.0), _GLASS + 0.1 * (noise - 20.0))
    return np.clip(picture, 0, 255).astype(np.uint8)


def write_slide(path: Path, height: int, width: int) -> None:
    """Write the pyramid tile by tile; never holds a level.

    The two finest levels, which `find_cores` must not need, repeat one encoded tile of glass and one of tissue.
    """
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 40, (_TILE, _TILE, 1)).astype(np.uint8)
    centres, radius = _centres(height, width)
    stamps = {
        inside: imagecodecs.jpeg_encode(np.clip(colour + 0.3 * noise, 0, 255).astype(np.uint8), level=80)
        for inside, colour in ((True, _TISSUE), (False, _GLASS))
    }

    def tiles(factor: int, make: Callable[[int, int], RGB | bytes]) -> Iterator[RGB | bytes]:
        for y in range(0, -(-height // factor), _TILE):
            for x in range(0, -(-width // factor), _TILE):
                yield make(y, x)

    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for level in range(_LEVELS):
            factor = 4**level

            def stamp(y: int, x: int, factor: int = factor) -> bytes:
                middle = (np.array([y, x]) + _TILE / 2) * factor
                return stamps[bool((np.hypot(*(centres - middle).reshape(-1, 2).T) < radius).any())]

            def draw(y: int, x: int, factor: int = factor) -> RGB:
                return _tile(y, x, factor, centres, radius, noise)

            tiff.write(
                tiles(factor, stamp if level < 2 else draw),
                shape=(-(-height // factor), -(-width // factor), 3),
                dtype=np.uint8,
                tile=(_TILE, _TILE),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": 80, "outcolorspace": "rgb"},
                subifds=_LEVELS - 1 if level == 0 else None,
                subfiletype=0 if level == 0 else 1,
                resolution=(40_000, 40_000),
                resolutionunit="CENTIMETER",
            )


def _peak(slide: Slide) -> float:
    tracemalloc.start()
    try:
        find_cores(slide)
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def run_big_slide(height: int = 60_000, width: int = 100_000) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder) / "big.tif", Path(folder) / "quarter.tif"
        write_slide(path, height, width)
        write_slide(small, height // 4, width // 4)
        slide = Slide.open(path)
        overview, whole = [], []
        for _ in range(3):
            start = time.perf_counter()
            slide.overview(1536)
            overview.append(time.perf_counter() - start)
            start = time.perf_counter()
            grid = find_cores(slide)
            whole.append(time.perf_counter() - start)
        centres, radius = _centres(height, width)
        tissue = {(c.row, c.column): (c.y, c.x) for c in grid if c.state is CoreState.TISSUE}
        away = [
            np.hypot(*(np.array(tissue.get(cell, (np.inf, 0))) - centres[cell])) for cell in np.ndindex(_ROWS, _COLUMNS)
        ]
        result = {
            "seconds_overview": round(min(overview), 3),
            "seconds_beyond_overview": round(min(whole) - min(overview), 3),
            "peak_mib": round(_peak(slide), 1),
            "peak_mib_quarter": round(_peak(Slide.open(small)), 1),
            "right": float(np.mean(np.array(away) < radius / 2)),
        }
    print(f"slide of {width} x {height} pixels: {result}", flush=True)
    return result


if __name__ == "__main__":
    run_big_slide()
