"""The command line: ``napari-her2 ...``. Commands import what they need when they run, so that help is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from napari_her2 import __version__
from napari_her2.errors import HER2Error

__all__ = ["app", "main"]

RESEARCH_USE = "Research use only, not for diagnosis."
_WORK, _BESIDE = "Work on slides", "Beside the work"


class _Group(TyperGroup):
    """Says what the user can mend in one sentence, and ends with exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except HER2Error as error:
            typer.echo(f"napari-her2: {error}", err=True)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=f"Find and score the HER2 cores of tissue microarray slides. {RESEARCH_USE}",
    epilog="Exit codes: 0 all right; 1 nothing done, for the reason given; 2 wrong usage; "
    "3 some images or cores failed, the rest is written; 130 stopped by Ctrl-C, finished cores are written.",
)

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
CountFrom = Annotated[str, typer.Option(metavar="CORNER", help="Corner where counting begins, such as bottom-right.")]
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
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where the network runs.")]
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
    ),
]
MeasureCalibration = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Thresholds of measured staining, from napari-her2 calibrate --measure."),
]
StainsFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Stain vectors of another slide's run.json, not each slide's own.")
]
Manifest = Annotated[
    Path,
    typer.Argument(metavar="MANIFEST.csv", help="Cores of known score: image, core, score, patient [, cores, split]."),
]
Split = Annotated[str | None, typer.Option(metavar="NAME", help="Only the cores of this split of the manifest.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")]
Seed = Annotated[int, typer.Option(min=0, help="Another seed draws other patches.")]


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"napari-her2 {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    pass


@app.command(rich_help_panel=_WORK)
def dearray(
    images: Images,
    output: Folder,
    pixel_size: PixelSize = None,
    core_diameter: CoreDiameter = None,
    rows: Rows = None,
    columns: Columns = None,
    pitch: Pitch = None,
    rotation: Rotation = None,
    blocks: Blocks = None,
    like: Like = None,
    sectors: Sectors = False,
    row_labels: RowLabels = None,
    column_labels: ColumnLabels = None,
    column_first: ColumnFirst = False,
    count_from: CountFrom = "top-left",
    tma_map: TMAMap = None,
    overwrite: Overwrite = False,
) -> None:
    """Find and name the cores of slides, without scoring them."""
    from napari_her2.cli.grid import GridOptions
    from napari_her2.cli.work import Options, work

    grid = GridOptions(
        core_diameter=core_diameter,
        rows=rows,
        columns=columns,
        pitch=pitch,
        rotation=rotation,
        blocks=blocks,
        like=like,
        sectors=sectors,
        row_labels=row_labels,
        column_labels=column_labels,
        column_first=column_first,
        count_from=_corner(count_from),
        tma_map=tma_map,
    )
    work(images, output, Options(grid, pixel_size=pixel_size, overwrite=overwrite))


