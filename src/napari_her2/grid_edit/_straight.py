"""Rows and columns counted straight through all blocks of a slide, from where their cores lie."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from napari_her2.cores import Core, CoreGrid
from napari_her2.grid_edit._names import on_grid
from napari_her2.grid_edit._places import BlockLattice, lattice_of

__all__ = ["straight_through"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Lines of two blocks are the same where they are this close, in pitches.
_SAME = 0.4
#: Blocks with fewer lines take the step from one to the next from their neighbour, or from the whole slide.
_FEW = 3
#: So many nearest pairs of cores tell how two blocks lie to each other.
_PAIRS = 6


def straight_through(grid: CoreGrid) -> dict[str, tuple[Ints, Ints]]:
    """Row of the slide of each row of a block, and the same for columns.

    Blocks side by side share rows where their lines line up, else those of the one that begins higher come first;
    columns likewise. Wider gaps do not count.

    Parameters
    ----------
    grid : CoreGrid
        Cores on the grid, in any number of blocks.

    Returns
    -------
    dict of str to (ndarray of int64, ndarray of int64)
        For each block the index on the slide of its rows 0, 1, ... and of its columns.
    """
    blocks: dict[str, list[Core]] = {}
    for core in on_grid(grid):
        blocks.setdefault(core.block, []).append(core)
    if not blocks:
        return {}
    own = list(blocks.values())
    between, trust = _between(own, [lattice_of(cores) for cores in own])
    spans = np.array([[[min(n), max(n)] for n in ([c.row for c in o], [c.column for c in o])] for o in own])
    lines = [_numbered(_offsets(between[..., k], trust), spans[:, k]) for k in range(2)]
    return dict(zip(blocks, zip(*lines, strict=True), strict=True))


def _between(own: list[list[Core]], lattices: list[BlockLattice]) -> tuple[Floats, Floats]:
    """How far the first cell of each block lies from that of each other, in (rows, columns), and how sure that is.

    The nearest cores of two blocks tell: a warp has least room between them.
    """
    sizes = np.array([len(cores) for cores in own], float)
    common = np.average([[la.down, la.along] for la in lattices], axis=0, weights=sizes)
    points = [np.array([[c.y, c.x] for c in cores]) for cores in own]
    cells = [np.array([[c.row, c.column] for c in cores], float) for cores in own]
    count = len(own)
    between, trust = np.zeros((count, count, 2)), np.zeros((count, count))
    for a, b in itertools.combinations(range(count), 2):
        step = _step_between(lattices[a], lattices[b], common)
        across = points[b][None] - points[a][:, None]
        distance = np.hypot(across[..., 0], across[..., 1])
        i, j = np.unravel_index(np.argsort(distance, axis=None)[:_PAIRS], distance.shape)
        moved = np.linalg.solve(step.T, across[i, j].T).T
        between[a, b] = np.median(cells[a][i] + moved - cells[b][j], axis=0)
        between[b, a] = -between[a, b]
        gap = float(distance.min()) / min(np.hypot(*step[0]), np.hypot(*step[1]))
        trust[a, b] = trust[b, a] = 1 / max(1.0, gap) ** 4
    return between, trust


def _step_between(a: BlockLattice, b: BlockLattice, common: Floats) -> Floats:
    """Steps (y, x) down and along in the middle between two blocks."""
    down = [la.down for la in (a, b) if len(la.rows) >= _FEW] or [common[0]]
    along = [la.along for la in (a, b) if len(la.columns) >= _FEW] or [common[1]]
    return np.array([np.mean(down, axis=0), np.mean(along, axis=0)])


def _offsets(between: Floats, trust: Floats) -> Floats:
    """Line of the slide at which each block begins, in pitches, by least squares."""
    matrix = np.diag(trust.sum(axis=1)) - trust
    matrix[0, 0] += 1
    return np.asarray(np.linalg.solve(matrix, (trust * between).sum(axis=0)))


def _numbered(offsets: Floats, spans: Ints) -> list[Ints]:
    """Index of each line of each block; blocks whose lines line up share them."""
    first, last = offsets + spans[:, 0], offsets + spans[:, 1]
    starts: dict[int, int] = {}
    done = 0
    for block in np.argsort(first, kind="stable"):
        if int(block) in starts:
            continue
        group = _lined_up(int(block), offsets, first, last)
        low = min(at + int(spans[b, 0]) for b, at in group.items())
        starts |= {b: done + at - low for b, at in group.items()}
        done += 1 + max(at + int(spans[b, 1]) for b, at in group.items()) - low
    return [starts[b] + np.arange(int(stop) + 1) for b, (_, stop) in enumerate(spans)]


def _lined_up(block: int, offsets: Floats, first: Floats, last: Floats) -> dict[int, int]:
    """Blocks that share lines with this one or with each other, and by how many whole lines they are displaced."""
    group, todo = {block: 0}, [block]
    while todo:
        here = todo.pop()
        step = offsets - offsets[here]
        shares = np.minimum(last, last[here]) - np.maximum(first, first[here]) > -0.5
        same = np.abs(step - np.round(step)) < _SAME
        for other in _new(np.flatnonzero(shares & same), group):
            group[other] = group[here] + round(float(step[other]))
            todo.append(other)
    return group


def _new(found: Iterable[np.int64], known: dict[int, int]) -> list[int]:
    return [int(n) for n in found if int(n) not in known]
