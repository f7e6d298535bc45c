"""evaluate_cores: what a model says of cores of known score, slide by slide; and what that amounts to."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_her2.agreement import (
    CoveragePoint,
    Figure,
    ReliabilityBin,
    confusion,
    coverage_curve,
    figures,
    reliability,
)
from napari_her2.cores import Core, CoreGrid
from napari_her2.dearray import find_cores
from napari_her2.engine import Engine
from napari_her2.errors import CoresError, HER2Error, OutputError
from napari_her2.export.read import read_cores
from napari_her2.intervals import all_or_none, bootstrap
from napari_her2.manifest import Manifest, ManifestCore
from napari_her2.models import ScoringModel
from napari_her2.scores import SCORES
from napari_her2.scoring import score_cores
from napari_her2.slide import Slide
from napari_her2.slide_files import image_stem
from napari_her2.stain import estimate_stains

__all__ = [
    "EvaluatedCore",
    "Evaluation",
    "PartFile",
    "evaluate",
    "evaluate_cores",
    "manifest_cores",
    "open_slide",
    "place_of",
]

#: Files beside a slide that hold its cores, in the order in which they are looked for.
_BESIDE = (".cores.csv", ".cores.geojson", ".qptma")


@dataclass(frozen=True)
class EvaluatedCore:
    """A core of known score and what the model said of it.

    Attributes
    ----------
    line : int
        Its row in the manifest.
    image, core : str
        Name of the image without its ending; name of the core, "" where the image is one core.
    patient : str
    truth : int
        0 to 3.
    score : str
        "" where it was not scored.
    probabilities : tuple of 4 float
        NaN where it was not scored.
    value, spread : float
        See `CoreScore`.
    indeterminate : bool
    reason : str
        Why it is indeterminate or was not scored.
    y, x, diameter : float
        In level-0 pixels of the image; NaN where the core was not found.
    """

    line: int
    image: str
    core: str
    patient: str
    truth: int
    score: str = ""
    probabilities: tuple[float, float, float, float] = (float("nan"),) * 4
    value: float = float("nan")
    spread: float = float("nan")
    indeterminate: bool = False
    reason: str = ""
    y: float = float("nan")
    x: float = float("nan")
    diameter: float = float("nan")

    @property
    def off(self) -> int:
        """How many scores it is off; 0 where it was not scored."""
        return abs(SCORES.index(self.score) - self.truth) if self.score else 0


def evaluate_cores(
    manifest: Manifest,
    model: ScoringModel,
    *,
    engine: Engine,
    seed: int = 0,
    pixel_size: float | None = None,
    normalise: bool = False,
    done: Mapping[int, EvaluatedCore] | None = None,
    remark: Callable[[str], None] = lambda sentence: None,
) -> Iterator[EvaluatedCore]:
    """Score every core of a manifest, each slide opened once, and yield each as it is ready.

    A slide's cores come from the manifest's cores file, else from STEM.cores.csv, .cores.geojson or .qptma beside the
    slide, else they are found. An image or core that cannot be used is yielded unscored with the reason.

    Parameters
    ----------
    manifest : Manifest
    model : ScoringModel
    engine : Engine
    seed : int
    pixel_size : float, optional
        µm at level 0, for images that do not say theirs.
    normalise : bool
        Show the model each image in its reference colours, by the stains that are estimated on the image.
    done : mapping of int to EvaluatedCore, optional
        By line of the manifest: not scored again, and not yielded.
    remark : callable
        Gets what the user should know, a sentence each.

    Yields
    ------
    EvaluatedCore
        In the order of the slides in the manifest.
    """
    known = done or {}
    for path, rows in manifest.images.items():
        todo = [row for row in rows if row.line not in known]
        if not todo:
            continue
        name = image_stem(path)
        try:
            slide = open_slide(path, pixel_size)
            places = {row.line: core for row, core in _places(slide, todo, name, remark)}
        except HER2Error as error:
            for row in todo:
                yield _known(row, reason=str(error))
            continue
        for row in todo:
            if row.line not in places:
                yield _known(row, reason=f"{name} has no core {row.core}.")
        yield from _scored(slide, [r for r in todo if r.line in places], places, model, engine, seed, normalise)


def manifest_cores(
    manifest: Manifest, pixel_size: float | None = None, remark: Callable[[str], None] = lambda sentence: None
) -> Iterator[tuple[Slide, list[tuple[ManifestCore, Core]]]]:
    """Each slide of a manifest with its rows and their cores, come by as in `evaluate_cores`.

    Raises
    ------
    HER2Error
        If a slide cannot be opened or read, or has no core of that name.
    """
    for path, rows in manifest.images.items():
        name = image_stem(path)
        slide = open_slide(path, pixel_size)
        found = _places(slide, rows, name, remark)
        lacking = {row.core for row in rows} - {row.core for row, _ in found}
        if lacking:
            raise CoresError(f"{name} has no core {min(lacking)}, which {manifest.name} names.")
        yield slide, found


def _scored(
    slide: Slide,
    rows: list[ManifestCore],
    places: dict[int, Core],
    model: ScoringModel,
    engine: Engine,
    seed: int,
    normalise: bool,
) -> Iterator[EvaluatedCore]:
    of_name = {places[row.line].name: row for row in rows}
    for row in rows:
        core = places[row.line]
        if core.state != "tissue":
            yield _known(row, core, reason=f"The core is marked {core.state}.")
    stains = estimate_stains(slide) if normalise else None
    cores = [places[row.line] for row in rows]
    for scored in score_cores(slide, cores, model, engine=engine, seed=seed, normalise=stains):
        yield _known(
            of_name[scored.core.name],
            scored.core,
            score=scored.score,
            probabilities=scored.probabilities,
            value=scored.value,
            spread=scored.spread,
            indeterminate=scored.indeterminate,
            reason=scored.reason,
        )


def _known(row: ManifestCore, core: Core | None = None, **said: Any) -> EvaluatedCore:
    place: dict[str, Any] = {} if core is None else {"y": core.y, "x": core.x, "diameter": core.diameter}
    return EvaluatedCore(row.line, image_stem(row.image), row.core, row.person, row.score, **place, **said)


def open_slide(path: Path, pixel_size: float | None = None) -> Slide:
    """The slide of a manifest; `pixel_size` (µm at level 0) is for files that do not say theirs.

    Raises
    ------
    SlideError
        If it cannot be opened.
    """
    slide = Slide.open(path)
    # what the file says stands: one number cannot be right for images of several scanners
    return slide if slide.mpp is not None or pixel_size is None else slide.with_mpp(pixel_size)


def _places(
    slide: Slide, rows: list[ManifestCore], name: str, remark: Callable[[str], None]
) -> list[tuple[ManifestCore, Core]]:
    """Where each row's core lies; rows whose core is not there are left out."""
    slide.require_mpp()
    if not rows[0].core:
        h, w = slide.shape
        return [(rows[0], Core("A-1", 0, 0, y=h / 2, x=w / 2, diameter=min(h, w)))]
    grid = _grid(slide, rows[0], name, remark)
    found = {core.name.casefold(): core for core in grid}
    return [(row, found[row.core.casefold()]) for row in rows if row.core.casefold() in found]


