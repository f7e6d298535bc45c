"""The work of `dearray`, `score` and `measure`: image after image, core after core, and what the user sees of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from napari_her2 import engine as engine_module
from napari_her2.cli import RESEARCH_USE
from napari_her2.cli.grid import GridOptions, grid_of_slide
from napari_her2.cli.measure import Measuring
from napari_her2.cores import CoreGrid
from napari_her2.engine import Engine
from napari_her2.errors import CoresError, HER2Error, ModelError, OutputError
from napari_her2.export import (
    Run,
    check_results,
    counts,
    normalised_record,
    opinion_counts,
    write_pages,
    write_results,
)
from napari_her2.export.csv import write_csv
from napari_her2.files import safe_name
from napari_her2.heatmap import Heatmap
from napari_her2.measure import Measurement, measure_cores
from napari_her2.membrane.field import CellField, choose_field
from napari_her2.models import ScoringModel
from napari_her2.regions import Region
from napari_her2.scores import SCORES, CoreScore
from napari_her2.scoring import score_cores, slide_flags
from napari_her2.slide import Slide
from napari_her2.slide_files import image_stem
from napari_her2.stain import Stains, estimate_stains
from napari_her2.table import cores_table

__all__ = ["Options", "progress_bar", "tell", "work"]

#: Seconds between two writings of what is scored so far.
_FLUSH_SECONDS = 5.0


@dataclass(frozen=True)
class Options:
    """What the user asked for, by the names of the command line; see ``napari-her2 score --help``."""

    grid: GridOptions = field(default_factory=GridOptions)
    pixel_size: float | None = None
    select: str | None = None
    device: str = "auto"
    seed: int = 0
    overwrite: bool = False
    measure: Measuring | None = None
    pages: bool = False
    normalise: bool = False
    stains: Stains | None = None  # of every slide, where nothing is measured; None: each slide's own are estimated

    def stains_of(self, slide: Slide) -> Stains:
        """The stains of a slide, to measure or to normalise by."""
        return self.stains or estimate_stains(slide) if self.measure is None else self.measure.stains_of(slide)

    def record(self) -> dict[str, Any]:
        """As written into ``run.json``: file names without their folders."""
        known = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("grid", "measure", "stains")}
        known |= asdict(self.grid) | {"measure": self.measure is not None}
        return {key: value.name if isinstance(value, Path) else value for key, value in known.items()}


@dataclass
class _Outcome:
    """How one image ended: its results, or why there are none."""

    name: str
    run: Run | None = None
    error: str = ""
    stopped: bool = False
    no_page: dict[str, str] = field(default_factory=dict)


def work(images: Sequence[Path], folder: Path, options: Options, model: ScoringModel | None = None) -> None:
    """Find the cores of each image, score them when a model is given, and write the results.

    Raises
    ------
    HER2Error
        If nothing can be done: an unusable folder or model, or the one image that was named.
    typer.Exit
        With code 3 when some images or cores failed, 1 when all images did, 130 after Ctrl-C.
    """
    stems = [image_stem(path) for path in images]
    twice = {s for s in stems if [safe_name(o).casefold() for o in stems].count(safe_name(s).casefold()) > 1}
    if twice:
        raise OutputError(
            f"Several images are called {min(twice)}, and so would their results be: give each its own folder."
        )
    for stem in stems:
        check_results(folder, stem, overwrite=options.overwrite)
    console = Console(stderr=True)
    outcomes: list[_Outcome] = []
    # compiled once, when the first slide is ready for it
    engine = cache(lambda: engine_module.open_engine(model, options.device)) if model is not None else None
    with progress_bar(console) as progress:
        for path in images:
            task = progress.add_task(f"{image_stem(path)}: finding cores", total=None)
            show, remark = partial(progress.update, task), partial(tell, console)
            outcomes.append(_image(path, folder, options, model, engine, show, remark))
            progress.remove_task(task)
            if outcomes[-1].error and len(images) > 1:
                console.print(f"napari-her2: {outcomes[-1].error}", style="red", soft_wrap=True, markup=False)
            if outcomes[-1].stopped:
                break
    _finish(outcomes, folder, alone=len(images) == 1)


def tell(console: Console, sentence: str) -> None:
    """What the user should know of an image, beside the progress."""
    console.print(f"napari-her2: {sentence}", style="yellow", soft_wrap=True, markup=False, highlight=False)


@contextmanager
def progress_bar(console: Console, what: str = "cores, ") -> Iterator[Progress]:
    """Progress over cores or something else, with the time left."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    left = (TextColumn(f"{what}left"), TimeRemainingColumn())
    with Progress(*columns, *left, console=console, transient=True) as progress:
        yield progress


