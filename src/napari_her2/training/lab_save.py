"""Writing a laboratory's model: the files of the model that it comes from, with another last layer and calibration.

The ONNX file holds the layer's numbers as they lie in memory, so they are exchanged in place: no ONNX library is
needed, and all that was compiled and tested of the base model is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save

from napari_her2.errors import ModelError, OutputError
from napari_her2.evaluate import Evaluation
from napari_her2.files import check_folder, safe_name, writing
from napari_her2.models import (
    Calibration,
    ScoringModel,
    is_shipped,
    model_header,
    tensors_sha256,
    user_folder,
)
from napari_her2.recalibrate import own_cuts
from napari_her2.scores import SCORES
from napari_her2.training.lab_compare import Comparison
from napari_her2.training.lab_features import CoreFeatures
from napari_her2.training.lab_head import Head, LabParams

__all__ = [
    "INTENDED",
    "LIMITS",
    "check_name",
    "laboratory_card",
    "learned_record",
    "measured_record",
    "model_folder",
    "save_laboratory_model",
]

#: What every card of a laboratory's model says.
INTENDED = "Research use only. Not a medical device; not for diagnosis or treatment decisions."
LIMITS = "Holds for cores stained, scanned and read like those it learned from."
_LAYER = ("head.2.weight", "head.2.bias")


def model_folder(name: str) -> Path:
    """Where a model called `name` is kept among the user's own."""
    return user_folder() / name


def check_name(name: str, folder: Path | None = None, *, overwrite: bool = False) -> Path:
    """The folder of a new model, before any work is done.

    Parameters
    ----------
    name : str
    folder : Path, optional
        Instead of the user's models.
    overwrite : bool

    Raises
    ------
    ModelError
        If the name is empty, cannot be that of a folder, or is that of a model that came with the package.
    OutputError
        If there is one already and `overwrite` is False, or the folder cannot be written.
    """
    if not name.strip() or safe_name(name) != name:
        raise ModelError(f'A model cannot be called "{name}": give it a name that a folder can have.')
    if is_shipped(name):
        raise ModelError(f"{name} came with the plugin: give your model a name of its own.")
    folder = folder or model_folder(name)
    if (folder / "model.safetensors").exists() and not overwrite:
        raise OutputError(f"There is a model {name} already: choose another name, or allow overwriting (--overwrite).")
    return check_folder(folder)


def save_laboratory_model(
    name: str,
    base: ScoringModel,
    head: Head,
    calibration: Calibration,
    card: Mapping[str, Any],
    *,
    folder: Path | None = None,
    overwrite: bool = False,
) -> ScoringModel:
    """Write ``model.safetensors`` and ``model.onnx``; the model is then installed under its name.

    Parameters
    ----------
    name : str
    base : ScoringModel
        On disk; the one whose head was refitted.
    head : Head
    calibration : Calibration
    card : mapping
        From `laboratory_card`.
    folder : Path, optional
        Instead of the user's models.
    overwrite : bool

    Returns
    -------
    ScoringModel
        With its checksums and its folder.

    Raises
    ------
    ModelError
        If the name cannot be taken, or the files of the base model are damaged or not as expected.
    OutputError
        If there is such a model already and `overwrite` is False, or it cannot be written.
    """
    folder = check_name(name, folder, overwrite=overwrite)
    base.verify()
    tensors = load_file(base.weights_path)
    layer = {key: new.reshape(tensors[key].shape) for key, new in zip(_LAYER, head, strict=True)}
    onnx = base.onnx_path.read_bytes()
    for key, new in layer.items():
        onnx = exchanged(onnx, tensors[key], new, base.name)
    model = replace(
        own_cuts(base),
        name=name,
        version=datetime.now(UTC).strftime("%Y-%m-%d"),
        calibration=calibration,
        card=dict(card),
        onnx_sha256=hashlib.sha256(onnx).hexdigest(),
        folder=folder,
    )
    state = tensors | {key: np.ascontiguousarray(new, np.float32) for key, new in layer.items()}
    with writing(folder / "model.onnx", overwrite=True) as temporary:
        temporary.write_bytes(onnx)
    # the checksum of the tensors stands in the header, which does not count in it: write twice
    with writing(folder / "model.safetensors", overwrite=True) as temporary:
        temporary.write_bytes(save(state))
        model = replace(model, weights_sha256=tensors_sha256(temporary))
        temporary.write_bytes(save(state, metadata=model_header(model)))
    return model