def _grid(slide: Slide, row: ManifestCore, name: str, remark: Callable[[str], None]) -> CoreGrid:
    """The cores of a slide; what there is to say of them goes to `remark`."""
    beside = [row.image.with_name(name + ending) for ending in _BESIDE]
    file = row.cores or next((path for path in beside if path.is_file()), None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        grid = read_cores(file) if file is not None else find_cores(slide)
    if file is None:
        remark(f"{name}: no cores file is given, so its cores were found and named: check that the names match.")
    for warning in caught:
        remark(f"{name}: {warning.message}")
    return grid


def place_of(core: EvaluatedCore) -> Core | None:
    """The core's place on its image, to cut its picture out; None where it was not found."""
    if not np.isfinite(core.diameter):
        return None
    return Core(core.core or "A-1", 0, 0, y=core.y, x=core.x, diameter=core.diameter)


class PartFile:
    """What is evaluated so far, one JSON line a core behind a line that says of what; a stopped run goes on from it.

    Parameters
    ----------
    path : Path
    told : dict
        What the answers depend on: model, cut points, manifest, seed, pixel size.
    """

    def __init__(self, path: Path, told: Mapping[str, Any]) -> None:
        self.path = path
        self._told = json.loads(json.dumps(told))

    def read(self) -> dict[int, EvaluatedCore]:
        """The cores that are done, by line of the manifest; a last line cut short by a kill is passed over.

        Raises
        ------
        OutputError
            If the file is of another evaluation.
        """
        if not self.path.exists():
            return {}
        out: dict[int, EvaluatedCore] = {}
        first: Any = None
        for text in self.path.read_text(encoding="utf-8").splitlines():
            try:
                content = json.loads(text)
            except ValueError:
                break
            if first is None:
                first = content
                continue
            content["probabilities"] = tuple(content["probabilities"])
            out[content["line"]] = EvaluatedCore(**content)
        if first != self._told:
            raise OutputError(
                f"{self.path} is of another model, manifest or seed: choose another folder, or allow overwriting "
                "(--overwrite)."
            )
        return out

    def begin(self, done: Mapping[int, EvaluatedCore]) -> None:
        """Write the first line, and what is done."""
        lines = [json.dumps(self._told), *(json.dumps(asdict(core)) for core in done.values())]
        self.path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def add(self, core: EvaluatedCore) -> None:
        """Add one core; it is in the file when this returns."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(core)) + "\n")


@dataclass(frozen=True)
class Evaluation:
    """How well a model agrees with the known scores.

    Attributes
    ----------
    cores : tuple of EvaluatedCore
        All, in the order of the manifest.
    coverage : float
        That of ``accuracy_at_coverage``.
    figures : dict of str to Figure
        `agreement.FIGURES`, over all scored cores, indeterminate ones with their likeliest score; and
        ``determinate_share`` and ``determinate_accuracy``.
    table : ndarray of int, shape (4, 4)
        Rows: truth.
    bins : list of ReliabilityBin
    curve : list of CoveragePoint
    patients : int
        Of the scored cores.
    """

    cores: tuple[EvaluatedCore, ...]
    coverage: float
    figures: dict[str, Figure]
    table: npt.NDArray[np.intp]
    bins: list[ReliabilityBin]
    curve: list[CoveragePoint]
    patients: int

    @property
    def scored(self) -> list[EvaluatedCore]:
        """The cores that the figures stand on."""
        return [core for core in self.cores if core.score]

    @property
    def unscored(self) -> list[EvaluatedCore]:
        """The cores that have no score, each with its reason."""
        return [core for core in self.cores if not core.score]

    def worst(self, count: int = 24) -> list[EvaluatedCore]:
        """The wrong scores: those farthest off first, of equals those that were surest."""
        wrong = [core for core in self.scored if core.off]
        return sorted(wrong, key=lambda core: (-core.off, -max(core.probabilities), core.line))[:count]


def evaluate(cores: Sequence[EvaluatedCore], *, coverage: float = 0.85, draws: int = 1000, seed: int = 0) -> Evaluation:
    """Measure what `evaluate_cores` gave.

    Parameters
    ----------
    cores : sequence of EvaluatedCore
    coverage : float
        Share of the cores, the surest first, of ``accuracy_at_coverage``; 0..1.
    draws, seed : int
        See `agreement.bootstrap`.

    Raises
    ------
    CoresError
        If no core was scored.
    """
    scored = sorted((core for core in cores if core.score), key=lambda core: core.line)
    if not scored:
        why = next((f": {core.reason}" for core in cores if core.reason), ".")
        raise CoresError(f"None of the {len(cores)} cores could be scored{why}")
    truth = [core.truth for core in scored]
    likely = np.array([core.probabilities for core in scored])
    patients = [core.patient for core in scored]
    found = figures(truth, likely, patients, coverage=coverage, draws=draws, seed=seed)
    sure = [core for core in scored if not core.indeterminate]
    found["determinate_share"] = Figure(len(sure) / len(scored), len(scored))
    if sure:
        right = np.array([core.off == 0 for core in sure], float)
        of_sure = [core.patient for core in sure]
        low, high = bootstrap(lambda chosen: right[chosen].mean(keepdims=True), of_sure, draws, seed)
        bounds = all_or_none(right.mean(), len(set(of_sure))) if right.min() == right.max() else (low[0], high[0])
        found["determinate_accuracy"] = Figure(float(right.mean()), len(sure), float(bounds[0]), float(bounds[1]))
    return Evaluation(
        cores=tuple(sorted(cores, key=lambda core: core.line)),
        coverage=coverage,
        figures=found,
        table=confusion(truth, likely.argmax(axis=1)),
        bins=reliability(truth, likely),
        curve=coverage_curve(truth, likely),
        patients=len(set(patients)),
    )
