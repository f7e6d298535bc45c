from __future__ import annotations

from napari_her2.cores import Core, CoreGrid
from napari_her2.grid_edit import reading_order


def test_blocks_rows_columns_then_what_stands_off_the_grid() -> None:
    cores = [
        Core("X-1", -1, -1, 0, 0, 10),
        *(Core(f"{b}:{'AB'[r]}-{c + 1}", r, c, 0, 0, 10, block=b) for b in ("10", "2") for r in (1, 0) for c in (1, 0)),
    ]
    names = [core.name for core in reading_order(CoreGrid(tuple(cores)))]
    assert names == [*(f"{b}:{r}-{c}" for b in (2, 10) for r in "AB" for c in (1, 2)), "X-1"]
