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
from napari_her2.manifest import read_manifest
from napari_her2.models import ScoringModel
from napari_her2.training.lab_train import Trained, train_laboratory
from napari_her2.training.laboratory import (
    Comparison,
    LabParams,
    check_name,
    default_cache,
    laboratory_card,
    save_laboratory_model,
)

__all__ = ["TrainOptions", "train_model"]

_DRAWS = 1000


@dataclass(frozen=True)
class TrainOptions:
    """What the user asked for, by the names of the command line; see ``napari-her2 train --help``."""

    coverage: float = 0.85
    folds: int = 5
    seed: int = 0
    device: str = "auto"
    pixel_size: float | None = None
    cache: Path | None = None
    overwrite: bool = False


def train_model(path: Path, base: ScoringModel, output: str, options: TrainOptions) -> None:
    """Train the head of a model on the cores of a manifest; stopped and called again, cores are not encoded again.

    Parameters
    ----------
    path : Path
        The manifest.
    base : ScoringModel
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
    name = target.name
    folder = check_name(name, None if output == name else target, overwrite=options.overwrite)
    cache = check_folder(options.cache or default_cache())
    params = LabParams(folds=options.folds, coverage=options.coverage, seed=options.seed, draws=_DRAWS)
    remarks: list[str] = []

    def remark(sentence: str) -> None:
        remarks.append(sentence)
        tell(console, sentence)

    try:
        with progress_bar(console) as bar:
            trained = train_laboratory(
                manifest,
                base,
                params,
                cache=cache,
                device=options.device,
                pixel_size=options.pixel_size,
                progress=_shown(bar),
                remark=remark,
            )
    except KeyboardInterrupt as stop:
        typer.echo("napari-her2: stopped; cores encoded so far are kept: the same command goes on from here.", err=True)
        raise typer.Exit(130) from stop
    card = laboratory_card(base, trained.learned, trained.comparison, params, manifest.name, on_test=trained.on_test)
    model = save_laboratory_model(
        name, base, trained.head, trained.calibration, card, folder=folder, overwrite=options.overwrite
    )
    told = {"manifest": manifest.name, "manifest_sha256": manifest.sha256, "seed": options.seed}
    told["split"] = "test" if trained.on_test else ""
    write_training(folder, model, trained, told, {row.line: row.image for row in manifest.rows})
    _summary(model, trained)
    if any("is not learned from" in sentence for sentence in remarks):
        raise typer.Exit(3)


def _shown(bar: Progress) -> Callable[[str, int, int], None]:
    """Progress of each part of the work on a line of its own."""
    tasks: dict[str, Any] = {}

    def show(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total)
        bar.update(tasks[what], completed=done)

    return show


def _summary(model: ScoringModel, trained: Trained) -> None:
    measured: Comparison = trained.measured
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
