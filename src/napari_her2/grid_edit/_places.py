"""Where cells of a grid lie, as the cores of their rows and columns tell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.errors import CoresError
from napari_her2.grid_edit._names import in_order, namings_of, newcomer, on_grid

__all__ = ["BlockLattice", "complete", "expected_places", "lattice_of"]

Points = npt.NDArray[np.float64]
Cells = npt.NDArray[np.float64]

#: What the place of a core without tissue counts: it stands where somebody expected it.
_MISSING_COUNTS = 0.3
#: How strongly the next line is expected one pitch on: it matters where a line has no core.
_EVEN = 0.02
#: Pitch in diameters when a single core must tell it.
_USUAL_PITCH = 1.15


@dataclass(frozen=True)
class BlockLattice:
    """Where the lines of a block lie: a crossing is the sum of a place of its row and one of its column.

    That holds for any tilt and any spacing of the lines, wide gaps between sectors included; what a warp leaves over
    is taken from the nearest cores.

    Attributes
    ----------
    rows, columns : ndarray of float, shape (n, 2)
        (y, x) part of each row and each column from 0 to the last.
    down, along : ndarray of float, shape (2,)
        Usual step (y, x) from one row to the next, and from one column to the next.
    cells, residuals : ndarray of float, shape (n, 2)
        (row, column) of each core, and by how much (y, x) it lies off its crossing.
    weights : ndarray of float, shape (n,)
        What each core counts.
    """

    rows: Points
    columns: Points
    down: Points
    along: Points
    cells: Cells
    residuals: Points
    weights: npt.NDArray[np.float64]

    @property
    def pitch(self) -> float:
        """Smaller of the two steps, in level-0 pixels."""
        return float(min(np.hypot(*self.down), np.hypot(*self.along)))

    def crossings(self, cells: Cells) -> Points:
        """Where lines cross, (y, x); cells of shape (n, 2) may lie between the lines or beyond them."""
        return _at(self.rows, self.down, cells[:, 0]) + _at(self.columns, self.along, cells[:, 1])

    def places(self, cells: npt.ArrayLike) -> Points:
        """Where the cores of cells (row, column) should lie, (y, x), by their neighbours and not by themselves."""
        wanted = np.asarray(cells, float).reshape(-1, 2)
        distance = np.hypot(*np.moveaxis(wanted[:, None] - self.cells[None], -1, 0))
        distance[distance < 0.01] = np.inf
        k = min(6, len(self.cells))
        index = np.argpartition(distance, k - 1, axis=1)[:, :k]
        near = np.take_along_axis(distance, index, axis=1)
        weight = self.weights[index] / (0.3 + near**2)
        total = np.maximum(weight.sum(axis=1), 1e-9)[:, None]
        shift = (weight[..., None] * self.residuals[index]).sum(axis=1) / total
        # cores far away know nothing of the place
        shift *= np.exp(-((near.min(axis=1) / 4) ** 2))[:, None]
        return np.asarray(self.crossings(wanted) + shift)

    def offsets(self, steps: Points) -> Cells:
        """Steps (y, x) in pixels as steps (rows, columns)."""
        return np.asarray(np.linalg.solve(np.stack([self.down, self.along], axis=1), steps.T).T)


def _at(lines: Points, step: Points, where: npt.NDArray[np.float64]) -> Points:
    inside = np.clip(where, 0, len(lines) - 1)
    low = np.floor(inside).astype(int)
    high, part = np.minimum(low + 1, len(lines) - 1), (inside - low)[:, None]
    return np.asarray((1 - part) * lines[low] + part * lines[high] + (where - inside)[:, None] * step)


def lattice_of(cores: Iterable[Core]) -> BlockLattice:
    """The lattice of the cores of one block; at least one of them is on the grid."""
    cores = [c for c in cores if c.row >= 0 and c.column >= 0]
    cells = np.array([[c.row, c.column] for c in cores])
    points = np.array([[c.y, c.x] for c in cores], float)
    trust = np.array([_MISSING_COUNTS if c.state is CoreState.MISSING else 1.0 for c in cores])
    down, along = _steps(cells, points, _USUAL_PITCH * float(np.median([c.diameter for c in cores])))
    weights = trust
    for _ in range(4):
        rows, columns = _lines(cells, points, weights, down, along)
        residuals = points - rows[cells[:, 0]] - columns[cells[:, 1]]
        off = np.hypot(*residuals.T)
        # a core that was put somewhere else says nothing of its lines
        usual = 3 * float(np.median(off)) + 0.02 * min(np.hypot(*down), np.hypot(*along))
        weights = trust * np.minimum(1, (usual / np.maximum(off, 1e-9)) ** 2)
    return BlockLattice(rows, columns, down, along, cells.astype(float), residuals, weights)


def _lines(
    cells: npt.NDArray[np.int_], points: Points, weights: npt.NDArray[np.float64], down: Points, along: Points
) -> tuple[Points, Points]:
    """Parts of rows and columns that add up to the places of the cores, by least squares."""
    n, m = cells.max(axis=0) + 1
    matrix, right = np.zeros((n + m, n + m)), np.zeros((n + m, 2))
    for line in (cells[:, 0], n + cells[:, 1]):
        np.add.at(matrix, (line, line), weights)
        np.add.at(right, line, weights[:, None] * points)
    np.add.at(matrix, (cells[:, 0], n + cells[:, 1]), weights)
    np.add.at(matrix, (n + cells[:, 1], cells[:, 0]), weights)
    for start, stop, step in ((0, n, down), (n, n + m, along)):
        lower = np.arange(start, stop - 1)
        upper = lower + 1
        for a, b, sign in ((lower, lower, 1), (upper, upper, 1), (lower, upper, -1), (upper, lower, -1)):
            matrix[a, b] += sign * _EVEN**2
        right[upper] += _EVEN**2 * step
        right[lower] -= _EVEN**2 * step
    matrix[n, n] += 1  # the first column has no part of its own
    solved = np.linalg.solve(matrix, right)
    return solved[:n], solved[n:]


def _steps(cells: npt.NDArray[np.int_], points: Points, guess: float) -> tuple[Points, Points]:
    """Usual step from row to row, and from column to column."""
    down, along = _usual_step(cells, points, 0), _usual_step(cells, points, 1)
    if down is None and along is None and len(np.unique(cells, axis=0)) > 1:
        # no two cores share a line: squares, turned and scaled to fit
        r, c = (cells - cells.mean(axis=0)).T
        y, x = (points - points.mean(axis=0)).T
        along = np.array([c @ y - r @ x, c @ x + r @ y]) / (r @ r + c @ c)
        along = along if np.hypot(*along) > 0 else None
    if along is None:
        along = np.array([0.0, guess]) if down is None else np.array([-down[1], down[0]])
    if down is None:
        down = np.array([along[1], -along[0]])
    if abs(down[0] * along[1] - down[1] * along[0]) < 0.1 * np.hypot(*down) * np.hypot(*along):
        down = np.array([along[1], -along[0]])  # rows and columns on one line: no grid yet
    return down, along


def _usual_step(cells: npt.NDArray[np.int_], points: Points, axis: int) -> Points | None:
    """Median step along an axis between neighbours that share a line."""
    order = np.lexsort((cells[:, axis], cells[:, 1 - axis]))
    ahead = np.diff(cells[order], axis=0)
    pair = (ahead[:, 1 - axis] == 0) & (ahead[:, axis] > 0)
    if not pair.any():
        return None
    step = np.asarray(np.median(np.diff(points[order], axis=0)[pair] / ahead[pair, axis][:, None], axis=0))
    return step if np.hypot(*step) > 0 else None


def expected_places(grid: CoreGrid, cells: npt.ArrayLike, block: str = "") -> Points:
    """Where cells of a block should lie, by the cores in the same rows and columns.

    Parameters
    ----------
    grid : CoreGrid
        Cores without tissue count less than those with.
    cells : array_like, shape (n, 2)
        (row, column); may lie beyond the border, one pitch a line. What stands in the cell itself is not considered.
    block : str
        Name of the block.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        (y, x) in level-0 pixels.

    Raises
    ------
    CoresError
        If no core of that block is on the grid.
    """
    cores = [c for c in on_grid(grid) if c.block == block]
    if not cores:
        raise CoresError(f"No core of block {block} is on the grid." if block else "No core is on the grid.")
    return lattice_of(cores).places(cells)


def complete(grid: CoreGrid) -> CoreGrid:
    """The same grid with a missing core in every cell that had none, from the first to the last row and column.

    A new core whose name belongs to another one is called X-1, X-2, ...: what is there keeps its name.
    """
    cores, taken = list(grid), {c.name for c in grid}
    for block, naming in namings_of(grid).items():
        own = [c for c in on_grid(grid) if c.block == block]
        known = {(c.row, c.column) for c in own}
        empty = [cell for cell in np.ndindex(len(naming.rows), len(naming.columns)) if cell not in known]
        if empty:
            cores += missing_cores(own, empty, lattice_of(own).places(empty))
            for n in range(len(cores) - len(empty), len(cores)):
                cores[n] = newcomer(cores[n], naming, taken)
                taken.add(cores[n].name)
    return CoreGrid(in_order(cores))


def missing_cores(own: list[Core], cells: Iterable[tuple[int, ...]], places: Points) -> list[Core]:
    """Cores without tissue and without a name, as large as the others of their block."""
    diameter = float(np.median([c.diameter for c in own]))
    return [
        Core("", row, column, float(y), float(x), diameter, CoreState.MISSING, own[0].block)
        for (row, column), (y, x) in zip(cells, places, strict=True)
    ]
