"""The cores of a grid as one rectangle of rows and columns, however many blocks they are in."""

from __future__ import annotations

import numpy as np

from napari_her2.cores import CoreGrid
from napari_her2.errors import CoresError
from napari_her2.sectors import join_sectors

__all__ = ["one_rectangle"]


def one_rectangle(grid: CoreGrid) -> tuple[CoreGrid, dict[str, str]]:
    """Count rows and columns straight through all blocks; cores off the grid are left out.

    Returns
    -------
    joined : CoreGrid
        In one block, named as it would be if it were one; empty when no core is in a row and column.
    names : dict of str to str
        The name in `grid` of each core of `joined`.

    Raises
    ------
    CoresError
        If the blocks cannot be joined.
    """
    cores = CoreGrid(tuple(core for core in grid if core.row >= 0 and core.column >= 0))
    if len({core.block for core in cores}) < 2:
        return cores, {core.name: core.name for core in cores}
    by_place = {(core.y, core.x): core.name for core in reversed(cores.cores)}
    try:
        joined = join_sectors(cores)
    except np.linalg.LinAlgError as error:
        raise CoresError("The blocks of the grid cannot be joined: their cores lie in one place.") from error
    return joined, {core.name: by_place[core.y, core.x] for core in joined}
