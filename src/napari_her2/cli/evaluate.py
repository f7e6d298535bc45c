"""`evaluate`: cores of known score against what a model says of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from napari_her2 import engine as engine_module
from napari_her2.agreement import Figure
from napari_her2.cli import RESEARCH_USE
from napari_her2.cli.work import progress_bar, tell
from napari_her2.errors import OutputError
from napari_her2.evaluate import EvaluatedCore, Evaluation, PartFile, evaluate, evaluate_cores
from napari_her2.export.evaluation import write_evaluation_json, write_evaluation_report
from napari_her2.files import check_folder, writing
from napari_her2.manifest import Manifest, read_manifest
from napari_her2.models import ScoringModel

__all__ = ["EvaluateOptions", "evaluate_model", "of_split", "score_manifest"]

_FILES = ("evaluation.json", "evaluation.html")
_DRAWS = 1000
_INTERVALS = (
    f"percentile bootstrap over patients, {_DRAWS} draws; exact (Clopper-Pearson, over patients) for shares of 0 and 1."
)


@dataclass(frozen=True)
class EvaluateOptions:
    """What the user asked for, by the names of the command line; see ``napari-her2 evaluate --help``."""

    split: str | None = None
    device: str = "auto"
    pixel_size: float | None = None
    coverage: float = 0.85
    seed: int = 0
    overwrite: bool = False
    normalise: bool = False


def evaluate_model(path: Path, model: ScoringModel, folder: Path, options: EvaluateOptions) -> None:
    """Score the cores of a manifest and write the evaluation; a run that was stopped goes on where it was.

    Raises
    ------
    HER2Error
        If the manifest or the model cannot be used, results are there, or no core could be scored.
    typer.Exit
        With code 3 when some cores have no score, 130 after Ctrl-C.
    """
    console = Console(stderr=True)
    manifest = of_split(read_manifest(path), options.split, partial(tell, console))
    check_folder(folder)
    there = [name for name in _FILES if (folder / name).exists()]
    if there and not options.overwrite:
        raise OutputError(
            f"{folder} already holds {there[0]}: choose another folder, or allow overwriting (--overwrite)."
        )
    part = PartFile(folder / "evaluation.part", _depends_on(manifest, model, options))
    try:
        done = part.read()
    except OutputError:
        if not options.overwrite:
            raise
        done = {}
    cores, device = score_manifest(manifest, model, options, part, done, console)
    evaluation = evaluate(cores, coverage=options.coverage, draws=_DRAWS, seed=options.seed)
    provenance = {
        "manifest": manifest.name,
        "manifest_sha256": manifest.sha256,
        "split": options.split or "",
        "seed": options.seed,
        "device": device,
        "normalised": options.normalise,
        "intervals": _INTERVALS,
    }
    images = {row.line: row.image for row in manifest.rows}
    with writing(folder / _FILES[0], overwrite=options.overwrite) as temporary:
        write_evaluation_json(temporary, evaluation, model, provenance)
    with writing(folder / _FILES[1], overwrite=options.overwrite) as temporary:
        write_evaluation_report(temporary, evaluation, model, provenance, images)
    part.path.unlink(missing_ok=True)
    _summary(evaluation, model, folder, options.normalise)
    for core in evaluation.unscored:
        typer.echo(f"napari-her2: core {core.core} of {core.image}: {core.reason}".replace("core  of ", ""), err=True)
    if evaluation.unscored:
        raise typer.Exit(3)


def of_split(manifest: Manifest, split: str | None, remark: Any) -> Manifest:
    """The cores of one split of a manifest; all, which is remarked on when there are splits, when none is named."""
    if split is not None:
        return manifest.of_split(split)
    if manifest.splits:
        remark(
            f"{manifest.name} has splits ({', '.join(manifest.splits)}): all are evaluated; choose one with --split."
        )
    return manifest


def _depends_on(manifest: Manifest, model: ScoringModel, options: EvaluateOptions) -> dict[str, Any]:
    return {
        "model": model.sha256,
        "cuts": list(model.calibration.cuts),
        "manifest": manifest.sha256,
        "split": options.split,
        "seed": options.seed,
        "pixel_size": options.pixel_size,
        "normalised": options.normalise,
    }


def score_manifest(
    manifest: Manifest,
    model: ScoringModel,
    options: EvaluateOptions,
    part: PartFile | None,
    done: dict[int, EvaluatedCore],
    console: Console,
) -> tuple[list[EvaluatedCore], str]:
    """All cores of the manifest, those that are done and the rest; and the device."""
    cores = dict(done)
    engine = engine_module.open_engine(model, options.device)
    if part is not None:
        part.begin(done)
    if done:
        tell(console, f"{len(done)} cores were scored before: going on with the other {len(manifest) - len(done)}.")
    with progress_bar(console) as progress:
        task = progress.add_task("scoring", total=len(manifest), completed=len(done))
        found = evaluate_cores(
            manifest,
            model,
            engine=engine,
            seed=options.seed,
            pixel_size=options.pixel_size,
            normalise=options.normalise,
            done=done,
            remark=partial(tell, console),
        )
        try:
            for core in found:
                cores[core.line] = core
                if part is not None:
                    part.add(core)
                progress.update(task, advance=1, description=core.image)
        except KeyboardInterrupt as stop:
            kept = "the same command goes on from here" if part is not None else "nothing was written"
            typer.echo(f"napari-her2: stopped after {len(cores)} of {len(manifest)} cores; {kept}.", err=True)
            raise typer.Exit(130) from stop
    return list(cores.values()), engine.device


def _summary(evaluation: Evaluation, model: ScoringModel, folder: Path, normalised: bool) -> None:
    table = Table("", "value", "95 % interval", "cores", box=None, pad_edge=False, header_style="bold")
    shown = ("accuracy", "quadratic_kappa", "balanced_accuracy", "sensitivity_2", "off_by_two", "ece")
    for name in (*shown, "accuracy_at_coverage"):
        figure: Figure = evaluation.figures[name]
        interval = f"{figure.low:.3f} to {figure.high:.3f}" if figure.low == figure.low else "none"
        label = name.replace("_", " ").replace("sensitivity 2", "sensitivity for 2+")
        label = label.replace("at coverage", f"at {100 * evaluation.coverage:g} % coverage")
        table.add_row(label, f"{figure.value:.3f}" if figure.value == figure.value else "none", interval, str(figure.n))
    console = Console()
    console.print(table)
    batch = f", calibrated for {model.recalibration['batch']}" if model.recalibration else ""
    batch += ", colours normalised" if normalised else ""
    typer.echo(
        f"{model.name} {model.version}{batch}: {len(evaluation.scored)} cores of {evaluation.patients} patients "
        f"scored, {len(evaluation.unscored)} not."
    )
    typer.echo(f"Written to {folder}. {RESEARCH_USE}")
