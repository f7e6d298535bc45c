"""What goes out: one file per format, and the way back for those that hold cores."""

from __future__ import annotations

from pathlib import Path

from napari_her2.cores import CoreGrid
from napari_her2.errors import CoresError, OutputError
from napari_her2.export.csv import write_csv
from napari_her2.export.field_again import field_again
from napari_her2.export.geojson import write_geojson
from napari_her2.export.ome import write_heatmap
from napari_her2.export.pages import PAGES_ENDING, Page, write_pages
from napari_her2.export.qptma import qupath_grid, write_qptma
from napari_her2.export.read import CORES_SUFFIXES, CoresFile, read_cores, read_cores_file
from napari_her2.export.regions import RegionsFile, read_regions, write_regions
from napari_her2.export.report import write_report
from napari_her2.export.run import Run, counts, normalised_record, opinion_counts, write_record
from napari_her2.files import check_folder, safe_name, writing
from napari_her2.table import cores_table

__all__ = [
    "CORES_SUFFIXES",
    "ENDINGS",
    "PAGES_ENDING",
    "CoresFile",
    "Page",
    "RegionsFile",
    "Run",
    "check_results",
    "counts",
    "field_again",
    "link_pages",
    "normalised_record",
    "opinion_counts",
    "read_cores",
    "read_cores_file",
    "read_regions",
    "write_pages",
    "write_results",
]

#: Endings of the files of one image, put after its name.
ENDINGS = (
    *(".cores.csv", ".cores.geojson", ".qptma", ".regions.geojson"),
    *(".heatmap.ome.tif", ".report.html", ".run.json"),
)


def check_results(folder: str | Path, name: str, *, overwrite: bool = False, pages: bool = True) -> Path:
    """See, before the work, that the results of an image of that name can be written; returns the folder.

    Parameters
    ----------
    folder : str or Path
    name : str
    overwrite : bool
        Results may be there.
    pages : bool
        Pages of cores are results, too; False where they are just written.

    Raises
    ------
    OutputError
        If the folder cannot be written, or a result exists and `overwrite` is False.
    """
    folder = check_folder(folder)
    there = [file for e in (*ENDINGS, *[PAGES_ENDING] * pages) if (folder / (file := safe_name(name) + e)).exists()]
    if there and not overwrite:
        raise OutputError(
            f"{folder} already holds {there[0]}: choose another folder, or allow overwriting (--overwrite)."
        )
    return folder


def write_results(folder: str | Path, run: Run, *, overwrite: bool = False) -> list[Path]:
    """Write every file of one slide, each whole or not at all.

    Parameters
    ----------
    folder : str or Path
        Made when it is not there.
    run : Run
        The heatmap file is left out when there is no heatmap, QuPath's grid when no core is in rows and columns, the
        regions when none are drawn. Pages of cores come from `write_pages`; the report links to those in `Run.pages`.
    overwrite : bool
        Replace results that are there.

    Returns
    -------
    list of Path
        NAME.cores.csv, NAME.cores.geojson, NAME.qptma, NAME.regions.geojson, NAME.heatmap.ome.tif, NAME.report.html,
        NAME.run.json.

    Raises
    ------
    OutputError
        If the folder cannot be written, the disk is full, or a file exists and `overwrite` is False.
    """
    folder = check_results(folder, run.slide.name, overwrite=overwrite, pages=False)
    table = cores_table(run.slide.name, run.grid, run.scores, run.slide.mpp, run.measured)
    written = []
    left_out = {".heatmap.ome.tif": run.heatmap is None, ".regions.geojson": not run.regions}
    left_out[".qptma"] = not _is_for_qupath(run.grid)
    for ending in ENDINGS:
        if left_out.get(ending):
            continue
        path = folder / (safe_name(run.slide.name) + ending)
        with writing(path, overwrite=overwrite) as temporary:
            if ending == ".cores.csv":
                write_csv(temporary, table)
            elif ending == ".cores.geojson":
                write_geojson(temporary, table, run.grid)
            elif ending == ".qptma":
                write_qptma(temporary, run.grid, run.slide.name)
            elif ending == ".regions.geojson":
                write_regions(temporary, run.regions, run.slide.name)
            elif ending == ".heatmap.ome.tif" and run.heatmap is not None:
                write_heatmap(temporary, run.heatmap, run.slide.mpp)
            elif ending == ".report.html":
                write_report(temporary, run)
            else:
                write_record(temporary, run)
        written.append(path)
    return written


def link_pages(folder: str | Path, run: Run) -> Path:
    """Write the report that `write_results` wrote once more, with links to `Run.pages`; returns it.

    Raises
    ------
    OutputError
        If it cannot be written; the one before is then still there.
    """
    path = Path(folder) / (safe_name(run.slide.name) + ".report.html")
    with writing(path, overwrite=True) as temporary:
        write_report(temporary, run)
    return path


def _is_for_qupath(grid: CoreGrid) -> bool:
    """Whether there are rows and columns that QuPath can have as a TMA grid."""
    try:
        return bool(qupath_grid(grid))
    except CoresError:
        return False
