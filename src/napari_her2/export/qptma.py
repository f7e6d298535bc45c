"""``.qptma``: the only file that brings a TMA grid into QuPath without a script, by dropping it on the open image."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.errors import CoresError
from napari_her2.grid_edit import complete
from napari_her2.naming import core_name
from napari_her2.rectangle import one_rectangle
from napari_her2.spreadsheet import read_text

__all__ = ["Cell", "qupath_grid", "read_qptma", "write_qptma"]

_WIDTH, _HEIGHT = "TMA grid width:", "TMA grid height:"
_COLUMNS = ("Core name", "X", "Y", "Width", "Height", "Present", "Case ID")
#: What QuPath before 0.4 called the case.
_OLD_CASE = "Unique ID"
#: Cells of a grid; the largest TMAs have some 1,500.
_MOST_CELLS = 20_000


def write_qptma(path: Path, grid: CoreGrid, image_name: str) -> tuple[str, ...]:
    """Write a grid for QuPath, row by row; cells without a core are written as not present, as are excluded cores.

    Parameters
    ----------
    path : Path
    grid : CoreGrid
        Several blocks are joined into one grid, as they stand side by side.
    image_name : str
        Written without its folder.

    Returns
    -------
    tuple of str
        Names of the cores that are left out, being off the grid or second in their cell.

    Raises
    ------
    CoresError
        If no core is on the grid, or its rows and columns cannot be those of a tissue microarray.
    """
    cells = qupath_grid(grid)
    if not cells:
        raise CoresError("No core is in a row and column, and QuPath's .qptma holds nothing else.")
    name = _one_line(PurePosixPath(image_name.replace("\\", "/")).name)
    # QuPath takes the line below the height for the names of the columns, so none may be empty
    lines = [name, name, "", f"{_WIDTH} {len(cells[0])}", f"{_HEIGHT} {len(cells)}", "\t".join(_COLUMNS)]
    lines += ["\t".join(_cells(cell.core)) for row in cells for cell in row]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    written = {cell.name for row in cells for cell in row}
    return tuple(core.name for core in grid if core.name not in written)


@dataclass(frozen=True)
class Cell:
    """A cell of QuPath's one rectangle: the core as it stands there, and its name in our grid; "" for a filled gap."""

    core: Core
    name: str


def qupath_grid(grid: CoreGrid) -> list[list[Cell]]:
    """The cores as QuPath wants a TMA grid: one rectangle, row by row, each cell filled.

    Several blocks are joined as they stand side by side; a cell without a core gets one without tissue where it should
    lie. Of several cores in one cell the first is taken. Empty when no core is in a row and column.

    Raises
    ------
    CoresError
        If blocks cannot be joined, or rows and columns cannot be those of a tissue microarray.
    """
    cores, called = one_rectangle(grid)
    if not len(cores):
        return []
    if (1 + max(core.row for core in cores)) * (1 + max(core.column for core in cores)) > _MOST_CELLS:
        raise CoresError(f"The cores are in more rows and columns than a TMA can have: over {_MOST_CELLS:,} cells.")
    cells = {(core.row, core.column): core for core in reversed(complete(cores).cores)}
    height, width = (1 + max(cell[axis] for cell in cells) for axis in (0, 1))
    return [[_cell(cells[row, column], called) for column in range(width)] for row in range(height)]


def _cell(core: Core, called: dict[str, str]) -> Cell:
    # joining renames: in QuPath, too, a core is called as it is here
    name = called.get(core.name, "")
    return Cell(replace(core, name=name or core.name), name)


def _cells(core: Core) -> tuple[str, ...]:
    corner = (core.x - core.diameter / 2, core.y - core.diameter / 2, core.diameter, core.diameter)
    numbers = (f"{value:.4f}".rstrip("0").rstrip(".") for value in corner)
    present = str(core.state is CoreState.TISSUE).lower()
    return (_one_line(core.name), *numbers, present, _one_line(core.patient_id))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def read_qptma(path: Path) -> CoreGrid:
    """Read a TMA grid that QuPath, or `write_qptma`, wrote.

    Raises
    ------
    CoresError
        If it is no such file, or its lines do not make a grid.
    """
    lines = [line.rstrip("\r") for line in read_text(path).split("\n")]
    sizes = {key: _size(lines, key) for key in (_WIDTH, _HEIGHT)}
    head = next((i for i, line in enumerate(lines) if {"X", "Y", "Width", "Height"} <= set(line.split("\t"))), None)
    if head is None or not all(sizes.values()):
        raise CoresError(
            f"{path.name} is no TMA grid of QuPath: it needs a width, a height, and X, Y, Width and Height."
        )
    columns = lines[head].split("\t")
    rows = [line.split("\t") for line in lines[head + 1 :] if line.strip()]
    width, height = sizes[_WIDTH], sizes[_HEIGHT]
    if len(rows) != width * height:
        raise CoresError(f"{path.name} has {len(rows)} cores where {height} rows of {width} were announced.")
    cores = []
    for k, row in enumerate(rows):
        cell = dict(zip(columns, (*row, *[""] * len(columns)), strict=False))
        core = _core(cell, *divmod(k, width), path.name)
        cores += [] if core is None else [core]
    if not cores:
        raise CoresError(f"{path.name} holds no core with a place.")
    return CoreGrid(tuple(cores))


def _size(lines: list[str], key: str) -> int:
    said = next((line.removeprefix(key).strip() for line in lines if line.startswith(key)), "")
    return int(said) if re.fullmatch(r"\d{1,4}", said) else 0


def _core(cell: dict[str, str], row: int, column: int, file: str) -> Core | None:
    """The core of a cell; None for one without a place, which QuPath writes for a core without an outline."""
    name = cell.get("Core name", "").strip() or core_name(row, column)
    texts = [cell[key].strip().replace(",", ".") for key in ("X", "Y", "Width", "Height")]
    if not any(texts):
        return None
    try:
        x, y, w, h = map(float, texts)
        if not 0 < max(w, h) < 1e9 or not abs(x) + abs(y) < 1e9:
            raise ValueError("out of bounds")
    except ValueError as error:
        raise CoresError(f"The place of core {name} in {file} is no number of pixels.") from error
    present = cell.get("Present", "true").strip().casefold() != "false"
    return Core(
        name,
        row,
        column,
        y=y + h / 2,
        x=x + w / 2,
        diameter=max(w, h),
        state=CoreState.TISSUE if present else CoreState.MISSING,
        patient_id=(cell.get("Case ID") or cell.get(_OLD_CASE) or "").strip(),
    )
