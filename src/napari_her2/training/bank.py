"""A bank of tiles on disk: stain amounts and truth, drawn once; colour comes afresh each time one is taken out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_her2.files import writing
from napari_her2.training.real_tissue import real_tiles
from napari_her2.training.tissue import Tissue, make_tile

__all__ = ["TileBank"]

#: One step of the 8-bit stain amounts, in OD.
_STEP = 0.01


class TileBank:
    """Numbered tiles in a folder; making one again gives the same tile, so that a killed run goes on where it was.

    Parameters
    ----------
    folder : Path
        Where the tiles are kept.
    real_data : Path or None
        Folder with ``her2_cores``; one tile in `real_every` is then made of real tissue.
    size : int
        Side of a tile in pixels.
    mpp : float
        µm per pixel.
    seed : int
    """

    real_every = 3
    #: Real tiles are drawn in runs, because loading the cores takes longer than cutting a tile.
    run = 30

    def __init__(
        self, folder: Path, real_data: Path | None, *, size: int = 512, mpp: float = 0.5, seed: int = 0
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.real_data, self.size, self.mpp, self.seed = folder, real_data, size, mpp, seed

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
            rng = np.random.default_rng((self.seed, start))
            if self.real_data is not None and start // self.run % self.real_every == 0:
                cores = self.real_data / "her2_cores"
                tiles = list(real_tiles(cores, rng, self.run, size=self.size, mpp=self.mpp))
                for number in numbers:
                    self._write(number, tiles[number - start])
            else:
                for number in numbers:
                    self._write(
                        number, make_tile(np.random.default_rng((self.seed, 1, number)), size=self.size, mpp=self.mpp)
                    )

    def _path(self, number: int) -> Path:
        return self.folder / f"tile-{number:05d}.npz"

    def _write(self, number: int, tile: Tissue) -> None:
        stains = [np.clip(np.rint(s / _STEP), 0, 255).astype(np.uint8) for s in (tile.hematoxylin, tile.dab)]
        with writing(self._path(number), overwrite=True) as temporary, temporary.open("wb") as file:
            np.savez(file, hematoxylin=stains[0], dab=stains[1], classes=tile.classes, mpp=tile.mpp)


def read_tile(path: Path) -> Tissue:
    """One tile of a bank."""
    with np.load(path) as tile:
        return Tissue(
            hematoxylin=tile["hematoxylin"].astype(np.float32) * np.float32(_STEP),
            dab=tile["dab"].astype(np.float32) * np.float32(_STEP),
            classes=tile["classes"],
            mpp=float(tile["mpp"]),
        )
