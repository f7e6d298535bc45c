"""`calibrate --measure`: thresholds of measured staining from the control cores of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import typer
from rich.console import Console

from napari_her2.cli import RESEARCH_USE
from napari_her2.cli.evaluate import EvaluateOptions
from napari_her2.cli.work import progress_bar, tell
from napari_her2.errors import OutputError
from napari_her2.evaluate import manifest_cores
from napari_her2.files import check_folder
from napari_her2.finders import NucleusFinder, source_of
from napari_her2.manifest import read_manifest
from napari_her2.measure import Measurement, MeasureParams, measure_core
from napari_her2.membrane.batch import fit_batch, write_batch
from napari_her2.membrane.rules import RULES_OF
from napari_her2.scores import SCORES
from napari_her2.stain import estimate_stains

__all__ = ["calibrate_measurement"]


def calibrate_measurement(
    path: Path,
    batch: str,
    output: Path,
    rules: str,
    options: EvaluateOptions,
    finder: NucleusFinder | None = None,
) -> None:
    """Fit the thresholds of measured staining to the control cores of a manifest, and write them to `output`.

    `finder` finds the nuclei; None: the built-in one does.

    Raises
    ------
    HER2Error
        If the manifest or a slide cannot be used, or the controls tell nothing.
    """
    if output.exists() and not options.overwrite:
        raise OutputError(f"{output} exists already: choose another name, or allow overwriting (--overwrite).")
    check_folder(output.parent)
    console, rule_set = Console(stderr=True), RULES_OF[rules]
    found = list(_controls(path, MeasureParams(rules=rule_set, finder=finder), options, console))
    nuclei = str(source_of(finder))
    fitted = fit_batch([f for f, _ in found], [score for _, score in found], batch, rule_set, nuclei)
    write_batch(output, fitted, overwrite=options.overwrite)
    typer.echo(fitted.sentence)
    typer.echo(
        f"Written to {output}; use it with: napari-her2 score ... --measure-calibration {output}. {RESEARCH_USE}"
    )


def _controls(
    path: Path, params: MeasureParams, options: EvaluateOptions, console: Console
) -> Iterator[tuple[Measurement, str]]:
    """Measurements of the control cores with their known scores; a core that cannot be scored is told and left out."""
    manifest = read_manifest(path)
    manifest = manifest.of_split(options.split) if options.split else manifest
    with progress_bar(console) as progress:
        task = progress.add_task("measuring", total=len(manifest))
        for slide, rows in manifest_cores(manifest, options.pixel_size, partial(tell, console)):
            stains = estimate_stains(slide)
            for row, core in rows:
                found = measure_core(slide, core, stains, params)
                progress.update(task, advance=1, description=slide.name)
                if found.score:
                    yield found, SCORES[row.score]
                else:
                    tell(console, f"{slide.name} {row.core} is no control: {found.sentence}")
