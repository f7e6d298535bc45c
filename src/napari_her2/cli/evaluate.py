"""`evaluate` and `calibrate`: cores of known score against what a model says of them."""

from __future__ import annotations

import json
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
from napari_her2.errors import CoresError, ModelError, OutputError
from napari_her2.evaluate import EvaluatedCore, Evaluation, PartFile, evaluate, evaluate_cores
from napari_her2.export import read_cores_file
from napari_her2.export.evaluation import write_evaluation_json, write_evaluation_report
from napari_her2.files import check_folder, writing
from napari_her2.manifest import Manifest, read_manifest
from napari_her2.models import Calibration, ScoringModel
from napari_her2.recalibrate import (
    Recalibration,
    own_cuts,
    recalibrate,
    value_of_probabilities,
    write_recalibration,
)
from napari_her2.scores import SCORES

__all__ = ["EvaluateOptions", "calibrate_model", "evaluate_model"]

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
    manifest = _of_split(read_manifest(path), options.split, partial(tell, console))
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
    cores, device = _score(manifest, model, options, part, done, console)
    evaluation = evaluate(cores, coverage=options.coverage, draws=_DRAWS, seed=options.seed)
    provenance = {
        "manifest": manifest.name,
        "manifest_sha256": manifest.sha256,
        "split": options.split or "",
        "seed": options.seed,
        "device": device,
        "intervals": _INTERVALS,
    }
    images = {row.line: row.image for row in manifest.rows}
    with writing(folder / _FILES[0], overwrite=options.overwrite) as temporary:
        write_evaluation_json(temporary, evaluation, model, provenance)
    with writing(folder / _FILES[1], overwrite=options.overwrite) as temporary:
        write_evaluation_report(temporary, evaluation, model, provenance, images)
    part.path.unlink(missing_ok=True)
    _summary(evaluation, model, folder)
    for core in evaluation.unscored:
        typer.echo(f"napari-her2: core {core.core} of {core.image}: {core.reason}".replace("core  of ", ""), err=True)
    if evaluation.unscored:
        raise typer.Exit(3)


def _of_split(manifest: Manifest, split: str | None, remark: Any) -> Manifest:
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
    }


def _score(
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


def _summary(evaluation: Evaluation, model: ScoringModel, folder: Path) -> None:
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
    typer.echo(
        f"{model.name} {model.version}{batch}: {len(evaluation.scored)} cores of {evaluation.patients} patients "
        f"scored, {len(evaluation.unscored)} not."
    )
    typer.echo(f"Written to {folder}. {RESEARCH_USE}")


def calibrate_model(path: Path, model: ScoringModel, batch: str, output: Path, options: EvaluateOptions) -> None:
    """Refit the cut points on control cores and write them to `output`.

    Parameters
    ----------
    path : Path
        A manifest, whose cores are scored here; or the ``cores.csv``, ``.geojson`` of a slide that this model scored,
        with reader scores beside its control cores.
    model : ScoringModel
    batch : str
    output : Path
    options : EvaluateOptions

    Raises
    ------
    HER2Error
        If there are too few controls, or the file or model cannot be used.
    """
    if output.exists() and not options.overwrite:
        raise OutputError(f"{output} exists already: choose another name, or allow overwriting (--overwrite).")
    check_folder(output.parent)
    console = Console(stderr=True)
    if path.suffix.lower() in (".geojson", ".json") or _is_table_of_cores(path):
        values, scores = _read_controls(path, model, partial(tell, console))
    else:
        manifest = _of_split(read_manifest(path), options.split, partial(tell, console))
        cores, _ = _score(manifest, own_cuts(model), options, None, {}, console)
        for core in (c for c in cores if not c.score):
            tell(console, f"{core.image} {core.core} is no control: {core.reason}")
        values, scores = [core.value for core in cores], [core.truth for core in cores]
    result = Recalibration(**recalibrate(model, values, scores, batch).recalibration)
    write_recalibration(output, result, overwrite=options.overwrite)
    typer.echo(result.sentence)
    typer.echo(f"Written to {output}; use it with: napari-her2 score ... --calibration {output}. {RESEARCH_USE}")


def _is_table_of_cores(path: Path) -> bool:
    """Whether a CSV has places of cores, which a manifest has not."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        header = file.readline().lower()
    return "diameter" in header and "reader_score" in header


def _read_controls(path: Path, model: ScoringModel, remark: Any) -> tuple[list[float], list[int]]:
    """Values and known scores of the cores of a file that have a reader score and a score of this model."""
    made_with = _calibration_of(path, model, remark)
    table = read_cores_file(path).table
    marked = table[table["reader_score"] != ""]
    if not len(marked):
        raise CoresError(f"{path.name} has no reader score: enter the known score of the control cores first.")
    scored = marked[marked["her2_score"] != ""]
    if not len(scored):
        raise CoresError(f"{path.name} holds no scores of a model beside the reader scores: score the slide first.")
    shares = scored[["p_0", "p_1", "p_2", "p_3"]].to_numpy(float)
    return [value_of_probabilities(p, made_with) for p in shares], [SCORES.index(s) for s in scored["reader_score"]]


def _calibration_of(path: Path, model: ScoringModel, remark: Any) -> Calibration:
    """With which calibration the scores in a file were made, as the ``run.json`` beside it says."""
    name = path.name
    for ending in (".cores.csv", ".cores.geojson", ".csv", ".geojson"):
        name = name.removesuffix(ending)
    own = own_cuts(model).calibration
    record = path.with_name(f"{name}.run.json")
    if not record.is_file():
        remark(f"{path.name} has no {record.name} beside it: its scores are taken to be of {model.name}.")
        return own
    try:
        known = json.loads(record.read_text(encoding="utf-8"))["model"]
        sha256 = known["sha256"]
        a, b, c = (float(cut) for cut in known.get("recalibration", {}).get("cuts", own.cuts))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CoresError(
            f"{record.name} does not say which model scored {path.name}: score the slide again."
        ) from error
    if sha256 != model.sha256:
        raise ModelError(f"{path.name} was scored by another model ({known.get('name')}): choose it with --model.")
    return Calibration(slope=own.slope, cuts=(a, b, c))
