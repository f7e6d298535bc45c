"""A bank of tiles on disk: stain amounts and truth, drawn once; colour comes afresh each time one is taken out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_her2.files import writing
from napari_her2.training.real_tissue import real_tiles
from napari_her2.training.staining import Laboratory
from napari_her2.training.tissue import Tissue, make_tile

__all__ = ["TileBank", "read_tile"]

#: One step of the 8-bit stain amounts, in OD.
_STEP = 0.01


class TileBank:
    """Numbered tiles in a folder; making one again gives the same tile, so that a killed run goes on where it was.

    Parameters
    ----------
    folder : Path
        Where the tiles are kept.
    real : Path or None
        Folder of real cores that the tiles are made of (see `real_tiles`); None to generate them.
    exclude : sequence of str
        Beginnings of the names of real cores to leave out.
    size : int
        Side of a tile in pixels.
    mpp : float
        µm per pixel.
    seed : int
    """

    #: Real tiles are drawn in runs, because loading the cores takes longer than cutting a tile.
    run = 100

    def __init__(
        self,
        folder: Path,
        real: Path | None,
        *,
        exclude: tuple[str, ...] = (),
        size: int = 512,
        mpp: float = 0.5,
        seed: int = 0,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.real, self.exclude = folder, real, exclude
        self.size, self.mpp, self.seed = size, mpp, seed

    def __len__(self) -> int:
        return len(self.paths())

    def paths(self) -> list[Path]:
        """Files of the tiles that are ready, in order."""
        return sorted(self.folder.glob("tile-*.npz"))

    def fill(self, count: int) -> None:
        """Make the tiles numbered 0 to `count` - 1 that are not there yet."""
        for start in range(0, count, self.run):
            numbers = [n for n in range(start, min(count, start + self.run)) if not self._path(n).exists()]
            if not numbers:
                continue
            if self.real is None:
                for number in numbers:
                    rng = np.random.default_rng((self.seed, 1, number))
                    self._write(number, make_tile(rng, size=self.size, mpp=self.mpp))
                continue
            rng = np.random.default_rng((self.seed, start))
            tiles = real_tiles(self.real, rng, self.run, size=self.size, mpp=self.mpp, exclude=self.exclude)
            for number, tile in zip(range(start, min(count, start + self.run)), tiles, strict=False):
                self._write(number, tile)

    def _path(self, number: int) -> Path:
        return self.folder / f"tile-{number:05d}.npz"

    def _write(self, number: int, tile: Tissue) -> None:
        stains = [np.clip(np.rint(s / _STEP), 0, 255).astype(np.uint8) for s in (tile.hematoxylin, tile.dab)]
        lab = np.array([tile.lab.blue, tile.lab.brown])
        with writing(self._path(number), overwrite=True) as temporary, temporary.open("wb") as file:
            np.savez(file, hematoxylin=stains[0], dab=stains[1], classes=tile.classes, mpp=tile.mpp, lab=lab)


def read_tile(path: Path) -> Tissue:
    """One tile of a bank."""
    with np.load(path) as tile:
        blue, brown = tile["lab"]
        return Tissue(
            hematoxylin=tile["hematoxylin"].astype(np.float32) * np.float32(_STEP),
            dab=tile["dab"].astype(np.float32) * np.float32(_STEP),
            classes=tile["classes"],
            mpp=float(tile["mpp"]),
            lab=Laboratory(float(blue), float(brown)),
        )