def _image(
    path: Path,
    folder: Path,
    options: Options,
    model: ScoringModel | None,
    engine: Callable[[], Engine] | None,
    show: Callable[..., None],
    remark: Callable[[str], None],
) -> _Outcome:
    """One image from its file to its results; `show` updates its line of the progress, `remark` tells a sentence."""
    name, begin = image_stem(path), time.perf_counter()
    part = folder / f"{safe_name(name)}.cores.csv.part"

    def told(sentence: str) -> None:
        remark(f"{name}: {sentence}")

    try:
        slide = Slide.open(path, mpp=options.pixel_size)
        if model is not None or options.measure is not None:
            slide.require_mpp()
        grid = grid_of_slide(slide, options.grid, told)
        found = _Opinions({"finding": time.perf_counter() - begin})
        if model is not None or options.measure is not None:
            chosen = _chosen(grid, options, name)
            if options.measure is not None:
                found.regions = options.measure.regions_on(chosen, name, told)

            def write_part() -> None:
                write_csv(part, cores_table(name, grid, found.scores, slide.mpp, found.measured))

            _judge(slide, chosen, options, model, engine, found, show, write_part)
        flags = [] if model is None else slide_flags(slide, list(found.scores.values()), model, found.stains)
        for sentence in flags:
            told(sentence)
        found.seconds["total"] = time.perf_counter() - begin
        provenance = {
            "seed": options.seed,
            "parameters": options.record(),
            "device": found.device,
            **_measured_with(options, found),
            **({} if model is None else normalised_record(model, found.stains if options.normalise else None)),
            "seconds": {step: round(s, 3) for step, s in found.seconds.items()},
            "peak_memory_mib": _peak_mib(),
            "stopped": found.stopped,
            "slide_flags": list(flags),
        }
        drawn = (found.regions, found.fields)
        run = Run(slide, grid, found.scores, model, found.heatmap, provenance, found.measured, *drawn)
        run, no_page = _paged(run, folder, options, found, show)
        show(description=f"{name}: writing")
        write_results(folder, run, overwrite=options.overwrite)
        part.unlink(missing_ok=True)
        return _Outcome(name, run, stopped=found.stopped, no_page=no_page)
    except KeyboardInterrupt:
        return _Outcome(name, error=f"{name} was stopped before its results were written.", stopped=True)
    except (ModelError, OutputError):
        raise  # what stands in the way of one image stands in the way of all
    except HER2Error as error:
        return _Outcome(name, error=str(error))


def _paged(
    run: Run, folder: Path, options: Options, found: _Opinions, show: Callable[..., None]
) -> tuple[Run, dict[str, str]]:
    """The run with its pages written, and why some cores have none; after Ctrl-C the rest have none either."""
    links: dict[str, str] = {}
    failures: dict[str, str] = {}
    if options.pages:
        show(description=f"{run.slide.name}: writing pages", completed=0, total=len(run.measured))
        try:
            for page in write_pages(folder, run, overwrite=options.overwrite):
                (failures if page.failure else links)[page.core] = page.failure or page.link
                show(advance=1)
        except KeyboardInterrupt:
            found.stopped = True
    return replace(run, pages=links), failures


def _measured_with(options: Options, found: _Opinions) -> dict[str, Any]:
    if options.measure is None or found.stains is None:
        return {}
    return {"measurement": options.measure.record(found.stains)}


@dataclass
class _Opinions:
    """What is known of the cores of one image so far, and how long each step took."""

    seconds: dict[str, float]
    scores: dict[str, CoreScore] = field(default_factory=dict)
    measured: dict[str, Measurement] = field(default_factory=dict)
    heatmap: Heatmap | None = None
    stains: Stains | None = None
    regions: tuple[Region, ...] = ()
    fields: dict[str, CellField] = field(default_factory=dict)
    device: str | None = None
    stopped: bool = False


