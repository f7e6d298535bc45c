"""What commands share: options, each declared once, and groups of options that go together.

Only what is light is imported here: it is read whenever help is shown.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from napari_her2.errors import ModelError

if TYPE_CHECKING:
    from napari_her2.models import ScoringModel

CORNERS = ("top-left", "top-right", "bottom-left", "bottom-right")


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take options in groups: each parameter that is a dataclass stands for its fields, in place.

    Parameters
    ----------
    command : callable
        Its groups have no default; the fields of a group do.

    Returns
    -------
    callable
        The command as typer is to see it, each field an option of its own.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    options = []
    for option in inspect.signature(command).parameters.values():
        if option.name in groups:
            of = get_type_hints(groups[option.name], include_extras=True)
            ours = fields(groups[option.name])
            options += [option.replace(name=f.name, default=f.default, annotation=of[f.name]) for f in ours]
        else:
            options.append(option.replace(annotation=hints[option.name]))

    @wraps(command)
    def call(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{f.name: given.pop(f.name) for f in fields(kind)})
        command(**given)

    call.__annotations__ = {option.name: option.annotation for option in options}
    call.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    return call


def _one_of(known: Callable[[], Collection[str]]) -> Callable[[str], str]:
    """The check of an option that takes one of a few words, asked for when the command runs."""

    def check(word: str) -> str:
        if word not in known():
            raise typer.BadParameter(f"{word} is none of {', '.join(known())}.")
        return word

    return check


def _devices() -> Collection[str]:
    from napari_her2.engine import DEVICES

    return DEVICES


def _rules() -> Collection[str]:
    from napari_her2.membrane.rules import RULES_OF

    return RULES_OF


def _finders() -> Collection[str]:
    from napari_her2.finders import BUILT_IN, FINDERS

    return (BUILT_IN, *FINDERS)


Images = Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Slides: SVS, NDPI, SCN, BIF, (OME-)TIFF, PNG.")]
Folder = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the results; made if need be.")]
PixelSize = Annotated[
    float | None, typer.Option(metavar="UM", help="Pixel size in µm, when the file does not say it or says it wrongly.")
]
CoreDiameter = Annotated[
    float | None, typer.Option(metavar="UM", min=1, help="Core diameter in µm; found when not given.")
]
Rows = Annotated[int | None, typer.Option(metavar="N", min=1, help="Rows of the grid; found when not given.")]
Columns = Annotated[int | None, typer.Option(metavar="N", min=1, help="Columns of the grid; found when not given.")]
Pitch = Annotated[
    float | None, typer.Option(metavar="UM", min=1, help="Distance of neighbouring cores in µm; found when not given.")
]
Rotation = Annotated[
    float | None, typer.Option(metavar="DEG", help="How far the rows are turned, clockwise; found when not given.")
]
Blocks = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Fields of cores with wider gaps between; 1: gaps are rows.")
]
Like = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Cores of another section of the same block: their names and patients are used."),
]
Sectors = Annotated[bool, typer.Option("--sectors", help="Name sector by sector: 1:A-1, 2:A-1, ...")]
RowLabels = Annotated[str | None, typer.Option(metavar="LABELS", help="Such as A-J, H-A, 01-16, or A B D.")]
ColumnLabels = Annotated[str | None, typer.Option(metavar="LABELS", help="Such as 1-16.")]
ColumnFirst = Annotated[bool, typer.Option("--column-first", help="Names as 1-A rather than A-1.")]
CountFrom = Annotated[
    str,
    typer.Option(
        metavar="CORNER", help="Corner where counting begins, such as bottom-right.", callback=_one_of(lambda: CORNERS)
    ),
]
TMAMap = Annotated[
    Path | None,
    typer.Option(
        "--map", metavar="FILE", help="TMA map with the patients: a table or a matrix (CSV, TSV, XLSX, QPMAP)."
    ),
]
ModelName = Annotated[str | None, typer.Option(metavar="NAME|FILE", help="See: napari-her2 models.")]
CalibrationFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Cut points of this batch, from napari-her2 calibrate.")
]
Normalise = Annotated[
    bool, typer.Option("--normalise", help="Show the model each slide in its reference colours (see its card first).")
]
Device = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda|mps", help="Where the network runs, or what --nuclei names.", callback=_one_of(_devices)
    ),
]
CoresFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Take the cores from this .cores.csv, .geojson or .qptma.")
]
Select = Annotated[str | None, typer.Option(metavar="NAMES", help='These cores only, such as "A-*,B-3".')]
SingleCore = Annotated[bool, typer.Option("--single-core", help="Each image is one core.")]
Rules = Annotated[
    str,
    typer.Option(
        "--rules",
        metavar="breast|gastric-resection|gastric-biopsy",
        help="How cells make a measured score: ASCO/CAP breast 2018/2023, or gastric and gastro-oesophageal.",
        callback=_one_of(_rules),
    ),
]
MeasureCalibration = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Thresholds of measured staining, from napari-her2 calibrate --measure."),
]
StainsFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Stain vectors of another slide's run.json, not each slide's own.")
]
DrawnRegions = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help='GeoJSON of polygons: of a core with class "Count here" on it only cells there count; "Leave out" never.',
    ),
]
Nuclei = Annotated[
    str,
    typer.Option(
        metavar="built-in|cellpose|stardist|instanseg",
        help="What finds the nuclei; see docs/nuclei.md for what each needs.",
        callback=_one_of(_finders),
    ),
]
NucleiWeights = Annotated[
    Path | None,
    typer.Option(metavar="FILE|FOLDER", help="Its weights, which you have; an InstanSeg file is code that is run."),
]
Pages = Annotated[
    bool, typer.Option("--pages", help="A page for each measured core, too: pictures, cells by class, figures.")
]
Manifest = Annotated[
    Path,
    typer.Argument(metavar="MANIFEST.csv", help="Cores of known score: image, core, score, patient [, cores, split]."),
]
Split = Annotated[str | None, typer.Option(metavar="NAME", help="Only the cores of this split of the manifest.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")]
Seed = Annotated[int, typer.Option(min=0, help="Another seed draws other patches.")]


@dataclass(frozen=True)
class FindOptions:
    """How cores are found and named; see ``napari-her2 dearray --help``."""

    core_diameter: CoreDiameter = None
    rows: Rows = None
    columns: Columns = None
    pitch: Pitch = None
    rotation: Rotation = None
    blocks: Blocks = None
    like: Like = None
    sectors: Sectors = False
    row_labels: RowLabels = None
    column_labels: ColumnLabels = None
    column_first: ColumnFirst = False
    count_from: CountFrom = "top-left"
    tma_map: TMAMap = None


@dataclass(frozen=True)
class CoresOptions:
    """Which cores of a slide are judged."""

    cores: CoresFile = None
    select: Select = None


@dataclass(frozen=True)
class SlideOptions:
    """What is known of the slides whose cores are judged."""

    single_core: SingleCore = False
    pixel_size: PixelSize = None
    core_diameter: CoreDiameter = None
    like: Like = None
    sectors: Sectors = False
    tma_map: TMAMap = None


@dataclass(frozen=True)
class ModelOptions:
    """The model that scores, and the cut points of a batch."""

    model: ModelName = None
    calibration: CalibrationFile = None
    normalise: Normalise = False

    def load(self) -> ScoringModel:
        """The model, by default that of the package.

        Raises
        ------
        ModelError
            If there is no such model, or the calibration was made for another, or for the other setting of
            `normalise`.
        """
        from napari_her2.models import DEFAULT_MODEL, load_model

        model = load_model(self.model or DEFAULT_MODEL)
        if self.calibration is None:
            return model
        from napari_her2.recalibrate import apply_recalibration, read_recalibration

        model = apply_recalibration(model, read_recalibration(self.calibration))
        if why := model.why_not_scored(self.normalise):
            raise ModelError(f"{why} The option is --normalise.")
        return model


@dataclass(frozen=True)
class MeasureOptions:
    """How membranes are measured."""

    rules: Rules = "breast"
    measure_calibration: MeasureCalibration = None
    stains: StainsFile = None
    regions: DrawnRegions = None
    nuclei: Nuclei = "built-in"
    nuclei_weights: NucleiWeights = None
    pages: Pages = False
