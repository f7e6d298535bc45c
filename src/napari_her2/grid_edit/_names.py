"""Names during an edit: cores that follow the scheme are named anew, the others keep the names they were given."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Literal

from napari_her2.cores import Core, CoreGrid
from napari_her2.errors import CoresError
from napari_her2.naming import Naming, naming_of

__all__ = ["Axis", "in_order", "named", "namings_of", "newcomer", "off_name", "on_grid", "reading_order", "unnamed"]

Axis = Literal["row", "column"]


def on_grid(grid: Iterable[Core]) -> list[Core]:
    """The cores that have a row and a column."""
    return [core for core in grid if core.row >= 0 and core.column >= 0]


def namings_of(grid: CoreGrid) -> dict[str, Naming]:
    """The scheme of each block, in the order in which the blocks come."""
    return {block: naming_of(grid, block) for block in dict.fromkeys(core.block for core in on_grid(grid))}


def unnamed(grid: CoreGrid, namings: Mapping[str, Naming]) -> list[Core]:
    """The cores, their name "" where it follows the scheme of their block."""
    return [
        replace(c, name="")
        if c.row >= 0 and c.column >= 0 and c.name == namings[c.block].name(c.row, c.column, c.block)
        else c
        for c in grid
    ]


def named(cores: Iterable[Core], namings: Mapping[str, Naming]) -> CoreGrid:
    """A grid in reading order in which cores without a name have that of their cell.

    A core with a name of its own keeps it unless the scheme needs it: then it is called after its cell, and one off
    the grid X-1, X-2, ...

    Raises
    ------
    CoresError
        If two cores without a name stand in the same cell.
    """
    ordered, out = in_order(cores, namings), {}
    scheme = [_scheme_name(core, namings) if core.row >= 0 and core.column >= 0 else "" for core in ordered]
    for n, core in enumerate(ordered):
        if not core.name and scheme[n]:
            if scheme[n] in out:
                raise CoresError(f"Two cores stand in the cell of {scheme[n]}: give one of them another place first.")
            out[scheme[n]] = n
    for n, core in enumerate(ordered):
        if core.name or not scheme[n]:
            wanted = (name for name in (core.name, scheme[n], off_name(out)) if name and name not in out)
            out[next(wanted)] = n
    names = {n: name for name, n in out.items()}
    return CoreGrid(tuple(replace(core, name=names[n]) for n, core in enumerate(ordered)))


def _scheme_name(core: Core, namings: Mapping[str, Naming]) -> str:
    return namings[core.block].name(core.row, core.column, core.block)


def newcomer(core: Core, naming: Naming, taken: Collection[str]) -> Core:
    """A new core with the name of its cell; X-1, X-2, ... with the reason where that is another's name."""
    name = naming.name(core.row, core.column, core.block)
    if name not in taken:
        return replace(core, name=name)
    return replace(core, name=off_name(taken), reason=f"the name {name} of its place belongs to another core")


def off_name(taken: Collection[str]) -> str:
    """The first of X-1, X-2, ... that is free."""
    return next(name for n in itertools.count(1) if (name := f"X-{n}") not in taken)


def in_order(cores: Iterable[Core], blocks: Iterable[str] = ()) -> tuple[Core, ...]:
    """Block by block, row by row; cores off the grid come last. Blocks that are not listed follow as they come."""
    cores = tuple(cores)
    order = {block: n for n, block in enumerate(dict.fromkeys([*blocks, *(c.block for c in on_grid(cores))]))}

    def place(core: Core) -> tuple[int, int, int]:
        on = core.row >= 0 and core.column >= 0
        return (order[core.block], core.row, core.column) if on else (len(order), 0, 0)

    return tuple(sorted(cores, key=place))


def reading_order(grid: CoreGrid) -> CoreGrid:
    """The same cores as a person reads them: block by block (2 before 10), row by row, those off the grid last."""
    blocks = sorted({core.block for core in on_grid(grid)}, key=lambda block: (len(block), block))
    return CoreGrid(in_order(grid, blocks))