@app.command(rich_help_panel=_WORK)
def score(
    images: Images,
    output: Folder,
    cores: CoresFile = None,
    select: Select = None,
    model: ModelName = None,
    calibration: CalibrationFile = None,
    device: Device = "auto",
    no_measure: Annotated[
        bool, typer.Option("--no-measure", help="Do not measure the membranes beside the model's score.")
    ] = False,
    rules: Rules = "breast",
    measure_calibration: MeasureCalibration = None,
    stains: StainsFile = None,
    single_core: SingleCore = False,
    pixel_size: PixelSize = None,
    core_diameter: CoreDiameter = None,
    like: Like = None,
    sectors: Sectors = False,
    tma_map: TMAMap = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Find the cores of slides, score them, and measure their membranes: tables, heatmap and report in one folder."""
    from napari_her2.cli.measure import measuring
    from napari_her2.cli.work import Options, work

    _check_device(device)
    _check_rules(rules)
    if no_measure and (measure_calibration is not None or stains is not None):
        sentence = "it leaves out what --measure-calibration and --stains are for."
        raise typer.BadParameter(sentence, param_hint="--no-measure")
    grid = _grid(images, core_diameter, cores, like, single_core, sectors, tma_map)
    how = None if no_measure else measuring(rules, measure_calibration, stains)
    options = Options(grid, pixel_size, select, device, seed, overwrite, how)
    work(images, output, options, _model(model, calibration))


@app.command("measure", rich_help_panel=_WORK)
def _measure(
    images: Images,
    output: Folder,
    cores: CoresFile = None,
    select: Select = None,
    rules: Rules = "breast",
    measure_calibration: MeasureCalibration = None,
    stains: StainsFile = None,
    single_core: SingleCore = False,
    pixel_size: PixelSize = None,
    core_diameter: CoreDiameter = None,
    like: Like = None,
    sectors: Sectors = False,
    tma_map: TMAMap = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure the membranes of the cores of slides without any model: the same files, her2_score empty."""
    from napari_her2.cli.measure import measuring
    from napari_her2.cli.work import Options, work

    _check_rules(rules)
    grid = _grid(images, core_diameter, cores, like, single_core, sectors, tma_map)
    how = measuring(rules, measure_calibration, stains)
    work(images, output, Options(grid, pixel_size, select, overwrite=overwrite, measure=how))


def _grid(
    images: list[Path],
    core_diameter: float | None,
    cores: Path | None,
    like: Path | None,
    single_core: bool,
    sectors: bool,
    tma_map: Path | None,
) -> Any:
    """How `score` and `measure` come by the cores."""
    from napari_her2.cli.grid import GridOptions

    if cores is not None and (single_core or len(images) > 1):
        sentence = "it holds the cores of one slide: name one IMAGE, without --single-core."
        raise typer.BadParameter(sentence, param_hint="--cores")
    if like is not None and (single_core or cores is not None):
        raise typer.BadParameter("it stands in for --cores and --single-core: give one of them.", param_hint="--like")
    return GridOptions(
        core_diameter=core_diameter, cores=cores, like=like, single_core=single_core, sectors=sectors, tma_map=tma_map
    )


def _check_rules(rules: str) -> None:
    from napari_her2.cli.measure import RULES_OF

    if rules not in RULES_OF:
        raise typer.BadParameter(f"{rules} is none of {', '.join(RULES_OF)}.", param_hint="--rules")


@app.command("evaluate", rich_help_panel=_WORK)
def _evaluate(
    manifest: Manifest,
    output: Folder,
    model: ModelName = None,
    calibration: CalibrationFile = None,
    split: Split = None,
    coverage: Annotated[
        float, typer.Option(min=0.05, max=1, help="Share of the cores, the surest first, whose accuracy is stated.")
    ] = 0.85,
    device: Device = "auto",
    pixel_size: PixelSize = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Score cores of known score and report how well the model agrees; stopped and called again, it goes on."""
    from napari_her2.cli.evaluate import EvaluateOptions, evaluate_model

    _check_device(device)
    options = EvaluateOptions(split, device, pixel_size, coverage, seed, overwrite)
    evaluate_model(manifest, _model(model, calibration), output, options)


@app.command("calibrate", rich_help_panel=_WORK)
def _calibrate(
    controls: Annotated[
        Path,
        typer.Argument(
            metavar="CONTROLS", help="A manifest of control cores, or a scored .cores.csv with their reader scores."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The calibration, as JSON.")],
    batch: Annotated[str, typer.Option(metavar="NAME", help="Name of the batch: goes with every score made with it.")],
    model: ModelName = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="The thresholds of measured staining instead, from a manifest.")
    ] = False,
    rules: Rules = "breast",
    split: Split = None,
    device: Device = "auto",
    pixel_size: PixelSize = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Refit the model's cut points, and nothing else, on a handful of control cores of known score.

    With --measure, the thresholds of measured staining are fitted instead; both files may go with one run.
    """
    from napari_her2.cli.evaluate import EvaluateOptions, calibrate_model

    _check_device(device)
    options = EvaluateOptions(split, device, pixel_size, seed=seed, overwrite=overwrite)
    if measure:
        from napari_her2.cli.thresholds import calibrate_measurement

        _check_rules(rules)
        calibrate_measurement(controls, batch, output, rules, options)
        return
    calibrate_model(controls, _model(model, None), batch, output, options)


@app.command("train", rich_help_panel=_WORK)
def _train(
    manifest: Manifest,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="MODEL", help="Name of the new model; with a / in it, a folder for it."),
    ],
    model: ModelName = None,
    coverage: Annotated[
        float, typer.Option(min=0.05, max=1, help="Share of the cores that is to be called determinate.")
    ] = 0.85,
    folds: Annotated[
        int, typer.Option(min=2, max=50, help="Parts of the patients, each scored by a model of the others.")
    ] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other patches and folds.")] = 0,
    device: Device = "auto",
    pixel_size: PixelSize = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where encoded cores are kept, 0.5 MB each; may be deleted.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a model on your own labels, and measure it by patient; stopped and called again, it goes on."""
    from napari_her2.cli.train import TrainOptions, train_model

    _check_device(device)
    options = TrainOptions(coverage, folds, seed, device, pixel_size, cache, overwrite)
    train_model(manifest, _model(model, None), output, options)


def _check_device(device: str) -> None:
    from napari_her2.engine import DEVICES

    if device not in DEVICES:
        raise typer.BadParameter(f"{device} is none of {', '.join(DEVICES)}.", param_hint="--device")


def _model(name: str | None, calibration: Path | None) -> Any:
    """The model asked for, with the cut points of a batch when they are given."""
    from napari_her2.models import DEFAULT_MODEL, load_model

    model = load_model(name or DEFAULT_MODEL)
    if calibration is None:
        return model
    from napari_her2.recalibrate import apply_recalibration, read_recalibration

    return apply_recalibration(model, read_recalibration(calibration))


def _corner(text: str) -> str:
    from napari_her2.cli.grid import CORNERS

    if text not in CORNERS:
        raise typer.BadParameter(f"{text} is none of {', '.join(CORNERS)}.", param_hint="--count-from")
    return text


@app.command(rich_help_panel=_BESIDE)
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR")] = Path("napari-her2-demo"),
    no_viewer: Annotated[bool, typer.Option("--no-viewer", help="Write the results even with a display.")] = False,
) -> None:
    """Open the viewer on the sample slide, cores found and scored; without a display, write the results."""
    from napari_her2.cli.other import run_demo

    run_demo(output, no_viewer)


@app.command(rich_help_panel=_BESIDE)
def models(name: Annotated[str | None, typer.Argument(metavar="[NAME|FILE]")] = None) -> None:
    """List the installed models, or show the card of one and check that its files are unchanged."""
    from napari_her2.cli.other import list_models, show_model

    list_models() if name is None else show_model(name)


@app.command(rich_help_panel=_BESIDE)
def sample(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE")] = Path("tma.ome.tif"),
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes another slide.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write a generated sample slide with its truth."""
    from napari_her2.cli.other import write_sample

    write_sample(output, seed, overwrite)


def main() -> None:
    """Entry point of the command ``napari-her2``."""
    for stream in (sys.stdout, sys.stderr):
        # a pipe on Windows may not know the µ
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app(prog_name="napari-her2")
