"""`calibrate`: the cut points of a model from control cores of known score; thresholds are in `cli.thresholds`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from napari_her2.cli import RESEARCH_USE
from napari_her2.cli.evaluate import EvaluateOptions, of_split, score_manifest
from napari_her2.cli.work import tell
from napari_her2.errors import CoresError, ModelError, OutputError
from napari_her2.export import read_cores_file
from napari_her2.files import check_folder
from napari_her2.manifest import read_manifest
from napari_her2.models import Calibration, ScoringModel
from napari_her2.recalibrate import Recalibration, own_cuts, recalibrate, value_of_probabilities, write_recalibration
from napari_her2.scores import SCORES

__all__ = ["calibrate_model"]


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
        values, scores, normalised = _read_controls(path, model, partial(tell, console))
        if options.normalise and not normalised:
            raise ModelError(f"{path.name} was scored without normalised colours: score it again with --normalise.")
    else:
        manifest = of_split(read_manifest(path), options.split, partial(tell, console))
        cores, _ = score_manifest(manifest, own_cuts(model), options, None, {}, console)
        for core in (c for c in cores if not c.score):
            tell(console, f"{core.image} {core.core} is no control: {core.reason}")
        values, scores = [core.value for core in cores], [core.truth for core in cores]
        normalised = options.normalise
    result = Recalibration(**recalibrate(model, values, scores, batch, normalised=normalised).recalibration)
    write_recalibration(output, result, overwrite=options.overwrite)
    typer.echo(result.sentence)
    how = f"--calibration {output}{' --normalise' if normalised else ''}"
    typer.echo(f"Written to {output}; use it with: napari-her2 score ... {how}. {RESEARCH_USE}")


def _is_table_of_cores(path: Path) -> bool:
    """Whether a CSV has places of cores, which a manifest has not."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        header = file.readline().lower()
    return "diameter" in header and "reader_score" in header


def _read_controls(path: Path, model: ScoringModel, remark: Any) -> tuple[list[float], list[int], bool]:
    """Values and known scores of the cores of a file that have a reader score and a score of this model.

    Also whether they were scored with normalised colours.
    """
    made_with = _calibration_of(path, model, remark)
    table = read_cores_file(path).table
    marked = table[table["reader_score"] != ""]
    if not len(marked):
        raise CoresError(f"{path.name} has no reader score: enter the known score of the control cores first.")
    scored = marked[marked["her2_score"] != ""]
    if not len(scored):
        raise CoresError(f"{path.name} holds no scores of a model beside the reader scores: score the slide first.")
    normalised = set(scored["normalised"] == "yes")
    if len(normalised) > 1:
        raise CoresError(f"{path.name} holds scores with and without normalised colours: score the slide again.")
    shares = scored[["p_0", "p_1", "p_2", "p_3"]].to_numpy(float)
    values = [value_of_probabilities(p, made_with) for p in shares]
    return values, [SCORES.index(s) for s in scored["reader_score"]], normalised == {True}


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
