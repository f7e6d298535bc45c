"""The grid of a slide as the command line wants it: found, read or taken over; then named, and given its patients."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import typer

from napari_her2.cli.options import CoresOptions, FindOptions, SlideOptions
from napari_her2.cores import Core, CoreGrid
from napari_her2.dearray import DearrayParams, find_cores
from napari_her2.errors import CoresError
from napari_her2.export import read_cores
from napari_her2.grid_edit import rename, renumber
from napari_her2.naming import Naming, naming_of, parse_labels
from napari_her2.sectors import split_sectors
from napari_her2.slide import Slide

__all__ = ["GridOptions", "grid_of_slide", "grid_options"]


@dataclass(frozen=True)
class GridOptions(FindOptions):
    """How the cores of a slide are come by, by the names of the command line: found, read from a file, or one only."""

    cores: Path | None = None
    single_core: bool = False


def grid_options(images: list[Path], chosen: CoresOptions, slide: SlideOptions) -> GridOptions:
    """How `score` and `measure` come by the cores.

    Raises
    ------
    typer.BadParameter
        If one option contradicts another.
    """
    cores, single_core, like = chosen.cores, slide.single_core, slide.like
    if cores is not None and (single_core or len(images) > 1):
        sentence = "it holds the cores of one slide: name one IMAGE, without --single-core."
        raise typer.BadParameter(sentence, param_hint="--cores")
    if like is not None and (single_core or cores is not None):
        raise typer.BadParameter("it stands in for --cores and --single-core: give one of them.", param_hint="--like")
    return GridOptions(
        core_diameter=slide.core_diameter,
        cores=cores,
        like=like,
        single_core=single_core,
        sectors=slide.sectors,
        tma_map=slide.tma_map,
    )


def grid_of_slide(slide: Slide, options: GridOptions, remark: Callable[[str], None]) -> CoreGrid:
    """The cores of a slide.

    Parameters
    ----------
    slide : Slide
    options : GridOptions
    remark : callable
        Gets what the user should know, a sentence each.

    Raises
    ------
    HER2Error
        If there are no cores, or they cannot be named or matched as wanted.
    """
    grid = _come_by(slide, options, remark)
    if options.count_from != "top-left":
        grid = renumber(grid, options.count_from)  # type: ignore[arg-type]
    if options.row_labels or options.column_labels or options.column_first:
        grid = rename(grid, _naming(grid, options))
    if options.sectors:
        grid = split_sectors(grid)
    return grid if options.tma_map is None else _with_map(grid, options.tma_map, remark)


def _come_by(slide: Slide, options: GridOptions, remark: Callable[[str], None]) -> CoreGrid:
    if options.cores is not None:
        return read_cores(options.cores)
    if options.single_core:
        h, w = slide.shape
        return CoreGrid((Core("A-1", 0, 0, y=h / 2, x=w / 2, diameter=min(h, w)),))
    if options.like is not None:
        from napari_her2.dearray.reuse import reuse_grid

        reuse = reuse_grid(slide, read_cores(options.like))
        if reuse.warning:
            remark(reuse.warning)
        return reuse.grid
    params = DearrayParams(
        core_diameter_um=options.core_diameter,
        rows=options.rows,
        columns=options.columns,
        pitch_um=options.pitch,
        rotation_degrees=options.rotation,
        blocks=options.blocks,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        grid = find_cores(slide, params)
    for warning in caught:
        remark(str(warning.message))
    return grid


def _naming(grid: CoreGrid, options: GridOptions) -> Naming:
    known = naming_of(grid)
    rows = parse_labels(options.row_labels) if options.row_labels else known.rows
    columns = parse_labels(options.column_labels) if options.column_labels else known.columns
    return Naming(rows, columns, row_first=known.row_first != options.column_first)


def _with_map(grid: CoreGrid, path: Path, remark: Callable[[str], None]) -> CoreGrid:
    from napari_her2.tma_map import apply_map, match_map, read_map

    match = match_map(grid, read_map(path))
    if match.problem:
        ways = f" It would fit {' or '.join(match.alternatives)}." if match.alternatives else ""
        raise CoresError(f"{path.name}: {match.problem}{ways}")
    rest = [f"line {row.line}" for row in match.unmatched]
    remark(f"{path.name}: {match.summary}" + (f" No core for {', '.join(rest)}." if rest else ""))
    for sentence in match.remarks:
        remark(sentence)
    return apply_map(grid, match)
