"""The second opinion on the command line: by which rules, thresholds and stains, and where, cores are measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from napari_her2.cli.options import MeasureOptions
from napari_her2.cores import Core
from napari_her2.errors import RegionsError, StainError
from napari_her2.export import RegionsFile, read_regions
from napari_her2.finders import BUILT_IN, NucleusFinder, open_finder, source_of
from napari_her2.measure import MeasureParams
from napari_her2.membrane import Thresholds
from napari_her2.membrane.batch import read_batch
from napari_her2.membrane.rules import RULES_OF
from napari_her2.regions import Region
from napari_her2.slide import Slide
from napari_her2.stain import Stains, estimate_stains

__all__ = ["Measuring", "finder_of", "measuring", "read_stains"]


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
    drawn : RegionsFile or None
        Regions of the one slide that is measured.
    regions_file : str
        Where they come from.
    """

    params: MeasureParams
    stains: Stains | None = None
    batch: str = ""
    stains_file: str = ""
    drawn: RegionsFile | None = None
    regions_file: str = ""

    def stains_of(self, slide: Slide) -> Stains:
        """The stains to measure a slide with."""
        return self.stains or estimate_stains(slide)

    def regions_on(self, cores: Iterable[Core], slide: str, told: Callable[[str], None]) -> tuple[Region, ...]:
        """The regions drawn on a slide, of which some lie on its cores.

        Parameters
        ----------
        cores : iterable of Core
            Those that are measured.
        slide : str
            Its name.
        told : callable
            Takes a sentence on what was passed over.

        Raises
        ------
        RegionsError
            If regions were given, and none lies on any of the cores.
        """
        if self.drawn is None:
            return ()
        if self.drawn.remark:
            told(self.drawn.remark)
        cores, every = list(cores), len(self.drawn.regions)
        elsewhere = sum(not any(region.touches(core) for core in cores) for region in self.drawn.regions)
        if elsewhere == every:
            raise RegionsError(
                f"No region in {self.regions_file} lies on a core of {slide} that is measured: "
                "draw them on this slide, and export them in its full-resolution pixels."
            )
        if elsewhere:
            told(f"{elsewhere} of {every} regions in {self.regions_file} lie on no core that is measured.")
        return self.drawn.regions

    def record(self, stains: Stains) -> dict[str, Any]:
        """What ``run.json`` says of it."""
        rules, thresholds = self.params.rules.name, asdict(self.params.thresholds)
        known = {"rules": rules, "thresholds_od": thresholds, "batch": self.batch, "stains_file": self.stains_file}
        known |= {"regions_file": self.regions_file, "nuclei": source_of(self.params.finder).record()}
        return known | {"stains": stains.to_dict()}


def measuring(options: MeasureOptions, images: int = 1, device: str = "auto") -> Measuring:
    """What the options of a command ask for, with the files that they name read.

    Parameters
    ----------
    options : MeasureOptions
    images : int
        Slides that are measured.
    device : str
        Where a finder of nuclei runs, if one is asked for.

    Raises
    ------
    typer.BadParameter
        If regions are given for more than one slide, or a finder of nuclei without weights, or weights without one.
    StainError, RegionsError, ModelError
        If a file cannot be used, or was made for other rules.
    """
    if options.regions is not None and images > 1:
        raise typer.BadParameter("it holds the regions of one slide: name one IMAGE.", param_hint="--regions")
    rules, calibration, stains = RULES_OF[options.rules], options.measure_calibration, options.stains
    batch = None if calibration is None else read_batch(calibration)
    if batch is not None and calibration is not None and batch.rules != rules.name:
        raise StainError(f"{calibration.name} was made by the rules {batch.rules}, not {rules.name}: see --rules.")
    finder = finder_of(options.nuclei, options.nuclei_weights, device)
    if batch is not None and calibration is not None and batch.nuclei != str(source_of(finder)):
        raise StainError(
            f"{calibration.name} was made with nuclei found by {batch.nuclei}, not {source_of(finder)}: see --nuclei."
        )
    thresholds = Thresholds() if batch is None else batch.thresholds
    return Measuring(
        MeasureParams(thresholds=thresholds, rules=rules, finder=finder),
        stains=None if stains is None else read_stains(stains),
        batch="" if batch is None else batch.batch,
        stains_file="" if stains is None else stains.name,
        drawn=None if options.regions is None else read_regions(options.regions),
        regions_file="" if options.regions is None else options.regions.name,
    )


def finder_of(nuclei: str, weights: Path | None, device: str) -> NucleusFinder | None:
    """The finder that ``--nuclei`` and ``--nuclei-weights`` name; None is the built-in one.

    Raises
    ------
    typer.BadParameter
        If one of both is missing.
    ModelError
        If it cannot be opened.
    """
    if nuclei == BUILT_IN and weights is not None:
        raise typer.BadParameter("name a finder that they are for with --nuclei.", param_hint="--nuclei-weights")
    if nuclei != BUILT_IN and weights is None:
        sentence = f"{nuclei} needs weights, and none are downloaded: name yours with --nuclei-weights."
        raise typer.BadParameter(sentence, param_hint="--nuclei")
    return None if weights is None else open_finder(nuclei, weights, device)


def read_stains(path: Path) -> Stains:
    """Stains as they stand in a ``run.json``, or alone in a file.

    Raises
    ------
    StainError
        If the file cannot be read, or holds none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Stains.from_dict(content.get("measurement", {}).get("stains", content))
    except OSError as error:
        raise StainError(f"{path} cannot be read ({error.strerror}): name a run.json of napari-her2.") from error
    except (ValueError, AttributeError) as error:
        raise StainError(f"{path.name} holds no stains: name a run.json of napari-her2 measure.") from error
