"""A grid of 3 x 4 cores and a control off it, and maps as laboratories write them."""

from __future__ import annotations

from napari_her2.cores import Core, CoreGrid
from napari_her2.naming import Naming
from napari_her2.tma_map import apply_map, match_map, parse_map

ROWS, COLUMNS = 3, 4


def grid_of(naming: Naming | None = None, blocks: tuple[str, ...] = ("",)) -> CoreGrid:
    naming = naming or Naming()
    cores = [
        Core(naming.name(r, c, block), r, c, 100.0 * r, 100.0 * c + 1000 * k, 80.0, block=block)
        for k, block in enumerate(blocks)
        for r in range(ROWS)
        for c in range(COLUMNS)
    ]
    return CoreGrid((*cores, Core("X-1", -1, -1, -300.0, 0.0, 80.0)))


GRID = grid_of()
NAMES = [core.name for core in GRID if core.row >= 0]
PATIENTS = [f"P{k:02d}" for k in range(1, 13)]


def matrix(patients: list[str] = PATIENTS, *, head: bool = False, side: bool = False, tab: str = "\t") -> str:
    rows = [patients[4 * r : 4 * r + 4] for r in range(ROWS)]
    if side:
        rows = [["ABC"[r], *row] for r, row in enumerate(rows)]
    if head:
        rows.insert(0, [*[""] * side, "1", "2", "3", "4"])
    return "\n".join(tab.join(row) for row in rows) + "\n"


def patients(grid: CoreGrid) -> dict[str, str]:
    return {core.name: core.patient_id for core in grid if core.patient_id}


def applied(text: str, grid: CoreGrid = GRID) -> CoreGrid:
    return apply_map(grid, match_map(grid, parse_map(text)))
