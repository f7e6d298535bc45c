"""The second opinion on the command line: by which rules, thresholds and stains cores are measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from napari_her2.errors import StainError
from napari_her2.measure import MeasureParams
from napari_her2.membrane import BREAST, GASTRIC_BIOPSY, GASTRIC_RESECTION, RuleSet
from napari_her2.membrane.batch import read_batch
from napari_her2.slide import Slide
from napari_her2.stain import Stains, estimate_stains

__all__ = ["RULES_OF", "Measuring", "measuring"]

#: Rule sets by the names of the option ``--rules``.
RULES_OF: Mapping[str, RuleSet] = {
    "breast": BREAST,
    "gastric-resection": GASTRIC_RESECTION,
    "gastric-biopsy": GASTRIC_BIOPSY,
}


@dataclass(frozen=True)
class Measuring:
    """How the cores of all slides of a run are measured.

    Attributes
    ----------
    params : MeasureParams
    stains : Stains or None
        Those of every slide; None when each slide's own are estimated.
    batch : str
        Whose control cores the thresholds were calibrated on; "" for the default thresholds.
    stains_file : str
        Where `stains` come from.
    """

    params: MeasureParams
    stains: Stains | None = None
    batch: str = ""
    stains_file: str = ""

    def stains_of(self, slide: Slide) -> Stains:
        """The stains to measure a slide with."""
        return self.stains or estimate_stains(slide)

    def record(self, stains: Stains) -> dict[str, Any]:
        """What ``run.json`` says of it."""
        rules, thresholds = self.params.rules.name, asdict(self.params.thresholds)
        known = {"rules": rules, "thresholds_od": thresholds, "batch": self.batch, "stains_file": self.stains_file}
        return known | {"stains": stains.to_dict()}


def measuring(rules: str, calibration: Path | None, stains: Path | None) -> Measuring:
    """What the options ``--rules``, ``--measure-calibration`` and ``--stains`` ask for.

    Raises
    ------
    StainError
        If a file cannot be used, or was made for other rules.
    """
    rule_set = RULES_OF[rules]
    kept, of = (None, "") if stains is None else (_read_stains(stains), stains.name)
    if calibration is None:
        return Measuring(MeasureParams(rules=rule_set), kept, stains_file=of)
    batch = read_batch(calibration)
    if batch.rules != rule_set.name:
        raise StainError(f"{calibration.name} was made by the rules {batch.rules}, not {rule_set.name}: see --rules.")
    return Measuring(MeasureParams(thresholds=batch.thresholds, rules=rule_set), kept, batch.batch, of)


def _read_stains(path: Path) -> Stains:
    """Stains as they stand in a ``run.json``, or alone in a file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Stains.from_dict(content.get("measurement", {}).get("stains", content))
    except OSError as error:
        raise StainError(f"{path} cannot be read ({error.strerror}): name a run.json of napari-her2.") from error
    except (ValueError, AttributeError) as error:
        raise StainError(f"{path.name} holds no stains: name a run.json of napari-her2 measure.") from error
