"""Run: all that one slide was given; and ``run.json``, which says how it came about."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from napari_her2 import __version__
from napari_her2.cores import CoreGrid, CoreState
from napari_her2.heatmap import Heatmap
from napari_her2.membrane.field import CellField
from napari_her2.membrane.measurement import Measurement
from napari_her2.models import ScoringModel
from napari_her2.regions import Region
from napari_her2.scores import SCORES, CoreScore
from napari_her2.slide import Slide
from napari_her2.stain import Stains
from napari_her2.table import opinions_differ

__all__ = [
    "Run",
    "counts",
    "model_record",
    "normalised_record",
    "opinion_counts",
    "record",
    "region_records",
    "versions",
    "write_record",
]

_LIBRARIES = ("numpy", "scipy", "scikit-image", "tifffile", "zarr", "imagecodecs", "openvino", "torch", "napari")


@dataclass(frozen=True)
class Run:
    """The results of one slide and how they came about.

    Attributes
    ----------
    slide : Slide
    grid : CoreGrid
        All cores, scored or not.
    scores : mapping of str to CoreScore
        By core name.
    model : ScoringModel or None
        None when nothing was scored.
    heatmap : Heatmap or None
    provenance : dict
        Written into ``run.json`` as it is: "seed", "parameters" (dict), "seconds" (dict of step to wall seconds), ...
        Holds file names, never folders.
    measured : mapping of str to Measurement
        By core name; empty when nothing was measured. Their cells are not needed (`Measurement.summed_up`).
    regions : tuple of Region
        Drawn on the slide, whether or not a core was measured with them.
    fields : mapping of str to CellField
        By core name: the cells that the page of a core shows. Empty when no pages are wanted.
    pages : mapping of str to str
        By core name: where its page lies, for the report to link to.
    """

    slide: Slide
    grid: CoreGrid
    scores: Mapping[str, CoreScore]
    model: ScoringModel | None = None
    heatmap: Heatmap | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Measurement] = field(default_factory=dict)
    regions: tuple[Region, ...] = ()
    fields: Mapping[str, CellField] = field(default_factory=dict)
    pages: Mapping[str, str] = field(default_factory=dict)


def counts(run: Run) -> dict[str, int]:
    """How many cores: "cores", each state, each score, "indeterminate", and "unscored" (tissue without a score)."""
    states = Counter(core.state for core in run.grid)
    tissue = [run.scores.get(core.name) for core in run.grid.scorable]
    given = Counter(s.score for s in tissue if s is not None)
    return {
        "cores": len(run.grid),
        **{str(state): states[state] for state in CoreState},
        **{score: given[score] for score in SCORES},
        "indeterminate": sum(s.indeterminate for s in tissue if s is not None and s.score),
        "unscored": len(tissue) - sum(given[score] for score in SCORES),
    }


def opinion_counts(run: Run) -> dict[str, int]:
    """How many cores: each measured score, "not scorable", "both" (scored and measured), "differ", and by how much."""
    tissue = [(run.scores.get(c.name), run.measured.get(c.name)) for c in run.grid.scorable]
    given = Counter(m.score for _, m in tissue if m is not None)
    steps = [opinions_differ(s.score, m.score) for s, m in tissue if s is not None and m is not None]
    return {
        **{score: given[score] for score in SCORES},
        "not scorable": given[""],
        "both": sum(step >= 0 for step in steps),
        "differ": sum(step >= 1 for step in steps),
        "differ by 2 or more": sum(step >= 2 for step in steps),
    }


def record(run: Run) -> dict[str, Any]:
    """What ``run.json`` holds: software, model, slide, counts, and the provenance."""
    model, slide = run.model, run.slide
    return {
        "purpose": "research use only, not for diagnosis",
        "software": {"napari-her2": __version__, "python": platform.python_version(), **versions()},
        "platform": f"{platform.system()} {platform.machine()}",
        "image": {
            "name": slide.name,
            "height": slide.shape[0],
            "width": slide.shape[1],
            "pixel_size_um": slide.mpp,
            "pixel_size_source": slide.mpp_source,
        },
        "model": None if model is None else model_record(model),
        "heatmap_stride_pixels": None if run.heatmap is None else run.heatmap.stride,
        "counts": counts(run),
        **({"measured_counts": opinion_counts(run)} if run.measured else {}),
        **({"regions": regions} if (regions := region_records(run)) else {}),
        **run.provenance,
    }


def region_records(run: Run) -> list[dict[str, Any]]:
    """Each region that is drawn, or that was when a core was measured: kind, vertices, and the cores measured with it.

    A region that was drawn or changed since has no core; one that is no longer drawn has `drawn` false.
    """
    users: dict[Region, list[str]] = {region: [] for region in run.regions}
    for name, one in run.measured.items():
        for region in one.regions:
            users.setdefault(region, []).append(name)
    return [r.to_dict() | {"measured": names, "drawn": r in run.regions} for r, names in users.items()]


def model_record(model: ScoringModel) -> dict[str, Any]:
    """Which model it was, and the batch that its cut points were refitted on, if they were."""
    known: dict[str, Any] = {"name": model.name, "version": model.version, "sha256": model.sha256}
    return known | ({"recalibration": dict(model.recalibration)} if model.recalibration else {})


def normalised_record(model: ScoringModel, stains: Stains | None) -> dict[str, Any]:
    """For the provenance: from which stains to which the pictures were turned for the model; None for not at all."""
    if stains is None:
        return {"normalised": None}
    return {"normalised": {"stains": stains.to_dict(), "reference": model.reference_stains.to_dict()}}


def versions() -> dict[str, str]:
    """Installed versions of the libraries that results depend on."""
    found = {}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def write_record(path: Path, run: Run) -> None:
    """Write `record` as JSON."""
    # numpy scalars become what they hold
    text = json.dumps(record(run), indent=2, ensure_ascii=False, allow_nan=False, default=lambda value: value.item())
    path.write_text(text + "\n", encoding="utf-8")
