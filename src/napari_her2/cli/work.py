"""The work of `dearray` and `score`: image after image, core after core, and what the user sees of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from napari_her2 import engine as engine_module
from napari_her2.cli import RESEARCH_USE
from napari_her2.cli.grid import GridOptions, grid_of_slide
from napari_her2.cores import CoreGrid
from napari_her2.engine import Engine
from napari_her2.errors import CoresError, HER2Error, ModelError, OutputError
from napari_her2.export import Run, check_results, counts, write_results
from napari_her2.export.csv import write_csv
from napari_her2.files import safe_name
from napari_her2.heatmap import Heatmap
from napari_her2.models import ScoringModel
from napari_her2.scores import SCORES, CoreScore
from napari_her2.scoring import score_cores
from napari_her2.slide import Slide
from napari_her2.slide_files import image_stem
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

    def record(self) -> dict[str, Any]:
        """As written into ``run.json``: file names without their folders."""
        known = asdict(self)
        known |= known.pop("grid")
        return {key: value.name if isinstance(value, Path) else value for key, value in known.items()}


@dataclass
class _Outcome:
    """How one image ended: its results, or why there are none."""

    name: str
    run: Run | None = None
    error: str = ""
    stopped: bool = False


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
def progress_bar(console: Console) -> Iterator[Progress]:
    """Progress over cores, with the time left."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    left = (TextColumn("cores, left"), TimeRemainingColumn())
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
    name, begin, stopped = image_stem(path), time.perf_counter(), False
    scores: dict[str, CoreScore] = {}
    heatmap, device = None, None
    part = folder / f"{safe_name(name)}.cores.csv.part"
    try:
        slide = Slide.open(path, mpp=options.pixel_size)
        if model is not None:
            slide.require_mpp()
        grid = grid_of_slide(slide, options.grid, lambda sentence: remark(f"{name}: {sentence}"))
        seconds = {"finding": time.perf_counter() - begin}
        if model is not None and engine is not None:
            chosen = _chosen(grid, options, name)
            show(description=f"{name}: starting {model.name}")
            start = time.perf_counter()
            device = engine().device
            seconds["starting"] = time.perf_counter() - start
            show(description=f"{name}: scoring", total=len(chosen))
            heatmap = Heatmap.of(slide)
            flushed = time.perf_counter()
            try:
                for score in score_cores(slide, chosen, model, engine=engine(), seed=options.seed):
                    scores[score.core.name] = score
                    heatmap.add(score)
                    show(advance=1)
                    if time.perf_counter() - flushed > _FLUSH_SECONDS:
                        write_csv(part, cores_table(name, grid, scores, slide.mpp))
                        flushed = time.perf_counter()
            except KeyboardInterrupt:
                stopped = True
            for step, key in (("reading", "read"), ("inference", "network")):
                seconds[step] = sum(score.seconds.get(key, 0.0) for score in scores.values())
        seconds["total"] = time.perf_counter() - begin
        provenance = {
            "seed": options.seed,
            "parameters": options.record(),
            "device": device,
            "seconds": {step: round(s, 3) for step, s in seconds.items()},
            "peak_memory_mib": _peak_mib(),
            "stopped": stopped,
        }
        run = Run(slide, grid, scores, model, heatmap, provenance)
        show(description=f"{name}: writing")
        write_results(folder, run, overwrite=options.overwrite)
        part.unlink(missing_ok=True)
        return _Outcome(name, run, stopped=stopped)
    except KeyboardInterrupt:
        return _Outcome(name, error=f"{name} was stopped before its results were written.", stopped=True)
    except (ModelError, OutputError):
        raise  # what stands in the way of one image stands in the way of all
    except HER2Error as error:
        return _Outcome(name, error=str(error))


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
    failed = [(run.slide.name, score) for run in done for score in run.scores.values() if score.failed]
    for name, score in failed:
        typer.echo(f"napari-her2: core {score.core.name} of {name}: {score.reason}", err=True)
    if stopped:
        typer.echo("napari-her2: stopped; what was finished is written.", err=True)
        raise typer.Exit(130)
    if alone and outcomes[0].error:
        raise HER2Error(outcomes[0].error)
    if failed or len(done) < len(outcomes):
        raise typer.Exit(3 if done else 1)


def _summary(runs: list[Run], folder: Path) -> None:
    from rich.table import Table

    scored = any(run.model is not None for run in runs)
    columns = ["cores", "missing", "doubtful", *((*SCORES, "indeterminate", "unscored") if scored else ())]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("image", overflow="fold")
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for run in runs:
        table.add_row(run.slide.name, *(str((counts(run) | {"doubtful": len(run.grid.doubtful)})[c]) for c in columns))
    seconds = {
        step: sum(run.provenance["seconds"].get(step, 0.0) for run in runs)
        for step in (("finding", "starting", "reading", "inference", "total") if scored else ("finding", "total"))
    }
    peak = runs[-1].provenance["peak_memory_mib"]
    lines = [
        "Seconds: " + ", ".join(f"{step} {s:.1f}" for step, s in seconds.items()) + ".",
        f"Peak memory: {peak:,} MiB." if peak is not None else "",
        f"Written to {folder}. {RESEARCH_USE}",
    ]
    console = Console()
    console.print(table)
    console.print("\n".join(filter(None, lines)), highlight=False, soft_wrap=True, markup=False)
