"""From a manifest to a network of the published design that learned from its cores alone.

Nothing is cross-validated, because each fit takes hours: a fifth of the patients says when to stop and how sure to be,
and another fifth measures.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_her2.engine import choose_device
from napari_her2.errors import CoresError, ModelError
from napari_her2.manifest import Manifest
from napari_her2.models import Calibration, ScoringModel
from napari_her2.networks import StackedNetwork
from napari_her2.pyramid import PyramidSpec
from napari_her2.scores import SCORES
from napari_her2.training.interrupt import interrupt_noted
from napari_her2.training.lab_compare import Comparison, compare_judged
from napari_her2.training.lab_folds import folds_by_patient
from napari_her2.training.lab_save import INTENDED, LIMITS, learned_record, measured_record
from napari_her2.training.lab_train import TEST, LabRun, check_enough, check_splits, collect_manifest
from napari_her2.training.laboratory import CoreFeatures, LabParams, LearningPoint
from napari_her2.training.save import check_exporter, save_model
from napari_her2.training.stack_calibrate import calibrate_stacked, familiar_stacks
from napari_her2.training.stacked import METHOD, StackParams, fit_stacked, stack_probabilities
from napari_her2.training.stacks import StackBank, labelled_bank, stack_bytes

__all__ = ["VALIDATION", "TrainedStack", "save_stacked_model", "train_stacked"]

#: Name of the split that says when to stop and how sure to be.
VALIDATION = "validation"
#: Share of the patients in that split and in the split "test", each where the manifest has no such split.
_APART = 0.2
#: How often each core is seen, at most.
_ROUNDS = 40


@dataclass(frozen=True)
class TrainedStack:
    """A fitted network and all that is to be said of it.

    Attributes
    ----------
    network : StackedNetwork
        With its temperature folded in.
    spec : PyramidSpec
    calibration : Calibration
    familiar : dict
        See `ScoringModel`.
    history : list of LearningPoint
    learned, held : list of CoreFeatures
        The cores learned from, and those held out to stop and to calibrate.
    measured : Comparison
        On cores of further patients.
    checkpoint : Path
        Of the fit: of no use once the model is saved.
    """

    network: StackedNetwork
    spec: PyramidSpec
    calibration: Calibration
    familiar: dict[str, Any]
    history: list[LearningPoint]
    learned: list[CoreFeatures]
    held: list[CoreFeatures]
    measured: Comparison
    checkpoint: Path


def train_stacked(
    manifest: Manifest,
    base: ScoringModel,
    run: LabRun,
    params: LabParams | None = None,
    *,
    steps: int | None = None,
) -> TrainedStack:
    """Learn a network of the published design from the cores of a manifest; stopped and called again, it goes on.

    Cores of the splits "test" and "validation" measure, and say when to stop; where the manifest has no such split,
    patients are drawn for it. The others are learned from.

    Parameters
    ----------
    manifest : Manifest
    base : ScoringModel
        The current model, to compare with.
    run : LabRun
        Its cache takes stacks, checkpoint, and what the current model sees of the cores.
    params : LabParams, optional
        Of which seed, coverage and draws count.
    steps : int, optional
        At most; as many as show each core 40 times when not given.

    Raises
    ------
    HER2Error
        If the labels are too few, an image or core cannot be used, or the package to write networks is not there.
    KeyboardInterrupt
        When Ctrl-C is pressed; in the fit at the end of a step.
    """
    params, spec, where = params or LabParams(), PyramidSpec(), choose_device(run.device)
    if base.stacked:
        raise ModelError(f"{base.name} judges cores as a whole and cannot be compared with: choose another model.")
    check_exporter()
    check_splits(manifest, (TEST, VALIDATION))
    cores = collect_manifest(manifest, base, run, seed=params.seed)
    parts = _divided(cores, manifest, params.seed)
    size = len(cores) * stack_bytes(spec) / 1e9
    stacks, show = run.cache / "stacks", partial(run.progress, "stacking")
    run.remark(f"The stacks of these {len(cores)} cores take {size:.1f} GB in {stacks}, which may be deleted.")
    bank = labelled_bank(cores, manifest, spec, stacks, progress=show, pixel_size=run.pixel_size, seed=params.seed)
    learned, held, apart = ([k for k, part in enumerate(parts) if part == name] for name in ("", VALIDATION, TEST))
    fit = _params(len(learned), steps, params.seed)
    network, history, checkpoint = _fitted(bank.of(learned), bank.of(held), fit, where, run)
    run.progress("calibrating", 0, 1)
    calibration = calibrate_stacked(network, bank.of(held), params.coverage)
    likely = stack_probabilities(network, bank.of(apart))
    run.progress("calibrating", 1, 1)
    ours, theirs, rest = ([cores[k] for k in numbers] for numbers in (learned, held, apart))
    said = likely @ np.arange(4), likely, calibration.indeterminate_below
    measured = compare_judged(rest, ours + theirs, base, *said, params, name="trained network")
    familiar = familiar_stacks(bank.of(learned + held), spec)
    return TrainedStack(network, spec, calibration, familiar, history, ours, theirs, measured, checkpoint)


def save_stacked_model(
    name: str, trained: TrainedStack, base: ScoringModel, params: LabParams, source: str, folder: Path
) -> ScoringModel:
    """Write the model with its card; the checkpoint of its fit is deleted.

    Parameters
    ----------
    name : str
    trained : TrainedStack
    base : ScoringModel
        What it was compared with.
    params : LabParams
    source : str
        Name of the manifest.
    folder : Path
        From `check_name`.
    """
    held = trained.held
    card = {
        "intended use": INTENDED,
        "trained by": "A laboratory, on its own labels, from random weights.",
        "compared with": {"name": base.name, "version": base.version, "checksum": base.sha256},
        "learned from": learned_record(trained.learned, source, params.seed)
        | {"steps": trained.history[-1].step, "network as after step": _best(trained.history).step},
        "calibrated on": f"{len(held)} cores of {len({c.patient for c in held})} patients that also said when to stop",
        "indeterminate": f"the least sure {100 * (1 - params.coverage):.0f} % of those",
        "on cores kept apart": measured_record(trained.measured),
        "limits": LIMITS,
        "method": f"{METHOD}, on these cores only.",
    }
    model = ScoringModel(
        name,
        datetime.now(UTC).strftime("%Y-%m-%d"),
        trained.spec,
        trained.calibration,
        {"design": "stacked", "patches": trained.network.patches},
        card,
        familiar=trained.familiar,
    )
    model = save_model(model, trained.network, folder)
    trained.checkpoint.unlink(missing_ok=True)
    return model


def _best(history: Sequence[LearningPoint]) -> LearningPoint:
    return min(history, key=lambda point: (point.held_out, -point.step))


def _divided(cores: Sequence[CoreFeatures], manifest: Manifest, seed: int) -> list[str]:
    """Part of each core: "test", "validation", or "" to learn from; all cores of a patient the same."""
    given = {row.line: row.split for row in manifest.rows}
    parts = [given[core.line] if given[core.line] in (TEST, VALIDATION) else "" for core in cores]
    check_enough([(core.score, core.patient) for core, part in zip(cores, parts, strict=True) if part != TEST])
    shares = {name: _APART for name in (VALIDATION, TEST) if name not in parts}
    free = [k for k, part in enumerate(parts) if not part]
    drawn = folds_by_patient([cores[k] for k in free], {"": 1 - sum(shares.values())} | shares, seed)
    for k, part in zip(free, drawn, strict=True):
        parts[k] = part
    for part, use in (("", "learn from"), (VALIDATION, "see when to stop by")):
        there = {core.score for core, own in zip(cores, parts, strict=True) if own == part}
        lacking = [name for score, name in enumerate(SCORES) if score not in there]
        if lacking:
            raise CoresError(f"No core of {' or '.join(lacking)} is left to {use}: label more cores of more patients.")
    if TEST not in parts:
        raise CoresError(f'No core of the split "{TEST}" of {manifest.name} can be used: there is none to measure on.')
    return parts


def _params(count: int, steps: int | None, seed: int) -> StackParams:
    """How long to fit, and how often to look: once in a round of all cores."""
    batch = StackParams.batch
    look = -(-count // batch)
    steps = steps or _ROUNDS * look
    return StackParams(steps, batch, look=min(look, steps), seed=seed)


def _fitted(
    learned: StackBank, held: StackBank, fit: StackParams, device: str, run: LabRun
) -> tuple[StackedNetwork, list[LearningPoint], Path]:
    """The network, how its fit went, and where the fit's checkpoint lies."""
    told = False

    def stepped(step: int, loss: float, seconds: float) -> None:
        nonlocal told
        if not told and step < fit.steps:
            told = True
            run.remark(_how_long(fit, step, seconds, len(held), device))
        run.progress("learning", step, fit.steps)

    checkpoint = run.cache / "fits" / f"{_key(learned, held, fit)}.pt"
    torch.manual_seed(fit.seed)
    network = StackedNetwork(patches=len(learned.stack(0)))
    with interrupt_noted(lambda: run.remark("Ctrl-C: stopping after this step.")) as stop:
        history = fit_stacked(network, learned, fit, checkpoint, held=held, device=device, stepped=stepped, stop=stop)
    return network, history, checkpoint


def _how_long(fit: StackParams, step: int, seconds: float, held: int, device: str) -> str:
    """How long a step takes here, and the rest; judging a core takes about a third of learning from it."""
    left = fit.steps - step
    whole = left * seconds + left / fit.look * held * seconds / fit.batch / 3
    words = f"{whole:.0f} s" if whole < 100 else f"{whole / 60:.0f} min" if whole < 6000 else f"{whole / 3600:.0f} h"
    slow = ": without a GPU this is a matter of hours, and" if device == "cpu" else ":"
    return (
        f"A step of {fit.batch} cores takes {seconds:.1f} s here, so the {left:,} steps that are left take about "
        f"{words} at most{slow} Ctrl-C keeps what is done."
    )


def _key(learned: StackBank, held: StackBank, fit: StackParams) -> str:
    """Name of the checkpoint: of all that the fit depends on."""
    banks = [[[path.name for path in bank.files], bank.scores.tolist()] for bank in (learned, held)]
    return hashlib.blake2b(json.dumps([banks, asdict(fit)]).encode(), digest_size=16).hexdigest()
