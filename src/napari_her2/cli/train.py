"""`train`: a laboratory's own labels become a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from napari_her2.cli import RESEARCH_USE
from napari_her2.cli.work import progress_bar, tell
from napari_her2.export.training import write_training
from napari_her2.files import check_folder
from napari_her2.manifest import Manifest, read_manifest
from napari_her2.models import ScoringModel
from napari_her2.training.designs import Design
from napari_her2.training.lab_train import TEST, LabRun, train_laboratory
from napari_her2.training.laboratory import (
    Comparison,
    LabParams,
    LearningPoint,
    check_name,
    default_cache,
    laboratory_card,
    save_laboratory_model,
)

__all__ = ["TrainOptions", "train_model"]

_DRAWS = 1000
#: A model as it was saved, how it compares, and how its fit went.
_Made = tuple[ScoringModel, Comparison, list[LearningPoint]]


@dataclass(frozen=True)
class TrainOptions:
    """What the user asked for, by the names of the command line; see ``napari-her2 train --help``."""

    design: Design = Design.PLACES
    coverage: float = 0.85
    folds: int = 5
    steps: int | None = None
    seed: int = 0
    device: str = "auto"
    pixel_size: float | None = None
    cache: Path | None = None
    overwrite: bool = False


def train_model(path: Path, base: ScoringModel, output: str, options: TrainOptions) -> None:
    """Train a model on the cores of a manifest; stopped and called again, it goes on from what was kept.

    Parameters
    ----------
    path : Path
        The manifest.
    base : ScoringModel
        Whose head is refitted, or which the published design is compared with.
    output : str
        A name: the model goes among the user's own. A path with a separator: a folder.
    options : TrainOptions

    Raises
    ------
    HER2Error
        If the labels are too few, the manifest, an image or the model cannot be used, or there is such a model.
    typer.Exit
        With code 3 when some cores could not be learned from, 130 after Ctrl-C.
    """
    console = Console(stderr=True)
    manifest = read_manifest(path)
    target = Path(output)
    folder = check_name(target.name, None if output == target.name else target, overwrite=options.overwrite)
    params = LabParams(folds=options.folds, coverage=options.coverage, seed=options.seed, draws=_DRAWS)
    remarks: list[str] = []

    def remark(sentence: str) -> None:
        remarks.append(sentence)
        tell(console, sentence)

    train = _network if options.design is Design.DENSENET201 else _head
    cache = check_folder(options.cache or default_cache())
    try:
        with progress_bar(console, "") as bar:
            run = LabRun(cache, options.device, options.pixel_size, _shown(bar), remark)
            model, measured, history = train(_Job(manifest, base, params, folder, options, run))
    except KeyboardInterrupt as stop:
        typer.echo("napari-her2: stopped; what is done is kept: the same command goes on from here.", err=True)
        raise typer.Exit(130) from stop
    told = {"manifest": manifest.name, "manifest_sha256": manifest.sha256, "seed": options.seed}
    told["split"] = TEST if TEST in manifest.splits and not measured.folds else ""
    write_training(folder, model, measured, history, told, {row.line: row.image for row in manifest.rows})
    _summary(model, measured)
    if any("is not learned from" in sentence for sentence in remarks):
        raise typer.Exit(3)


@dataclass(frozen=True)
class _Job:
    """What either way of training is given."""

    manifest: Manifest
    base: ScoringModel
    params: LabParams
    folder: Path
    options: TrainOptions
    run: LabRun


def _head(job: _Job) -> _Made:
    """Refit the last layer, for all magnifications or for one."""
    base, params, folder = job.base, job.params, job.folder
    trained = train_laboratory(job.manifest, base, job.run, params, design=job.options.design)
    learned, apart = trained.learned, trained.on_test
    card = laboratory_card(
        base, learned, trained.comparison, params, job.manifest.name, on_test=apart, looks_at=trained.looks_at
    )
    made = trained.start, trained.head, trained.calibration, card
    model = save_laboratory_model(folder.name, *made, folder=folder, overwrite=job.options.overwrite)
    return model, trained.measured, trained.history


def _network(job: _Job) -> _Made:
    """Learn a network of the published design."""
    from napari_her2.training.lab_stacked import save_stacked_model, train_stacked

    trained = train_stacked(job.manifest, job.base, job.run, job.params, steps=job.options.steps)
    model = save_stacked_model(job.folder.name, trained, job.base, job.params, job.manifest.name, job.folder)
    return model, trained.measured, trained.history


def _shown(bar: Progress) -> Callable[[str, int, int], None]:
    """Progress of each part of the work on a line of its own."""
    tasks: dict[str, Any] = {}

    def show(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total)
        bar.update(tasks[what], completed=done)

    return show


def _summary(model: ScoringModel, measured: Comparison) -> None:
    table = Table(
        "",
        "accuracy",
        "95 % interval",
        "quadratic kappa",
        "95 % interval",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for name, evaluation in measured.judges.items():
        cells = []
        for figure in (evaluation.figures["accuracy"], evaluation.figures["quadratic_kappa"]):
            cells += [f"{figure.value:.3f}", f"{figure.low:.3f} to {figure.high:.3f}"]
        table.add_row(name, *cells)
    Console().print(table)
    print_line = partial(Console().print, highlight=False, soft_wrap=True, markup=False)
    print_line(measured.sentence)
    print_line(f"Written to {model.folder}: use it with --model {_how_to_name(model)}. {RESEARCH_USE}")


def _how_to_name(model: ScoringModel) -> str:
    from napari_her2.models import user_folder

    return model.name if model.folder == user_folder() / model.name else str(model.folder)
