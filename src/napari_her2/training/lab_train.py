"""From a manifest to a laboratory's model: encoding, cross-validation, fit, and measuring on cores kept apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_her2.cores import CoreState
from napari_her2.errors import CoresError
from napari_her2.evaluate import manifest_cores
from napari_her2.manifest import Manifest, ManifestCore
from napari_her2.models import Calibration, ScoringModel
from napari_her2.scores import SCORES
from napari_her2.training.designs import Design, one_magnification
from napari_her2.training.lab_compare import Comparison, compare_on, cross_validate
from napari_her2.training.lab_features import CoreFeatures, Encoder, check_design, collect, open_encoder
from napari_her2.training.lab_folds import too_few
from napari_her2.training.lab_head import Head, LabParams, LearningPoint, fit_head

__all__ = ["TEST", "LabRun", "Trained", "check_enough", "check_splits", "collect_manifest", "train_laboratory"]

#: Name of the split that is measured on and never learned from.
TEST = "test"


@dataclass(frozen=True)
class LabRun:
    """Where a run of training works, whatever it trains, and whom it tells how far it is.

    Attributes
    ----------
    cache : Path
        Folder where what takes long is kept: a run that was stopped goes on from there.
    device : str
        Where networks run.
    pixel_size : float or None
        µm at level 0, for images that do not say theirs.
    progress : callable
        Gets what is being done, how much of it is done, and how much there is.
    remark : callable
        Gets what the user should know, a sentence each.
    """

    cache: Path
    device: str = "auto"
    pixel_size: float | None = None
    progress: Callable[[str, int, int], None] = lambda what, done, total: None
    remark: Callable[[str], None] = lambda sentence: None


@dataclass(frozen=True)
class Trained:
    """A fitted head and all that is to be said of it.

    Attributes
    ----------
    start : ScoringModel
        What the head started from: the current model, or one magnification of it.
    looks_at : str
        That magnification in words; "" where it is the whole pyramid.
    head, calibration, history
        From `fit_head`.
    learned : list of CoreFeatures
        The cores learned from.
    comparison : Comparison
        Cross-validated, on these.
    on_test : Comparison or None
        On the cores of the split "test", when there is one.
    """

    start: ScoringModel
    looks_at: str
    head: Head
    calibration: Calibration
    history: list[LearningPoint]
    learned: list[CoreFeatures]
    comparison: Comparison
    on_test: Comparison | None

    @property
    def measured(self) -> Comparison:
        """On the cores kept apart, or else the cross-validated one."""
        return self.on_test or self.comparison


def collect_manifest(manifest: Manifest, model: ScoringModel, run: LabRun, *, seed: int = 0) -> list[CoreFeatures]:
    """Features of every core of a manifest, slide by slide; see `collect` and `train_laboratory`.

    Raises
    ------
    HER2Error
        If an image cannot be opened, has no pixel size, or lacks a core that the manifest names.
    """
    opened: list[Encoder] = []
    cores = list[CoreFeatures]()

    def encoder(pixels: Any) -> Any:
        # compiled when the first core is not in the cache, once for all slides
        if not opened:
            opened.append(open_encoder(model, run.device))
        return opened[0](pixels)

    run.progress("encoding", 0, len(manifest))
    for slide, places in manifest_cores(manifest, run.pixel_size, run.remark):
        of_name: dict[str, ManifestCore] = {}
        labelled = []
        for row, core in places:
            if core.state is not CoreState.TISSUE:
                run.remark(f"{slide.name} {core.name} is not learned from: it is marked {core.state}.")
            of_name[core.name] = row
            labelled.append(replace(core, reader_score=SCORES[row.score], patient_id=row.person))
        found = collect(slide, labelled, model, cache=run.cache, encoder=encoder, seed=seed, remark=run.remark)
        for features in found:
            row = of_name[features.name]
            cores.append(replace(features, name=row.core, line=row.line))
            run.progress("encoding", len(cores), len(manifest))
    return cores


def train_laboratory(
    manifest: Manifest,
    base: ScoringModel,
    run: LabRun,
    params: LabParams | None = None,
    *,
    design: Design = Design.PLACES,
) -> Trained:
    """Fit the last layer of a model to the cores of a manifest, and measure it on cores that it has not seen.

    Cores of the split "test" are measured on and never learned from; without one, or beside it, the others are
    divided by patient.

    Parameters
    ----------
    manifest : Manifest
    base : ScoringModel
    run : LabRun
    params : LabParams, optional
    design : Design
        Whether the head is to see one magnification alone; it is compared with the current model, which sees all.

    Raises
    ------
    HER2Error
        If the labels are too few, an image or core cannot be used, or the model has no head to fit.
    """
    params = params or LabParams()
    check_design(base)
    start, looks_at = one_magnification(base, design)
    check_splits(manifest, (TEST,))
    cores = collect_manifest(manifest, base, run, seed=params.seed)
    if looks_at:
        cores = [core for core in cores if _is_seen(core, start, looks_at, run.remark)]
    test = {row.line for row in manifest.rows if row.split == TEST}
    learned = [core for core in cores if core.line not in test]
    apart = [core for core in cores if core.line in test]
    check_enough([(core.score, core.patient) for core in learned])
    comparison = cross_validate(
        learned, base, params, start=start, progress=lambda done, of: run.progress("cross-validating", done, of)
    )
    run.progress("fitting", 0, 1)
    head, calibration, history = fit_head(learned, start, params, apart=comparison.values)
    run.progress("fitting", 1, 1)
    on_test = compare_on(apart, learned, base, head, calibration, params) if apart else None
    return Trained(start, looks_at, head, calibration, history, learned, comparison, on_test)


def _is_seen(core: CoreFeatures, model: ScoringModel, looks_at: str, remark: Callable[[str], None]) -> bool:
    """Whether the one magnification that the model looks at shows tissue of a core."""
    if any(weight and (core.level == k).any() for k, weight in enumerate(model.calibration.level_weights)):
        return True
    remark(f"{core.image} {core.name} is not learned from: {looks_at} shows no tissue of it.")
    return False


def check_splits(manifest: Manifest, apart: Sequence[str]) -> None:
    """See that there is something to learn from, and enough of it, before any work is done.

    Parameters
    ----------
    manifest : Manifest
    apart : sequence of str
        Names of the splits that are not learned from.

    Raises
    ------
    CoresError
        If there is not.
    """
    if manifest.splits and all(name in apart for name in manifest.splits):
        named = " or ".join(f'"{name}"' for name in apart)
        raise CoresError(f'All cores of {manifest.name} are in the split {named}: call those to learn from "train".')
    check_enough([(row.score, row.person) for row in manifest.rows if row.split != TEST])


def check_enough(labels: Sequence[tuple[int, str]]) -> None:
    """See that labels, as `too_few` wants them, are enough to learn from.

    Raises
    ------
    CoresError
        If they are not.
    """
    lacking = too_few(labels)
    if lacking:
        raise CoresError(lacking)
