"""BatchThresholds: thresholds of measured staining for one scanner and batch, from its control cores, as a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from napari_her2.errors import StainError
from napari_her2.files import writing
from napari_her2.membrane.calibrate import calibrate
from napari_her2.membrane.classes import Thresholds, classify
from napari_her2.membrane.finder import BUILT_IN
from napari_her2.membrane.measurement import Measurement
from napari_her2.membrane.rules import BREAST, RULES, RuleSet

__all__ = ["BatchThresholds", "fit_batch", "read_batch", "write_batch"]

_MARK = "napari_her2_measure_calibration"


@dataclass(frozen=True)
class BatchThresholds:
    """Thresholds of a batch, and where they come from.

    Attributes
    ----------
    batch : str
        What the laboratory calls it: run, day, scanner.
    thresholds : Thresholds
    rules : str
        Name of the rule set (`RULES`) by which the controls were scored; they hold for it only.
    n : int
        Control cores.
    right_before, right_after : int
        Controls whose measured score was the known one, with the default thresholds and with these.
    sentence : str
        What changed.
    when : str
        ISO 8601, UTC.
    nuclei : str
        What found the nuclei of the controls, a `Source` as text; the thresholds hold for these.
    """

    batch: str
    thresholds: Thresholds
    rules: str
    n: int
    right_before: int
    right_after: int
    sentence: str
    when: str
    nuclei: str = BUILT_IN


def fit_batch(
    controls: Sequence[Measurement],
    scores: Sequence[str],
    batch: str,
    rules: RuleSet = BREAST,
    nuclei: str = BUILT_IN,
) -> BatchThresholds:
    """Calibrate the thresholds on control cores of known score, see `calibrate`.

    Parameters
    ----------
    controls : sequence of Measurement
        With their cells, measured by `rules`.
    scores : sequence of str
        "0", "1+", "2+" or "3+" of each.
    batch : str
    rules : RuleSet
    nuclei : str
        What found their nuclei, see `BatchThresholds`.

    Raises
    ------
    StainError
        If there is no control, one has no cell, a score is unknown, or all are 0.
    """
    thresholds, sentence = calibrate([found.rings for found in controls], scores, rules=rules)

    def right(of: Thresholds) -> int:
        said = [rules.score(classify(found.rings, of.for_rules(rules)).counts)[0] for found in controls]
        return sum(a == b for a, b in zip(said, scores, strict=True))

    when = datetime.now(UTC).isoformat(timespec="seconds")
    before, after = right(Thresholds()), right(thresholds)
    text = f"{batch}: {sentence} {before} of {len(scores)} were right before, {after} are now."
    return BatchThresholds(batch, thresholds, rules.name, len(scores), before, after, text, when, nuclei)


def write_batch(path: str | Path, batch: BatchThresholds, *, overwrite: bool = False) -> None:
    """Write it as JSON.

    Raises
    ------
    OutputError
        If the file exists and `overwrite` is False, or cannot be written.
    """
    with writing(path, overwrite=overwrite) as temporary:
        content = {_MARK: 1, **asdict(batch)}
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_batch(path: str | Path) -> BatchThresholds:
    """What `write_batch` wrote.

    Raises
    ------
    StainError
        If there is no such file, it is none of ours, or its thresholds cannot be.
    """
    path = Path(path)
    if not path.is_file():
        raise StainError(f"There is no calibration {path}: make one with napari-her2 calibrate --measure.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop(_MARK) != 1:
            raise StainError(f"{path.name} was written by a newer napari-her2: update the plugin.")
        thresholds = Thresholds.from_dict(content.pop("thresholds"))
        found = BatchThresholds(thresholds=thresholds, **content)
        if found.rules not in RULES:
            raise StainError(f'{path.name} is for the rules "{found.rules}", which are not known here.')
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StainError(
            f"{path.name} is no calibration of measured staining: make one with napari-her2 calibrate --measure."
        ) from error
    return found