def exchanged(file: bytes, old: npt.NDArray[np.float32], new: npt.NDArray[np.float32], name: str) -> bytes:
    """The file with the numbers of one tensor exchanged in place.

    Raises
    ------
    ModelError
        If the old numbers do not stand in it exactly once.
    """
    was, becomes = (np.ascontiguousarray(tensor, "<f4").tobytes() for tensor in (old, new))
    if file.count(was) != 1 or len(was) != len(becomes):
        raise ModelError(f"The ONNX file of {name} does not hold its last layer as float32: train from another model.")
    return file.replace(was, becomes)


def laboratory_card(
    base: ScoringModel,
    cores: Sequence[CoreFeatures],
    comparison: Comparison,
    params: LabParams,
    source: str,
    *,
    on_test: Comparison | None = None,
    looks_at: str = "",
) -> dict[str, Any]:
    """What the model learned from and how well it did; without names of patients.

    Parameters
    ----------
    base : ScoringModel
    cores : sequence of CoreFeatures
        Learned from.
    comparison : Comparison
        Of `cross_validate` on these.
    params : LabParams
    source : str
        Name of the manifest or slide.
    on_test : Comparison, optional
        Of `compare_on`, where cores were kept apart.
    looks_at : str
        The one magnification that the head sees, in words; "" for the whole pyramid.
    """
    card: dict[str, Any] = {
        "intended use": INTENDED,
        "trained by": "A laboratory, on its own labels: last layer and cut points; all else is the base model's.",
        "base model": {"name": base.name, "version": base.version, "checksum": base.sha256},
        "looks at": looks_at or "what the base model looks at",
        "learned from": learned_record(cores, source, params.seed),
        "calibrated on": "the same cores, each as scored by a head fitted on other patients",
        "indeterminate": f"the least sure {100 * (1 - params.coverage):.0f} % of those",
        "cross-validated": measured_record(comparison),
    }
    if on_test is not None:
        card["on cores kept apart"] = measured_record(on_test)
    card["limits"] = LIMITS
    if "method" in base.card:
        card["method"] = base.card["method"]
    return card


def learned_record(cores: Sequence[CoreFeatures], source: str, seed: int) -> dict[str, Any]:
    """What a card says of the cores learned from; `source` is the name of the manifest or slide."""
    return {
        "labels": source,
        "cores": len(cores),
        "patients": len({c.patient for c in cores}),
        "of each score": ", ".join(f"{sum(c.score == k for c in cores)} of {name}" for k, name in enumerate(SCORES)),
        "images": len({c.image for c in cores}),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "seed": seed,
    }


def measured_record(comparison: Comparison) -> dict[str, Any]:
    """What a card says of a comparison."""
    how = f", {comparison.folds} folds by patient" if comparison.folds else ""
    out: dict[str, Any] = {"on": f"{len(comparison.new.scored)} cores of {comparison.new.patients} patients{how}"}
    for name, evaluation in zip(("new", "recalibrated", "current"), comparison.judges.values(), strict=True):
        told = {"accuracy": "accuracy", "quadratic_kappa": "quadratic kappa", "accuracy_at_coverage": "of the surest"}
        out[name] = ", ".join(f"{label} {_figure(evaluation, key)}" for key, label in told.items())
    out["table, rows: known"] = [str(row) for row in comparison.new.table.tolist()]
    return out


def _figure(evaluation: Evaluation, name: str) -> str:
    figure = evaluation.figures[name]
    interval = f" ({figure.low:.3f} to {figure.high:.3f})" if np.isfinite(figure.low) else ""
    return f"{figure.value:.3f}{interval}"
