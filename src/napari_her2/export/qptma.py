"""``.qptma``: the only file that brings a TMA grid into QuPath without a script, by dropping it on the open image."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from napari_her2.cores import Core, CoreGrid, CoreState, core_name
from napari_her2.errors import CoresError
from napari_her2.grid_edit import complete
from napari_her2.sectors import join_sectors
from napari_her2.spreadsheet import read_text

__all__ = ["read_qptma", "write_qptma"]

_WIDTH, _HEIGHT = "TMA grid width:", "TMA grid height:"
_COLUMNS = ("Core name", "X", "Y", "Width", "Height", "Present", "Case ID")
#: What QuPath before 0.4 called the case.
_OLD_CASE = "Unique ID"


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
        Names of the cores that are left out, being off the grid.

    Raises
    ------
    CoresError
        If no core is on the grid.
    """
    left_out = tuple(core.name for core in grid if core.row < 0)
    cores = CoreGrid(tuple(core for core in grid if core.row >= 0))
    if not len(cores):
        raise CoresError("No core is in a row and column, and QuPath's .qptma holds nothing else.")
    if len({core.block for core in cores}) > 1:
        cores = join_sectors(cores)
    cells = {(core.row, core.column): core for core in complete(cores)}
    height, width = (1 + max(cell[axis] for cell in cells) for axis in (0, 1))
    name = _one_line(PurePosixPath(image_name.replace("\\", "/")).name)
    # QuPath takes the line below the height for the names of the columns, so none may be empty
    lines = [name, name, "", f"{_WIDTH} {width}", f"{_HEIGHT} {height}", "\t".join(_COLUMNS)]
    lines += ["\t".join(_cells(cells[row, column])) for row in range(height) for column in range(width)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return left_out


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
