"""Dividing labelled cores by patient, and saying when there are too few of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from napari_her2.manifest import Manifest, ManifestCore, split_by_patient
from napari_her2.scores import SCORES

__all__ = ["LEAST_CORES", "LEAST_PATIENTS", "folds_by_patient", "too_few"]

#: Cores of each score, and patients of each, under which nothing is promised: with fewer, leaving out a fifth of the
#: patients leaves a score with a core or two, and no interval says anything.
LEAST_CORES, LEAST_PATIENTS = 8, 5


class _Labelled(Protocol):
    @property
    def score(self) -> int: ...
    @property
    def patient(self) -> str: ...


def folds_by_patient(cores: Sequence[_Labelled], shares: Mapping[str, float], seed: int) -> list[str]:
    """Name of the part that each core falls into, all cores of a patient the same; see `manifest.split_by_patient`.

    Raises
    ------
    CoresError
        If there are fewer patients than parts.
    """
    rows = tuple(ManifestCore(k, Path(), "", core.score, core.patient) for k, core in enumerate(cores))
    return [
        row.split for row in split_by_patient(Manifest("The set of labelled cores", "", rows), shares, seed=seed).rows
    ]


def too_few(labels: Sequence[tuple[int, str]]) -> str:
    """Why these labels are too few to learn from and to say how well it went; "" when they are enough.

    Parameters
    ----------
    labels : sequence of (int, str)
        Score (0 to 3) and patient of each core; a core whose patient is "" stands for one of its own.

    Examples
    --------
    >>> too_few([(k % 4, str(k)) for k in range(32)])
    ''
    """
    lacking = []
    for score, name in enumerate(SCORES):
        of_score = [patient for known, patient in labels if known == score]
        patients = len({p for p in of_score if p}) + sum(1 for p in of_score if not p)
        if len(of_score) < LEAST_CORES or patients < LEAST_PATIENTS:
            there = f"{len(of_score)} of {patients} patient{'s' * (patients != 1)}" if of_score else "none"
            lacking.append(f"{name} ({there})")
    if not lacking:
        return ""
    listed = ", ".join(lacking[:-1]) + " and " + lacking[-1] if len(lacking) > 1 else lacking[0]
    return (
        f"Too few labels to learn from: at least {LEAST_CORES} cores of each score, from at least {LEAST_PATIENTS} "
        f"patients, are needed, and lacking are cores of {listed}. To fit the model to a batch with fewer, "
        "calibrate it on control cores."
    )
