"""From a manifest to a laboratory's model: encoding, cross-validation, fit, and measuring on cores kept apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_her2.cores import CoreState
from napari_her2.errors import CoresError
from napari_her2.evaluate import manifest_cores
from napari_her2.manifest import Manifest, ManifestCore
from napari_her2.models import Calibration, ScoringModel
from napari_her2.scores import SCORES
from napari_her2.training.lab_compare import Comparison, compare_on, cross_validate
from napari_her2.training.lab_features import CoreFeatures, Encoder, check_design, collect, open_encoder
from napari_her2.training.lab_folds import too_few
from napari_her2.training.lab_head import Head, LabParams, LearningPoint, fit_head

__all__ = ["TEST", "Trained", "collect_manifest", "train_laboratory"]

#: Name of the split that is measured on and never learned from.
TEST = "test"


@dataclass(frozen=True)
class Trained:
    """A fitted head and all that is to be said of it.

    Attributes
    ----------
    head, calibration, history
        From `fit_head`.
    learned : list of CoreFeatures
        The cores learned from.
    comparison : Comparison
        Cross-validated, on these.
    on_test : Comparison or None
        On the cores of the split "test", when there is one.
    """

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


def collect_manifest(
    manifest: Manifest,
    model: ScoringModel,
    *,
    cache: Path | None,
    device: str = "auto",
    pixel_size: float | None = None,
    seed: int = 0,
    remark: Callable[[str], None] = lambda sentence: None,
) -> Iterator[CoreFeatures]:
    """Features of every core of a manifest, slide by slide; see `collect`.

    Raises
    ------
    HER2Error
        If an image cannot be opened, has no pixel size, or lacks a core that the manifest names.
    """
    opened: list[Encoder] = []

    def encoder(pixels: Any) -> Any:
        # compiled when the first core is not in the cache, once for all slides
        if not opened:
            opened.append(open_encoder(model, device))
        return opened[0](pixels)

    for slide, places in manifest_cores(manifest, pixel_size, remark):
        of_name: dict[str, ManifestCore] = {}
        labelled = []
        for row, core in places:
            if core.state is not CoreState.TISSUE:
                remark(f"{slide.name} {core.name} is not learned from: it is marked {core.state}.")
            of_name[core.name] = row
            labelled.append(replace(core, reader_score=SCORES[row.score], patient_id=row.person))
        found = collect(slide, labelled, model, cache=cache, encoder=encoder, seed=seed, remark=remark)
        for features in found:
            row = of_name[features.name]
            yield replace(features, name=row.core, line=row.line)


def train_laboratory(
    manifest: Manifest,
    base: ScoringModel,
    params: LabParams | None = None,
    *,
    cache: Path | None = None,
    device: str = "auto",
    pixel_size: float | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    remark: Callable[[str], None] = lambda sentence: None,
) -> Trained:
    """Fit the last layer of a model to the cores of a manifest, and measure it on cores that it has not seen.

    Cores of the split "test" are measured on and never learned from; without one, or beside it, the others are
    divided by patient.

    Parameters
    ----------
    manifest : Manifest
    base : ScoringModel
    params : LabParams, optional
    cache : Path, optional
        Folder where features are kept: a run that was stopped goes on from there.
    device : str
        Where the encoder runs.
    pixel_size : float, optional
        µm at level 0, for images that do not say theirs.
    progress : callable
        Gets what is being done, how much of it is done, and how much there is.
    remark : callable
        Gets what the user should know, a sentence each.

    Raises
    ------
    HER2Error
        If the labels are too few, an image or core cannot be used, or the model has no head to fit.
    """
    params = params or LabParams()
    check_design(base)
    if manifest.splits and all(name == TEST for name in manifest.splits):
        raise CoresError(f'All cores of {manifest.name} are in the split "{TEST}": call those to learn from "train".')
    _check_enough([(row.score, row.person) for row in manifest.rows if row.split != TEST])
    cores, total = list[CoreFeatures](), len(manifest)
    progress("encoding", 0, total)
    for features in collect_manifest(
        manifest, base, cache=cache, device=device, pixel_size=pixel_size, seed=params.seed, remark=remark
    ):
        cores.append(features)
        progress("encoding", len(cores), total)
    test = {row.line for row in manifest.rows if row.split == TEST}
    learned = [core for core in cores if core.line not in test]
    apart = [core for core in cores if core.line in test]
    _check_enough([(core.score, core.patient) for core in learned])
    comparison = cross_validate(learned, base, params, progress=lambda done, of: progress("cross-validating", done, of))
    progress("fitting", 0, 1)
    head, calibration, history = fit_head(learned, base, params, apart=comparison.values)
    progress("fitting", 1, 1)
    on_test = compare_on(apart, learned, base, head, calibration, params) if apart else None
    return Trained(head, calibration, history, learned, comparison, on_test)


def _check_enough(labels: list[tuple[int, str]]) -> None:
    lacking = too_few(labels)
    if lacking:
        raise CoresError(lacking)
