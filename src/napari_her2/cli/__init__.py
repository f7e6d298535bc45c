"""The command line: ``napari-her2 ...``. Commands import what they need when they run, so that help is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from napari_her2 import __version__
from napari_her2.cli.options import (
    CoresOptions,
    Device,
    FindOptions,
    Folder,
    Images,
    Manifest,
    MeasureOptions,
    ModelName,
    ModelOptions,
    Normalise,
    Nuclei,
    NucleiWeights,
    Overwrite,
    PixelSize,
    Rules,
    Seed,
    SlideOptions,
    Split,
    grouped,
)
from napari_her2.errors import HER2Error
from napari_her2.training.designs import Design

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
@grouped
def dearray(
    images: Images, output: Folder, *, pixel_size: PixelSize = None, find: FindOptions, overwrite: Overwrite = False
) -> None:
    """Find and name the cores of slides, without scoring them."""
    from napari_her2.cli.grid import GridOptions
    from napari_her2.cli.work import Options, work

    work(images, output, Options(GridOptions(**vars(find)), pixel_size=pixel_size, overwrite=overwrite))


@app.command(rich_help_panel=_WORK)
@grouped
def score(
    images: Images,
    output: Folder,
    *,
    chosen: CoresOptions,
    model: ModelOptions,
    device: Device = "auto",
    no_measure: Annotated[
        bool, typer.Option("--no-measure", help="Do not measure the membranes beside the model's score.")
    ] = False,
    measure: MeasureOptions,
    slide: SlideOptions,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Find the cores of slides, score them, and measure their membranes: tables, heatmap and report in one folder."""
    from napari_her2.cli.grid import grid_options
    from napari_her2.cli.measure import measuring, read_stains
    from napari_her2.cli.work import Options, work

    needed = measure.stains if model.normalise else None
    if no_measure and measure != MeasureOptions(measure.rules, stains=needed):
        sentence = "it leaves out what --measure-calibration, --stains, --regions, --nuclei and --pages are for"
        raise typer.BadParameter(f"{sentence} (--stains serve --normalise, too).", param_hint="--no-measure")
    grid = grid_options(images, chosen, slide)
    how = None if no_measure else measuring(measure, len(images), device)
    stains = read_stains(needed) if no_measure and needed is not None else None
    shared = grid, slide.pixel_size, chosen.select, device, seed, overwrite
    options = Options(*shared, how, measure.pages, model.normalise, stains)
    work(images, output, options, model.load())


@app.command("measure", rich_help_panel=_WORK)
@grouped
def _measure(
    images: Images,
    output: Folder,
    *,
    chosen: CoresOptions,
    measure: MeasureOptions,
    device: Device = "auto",
    slide: SlideOptions,
    overwrite: Overwrite = False,
) -> None:
    """Measure the membranes of the cores of slides without any model: the same files, her2_score empty."""
    from napari_her2.cli.grid import grid_options
    from napari_her2.cli.measure import measuring
    from napari_her2.cli.work import Options, work

    grid = grid_options(images, chosen, slide)
    how = measuring(measure, len(images), device)
    options = Options(
        grid, slide.pixel_size, chosen.select, device, overwrite=overwrite, measure=how, pages=measure.pages
    )
    work(images, output, options)


@app.command("evaluate", rich_help_panel=_WORK)
@grouped
def _evaluate(
    manifest: Manifest,
    output: Folder,
    *,
    model: ModelOptions,
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

    options = EvaluateOptions(split, device, pixel_size, coverage, seed, overwrite, model.normalise)
    evaluate_model(manifest, model.load(), output, options)


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
    normalise: Normalise = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="The thresholds of measured staining instead, from a manifest.")
    ] = False,
    rules: Rules = "breast",
    nuclei: Nuclei = "built-in",
    nuclei_weights: NucleiWeights = None,
    split: Split = None,
    device: Device = "auto",
    pixel_size: PixelSize = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Refit the model's cut points, and nothing else, on a handful of control cores of known score.

    With --measure, the thresholds of measured staining are fitted instead; both files may go with one run.
    """
    from napari_her2.cli.evaluate import EvaluateOptions

    options = EvaluateOptions(split, device, pixel_size, seed=seed, overwrite=overwrite, normalise=normalise)
    if measure:
        from napari_her2.cli.measure import finder_of
        from napari_her2.cli.thresholds import calibrate_measurement

        finder = finder_of(nuclei, nuclei_weights, device)
        calibrate_measurement(controls, batch, output, rules, options, finder)
        return
    if nuclei != "built-in" or nuclei_weights is not None:
        raise typer.BadParameter("a model looks for no nuclei: it goes with --measure.", param_hint="--nuclei")

    from napari_her2.cli.calibrate import calibrate_model

    calibrate_model(controls, ModelOptions(model).load(), batch, output, options)


@app.command("train", rich_help_panel=_WORK)
def _train(
    manifest: Manifest,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="MODEL", help="Name of the new model; with a / in it, a folder for it."),
    ],
    design: Annotated[
        Design,
        typer.Option(help="A head for all magnifications or for one; or the published network, learned from scratch."),
    ] = Design.PLACES,
    model: ModelName = None,
    coverage: Annotated[
        float, typer.Option(min=0.05, max=1, help="Share of the cores that is to be called determinate.")
    ] = 0.85,
    folds: Annotated[
        int, typer.Option(min=2, max=50, help="Parts of the patients, each scored by a head of the others.")
    ] = 5,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="densenet201: optimiser steps at most, by default until each core was seen 40 times."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other patches and folds.")] = 0,
    device: Device = "auto",
    pixel_size: PixelSize = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where encoded cores are kept, 0.5 MB each (densenet201: 40 MB); may be deleted."
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a model on your own labels, and measure it by patient; stopped and called again, it goes on."""
    from napari_her2.cli.train import TrainOptions, train_model

    if steps is not None and design is not Design.DENSENET201:
        raise typer.BadParameter(f"the fit of {design} ends by itself: it is for densenet201.", param_hint="--steps")
    options = TrainOptions(design, coverage, folds, steps, seed, device, pixel_size, cache, overwrite)
    train_model(manifest, ModelOptions(model).load(), output, options)


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
