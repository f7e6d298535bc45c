"""Grids to edit: any tilt, size and scheme, some cells empty or without tissue, in one block or two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.naming import Naming, extend_labels, parse_labels

PITCH = 100.0


def grid_of(
    rows: int,
    columns: int,
    naming: Naming | None = None,
    *,
    degrees: float = 0,
    missing: tuple[str, ...] = (),
    block: str = "",
    at: tuple[float, float] = (1000, 1000),
    gap_after: int = 99,
) -> CoreGrid:
    """A full grid with a patient for each core; a gap of another 0.8 pitches after that column."""
    scheme = (naming or Naming()).sized(rows, columns)
    a = np.radians(degrees)
    cores = []
    for r, c in np.ndindex(rows, columns):
        v, u = PITCH * r, PITCH * (c + 0.8 * (c > gap_after))
        y, x = at[0] + v * np.cos(a) + u * np.sin(a), at[1] + u * np.cos(a) - v * np.sin(a)
        core = Core(scheme.name(r, c, block), r, c, float(y), float(x), 85, block=block, patient_id=f"{block}/{r}/{c}")
        cores.append(replace(core, state=CoreState.MISSING) if core.name in missing else core)
    return CoreGrid(tuple(cores))


def cells(grid: CoreGrid) -> dict[str, tuple[str, int, int]]:
    """Block, row and column by name."""
    return {c.name: (c.block, c.row, c.column) for c in grid}


def names_by_patient(grid: CoreGrid) -> dict[str, str]:
    """What the cores that were there from the beginning are called, those without tissue left out."""
    return {c.patient_id: c.name for c in grid if c.patient_id and c.state is not CoreState.MISSING}


def known(grid: CoreGrid) -> set[tuple[float, float, str]]:
    """What must never be lost: where there is tissue, and whose it is."""
    return {(c.y, c.x, c.patient_id) for c in grid if c.state is not CoreState.MISSING}


_RANGES = ["A-J", "J-A", "C-L", "1-10", "01-10", "10-01", "a-j", "Y-AH", "05-14"]
counted = st.sampled_from(_RANGES).map(parse_labels)
listed = st.permutations([*list("ABXQ"), "liver", "7"]).map(tuple)


def _sized(labels: tuple[str, ...], count: int) -> tuple[str, ...]:
    return extend_labels(labels, count)


@st.composite
def grids(
    draw: Callable[..., int], *, plain: bool = False, full: bool = False, blocks: bool = True
) -> CoreGrid:  # plain: labels that count, and no names of their own; full: a core in every cell
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    labels = counted if plain else counted | listed
    naming = Naming(_sized(draw(labels), rows), _sized(draw(labels), columns), draw(st.booleans()))
    degrees = draw(st.integers(-40, 40))
    parts = [("", (1000, 1000))]
    if blocks and draw(st.booleans()):
        parts = [("1", (1000, 1000)), ("2", (1000, 3000))]
    cores = [c for block, at in parts for c in grid_of(rows, columns, naming, degrees=degrees, block=block, at=at)]
    for n in draw(st.sets(st.integers(0, len(cores) - 1), max_size=len(cores) // 2)):
        cores[n] = replace(cores[n], state=draw(st.sampled_from(CoreState)), note="seen")
    if not full:
        kept = [c for c in cores if draw(st.integers(0, 4))]
        cores = kept or cores
    if not plain:
        own = draw(st.lists(st.sampled_from(["liver", "K-2", "A-3", "1-B"]), max_size=2, unique=True))
        for name in own:
            if name not in {c.name for c in cores}:
                n = draw(st.integers(0, len(cores) - 1))
                cores[n] = replace(cores[n], name=name)
        off = draw(st.lists(st.sampled_from(["X-1", "X-3", "B-7", "control"]), max_size=2, unique=True))
        for n, name in enumerate(off):
            if name not in {c.name for c in cores}:
                cores.append(Core(name, -1, -1, 200.0, 200.0 * n, 85, patient_id=f"off {n}"))
    return CoreGrid(tuple(cores))