def _judge(
    slide: Slide,
    chosen: CoreGrid,
    options: Options,
    model: ScoringModel | None,
    engine: Callable[[], Engine] | None,
    found: _Opinions,
    show: Callable[..., None],
    write_part: Callable[[], None],
) -> None:
    """Score and measure core after core into `found`, which keeps what is done after Ctrl-C."""
    name, seconds = slide.name, found.seconds
    todo: Iterable[CoreScore] = (CoreScore(core) for core in chosen)
    if options.measure is not None or options.normalise:
        start = time.perf_counter()
        found.stains = options.stains_of(slide)
        seconds["stains"] = time.perf_counter() - start
    if options.measure is not None:
        seconds["measuring"] = 0.0
    if model is not None and engine is not None:
        show(description=f"{name}: starting {model.name}")
        start = time.perf_counter()
        normalise = found.stains if options.normalise else None
        todo = score_cores(slide, chosen, model, engine=engine(), seed=options.seed, normalise=normalise)
        found.device, found.heatmap = engine().device, Heatmap.of(slide)
        seconds |= {"starting": time.perf_counter() - start, "reading": 0.0, "inference": 0.0}
    show(description=f"{name}: {'measuring' if model is None else 'scoring'}", total=len(chosen))
    flushed = time.perf_counter()
    try:
        for score in todo:
            if found.heatmap is not None:
                found.scores[score.core.name] = score
                found.heatmap.add(score)
                seconds["reading"] += score.seconds.get("read", 0.0)
                seconds["inference"] += score.seconds.get("network", 0.0)
            if options.measure is not None and found.stains is not None:
                places = {score.core.name: score.places} if score.places is not None else {}
                how = (found.stains, options.measure.params)
                for measured in measure_cores(slide, [score.core], *how, places=places, regions=found.regions):
                    found.measured[score.core.name] = measured.summed_up()
                    seconds["measuring"] += measured.seconds
                    if options.pages and (cells := choose_field(measured)) is not None:
                        found.fields[score.core.name] = cells
            show(advance=1)
            if time.perf_counter() - flushed > _FLUSH_SECONDS:
                write_part()
                flushed = time.perf_counter()
    except KeyboardInterrupt:
        found.stopped = True


def _chosen(grid: CoreGrid, options: Options, name: str) -> CoreGrid:
    """The cores to score."""
    chosen = (grid if options.select is None else grid.select(options.select)).scorable
    if not len(chosen):
        raise CoresError(f"None of the cores to score of {name} holds tissue: choose others.")
    return chosen


def _peak_mib() -> int | None:
    """Largest resident memory of this process so far in MiB; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2**20 if sys.platform == "darwin" else peak / 2**10)


def _finish(outcomes: list[_Outcome], folder: Path, *, alone: bool) -> None:
    done = [o.run for o in outcomes if o.run is not None]
    stopped = any(o.stopped for o in outcomes)
    if done:
        _summary(done, folder)
    failed = [(run.slide.name, *core) for run in done for core in _failed(run).items()]
    failed += [(outcome.name, *core) for outcome in outcomes for core in outcome.no_page.items()]
    for name, core, reason in failed:
        typer.echo(f"napari-her2: core {core} of {name}: {reason}", err=True)
    if stopped:
        typer.echo("napari-her2: stopped; what was finished is written.", err=True)
        raise typer.Exit(130)
    if alone and outcomes[0].error:
        raise HER2Error(outcomes[0].error)
    if failed or len(done) < len(outcomes):
        raise typer.Exit(3 if done else 1)


def _failed(run: Run) -> dict[str, str]:
    """Cores that could not be read, by name, each with the reason."""
    measured = {name: found.sentence for name, found in run.measured.items() if found.failed}
    return measured | {name: score.reason for name, score in run.scores.items() if score.failed}


def _opinions(runs: list[Run]) -> str:
    """How often network and measurement say the same, in one sentence."""
    total = Counter[str]()
    for run in runs:
        total.update(opinion_counts(run))
    return (
        f"Network and measurement: {total['both']} cores have both scores; they differ on {total['differ']}, "
        f"by two or more on {total['differ by 2 or more']}."
    )


def _summary(runs: list[Run], folder: Path) -> None:
    from rich.table import Table

    scored, measured = any(run.model is not None for run in runs), any(run.measured for run in runs)
    columns = ["cores", "missing", "doubtful", *((*SCORES, "indeterminate", "unscored") if scored else ())]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("image", overflow="fold")
    # with both opinions the sentence below says the rest: a terminal is 80 wide
    second = (*SCORES, "not scorable") if measured and not scored else ()
    for heading in (*columns, *second):
        table.add_column(heading, justify="right", no_wrap=True)
    for run in runs:
        known, measured_counts = counts(run) | {"doubtful": len(run.grid.doubtful)}, opinion_counts(run)
        cells = [*(known[c] for c in columns), *(measured_counts[c] for c in second)]
        table.add_row(run.slide.name, *map(str, cells))
    steps = ("finding", "starting", "stains", "reading", "inference", "measuring", "total")
    spent = [(step, sum(run.provenance["seconds"].get(step, 0.0) for run in runs)) for step in steps]
    seconds = {step: s for step, s in spent if any(step in run.provenance["seconds"] for run in runs)}
    peak = runs[-1].provenance["peak_memory_mib"]
    lines = [
        "Seconds: " + ", ".join(f"{step} {s:.1f}" for step, s in seconds.items()) + ".",
        f"Peak memory: {peak:,} MiB." if peak is not None else "",
        _opinions(runs) if measured and scored else "",
        f"Written to {folder}. {RESEARCH_USE}",
    ]
    console = Console()
    console.print(table)
    console.print("\n".join(filter(None, lines)), highlight=False, soft_wrap=True, markup=False)
