"""score_cores: the scores of cores, one by one, as they are ready."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from napari_her2 import engine as engine_module
from napari_her2.ahead import in_two_steps
from napari_her2.cores import Core, CoreState
from napari_her2.engine import Engine
from napari_her2.errors import HER2Error, ModelError
from napari_her2.familiar import UNFAMILIAR, familiar_flag
from napari_her2.models import Calibration, ScoringModel
from napari_her2.pooling import Pooling, place_grades, pool, score_probabilities
from napari_her2.pyramid import PyramidSample, sample
from napari_her2.scores import SCORES, CoreScore, Places
from napari_her2.slide import RGB, Slide
from napari_her2.stain import Stains, normaliser, on_white, white_point
from napari_her2.stain_range import range_flag, slide_staining

__all__ = [
    "BETWEEN",
    "MIN_TISSUE",
    "decided",
    "judge_places",
    "score_cores",
    "slide_flags",
]

#: How the reason begins that hangs on the cut points.
BETWEEN = "Between"
#: Share of a core's disc under which there is nothing to score. On one real slide, at a tissue OD of 0.05, an emptied
#: punch had 0.009 and the palest score-0 core 0.59.
MIN_TISSUE = 0.02
_NO_PATCH = "Not scorable: no patch shows tissue of this core."


def score_cores(
    slide: Slide,
    cores: Iterable[Core],
    model: ScoringModel,
    *,
    engine: Engine | None = None,
    device: str = "auto",
    seed: int = 0,
    normalise: Stains | None = None,
) -> Iterator[CoreScore]:
    """Score cores and yield each as soon as it is ready; meanwhile the network judges the next, and one more is read.

    A core that is missing or excluded is passed over. A core that cannot be read or judged is yielded with no score
    and the reason, and the run goes on. Closing the generator cancels what has not begun.

    Parameters
    ----------
    slide : Slide
        With a known pixel size.
    cores : iterable of Core
    model : ScoringModel
    engine : Engine, optional
        Runs the network; opened for `device` when not given.
    device : str
        See `engine.open_engine`.
    seed : int
        Another seed draws other patches. Order, batch size and device change nothing.
    normalise : Stains, optional
        Of the slide: the network then sees the patches in the colours of `ScoringModel.reference_stains`. Glass is
        found on the slide either way, and flags are judged on the colours as they are.

    Yields
    ------
    CoreScore

    Raises
    ------
    PixelSizeError
        If the pixel size of the slide is unknown.
    ModelError
        If the model cannot run here, or its cut points were fitted to cores that were seen with the other setting of
        `normalise`.
    """
    slide.require_mpp()
    if why := model.why_not_scored(normalise is not None):
        raise ModelError(why)
    todo = [core for core in cores if core.state is CoreState.TISSUE]
    if not todo:
        return
    run = _Run(slide, model, device, seed, engine, normalise)
    with closing(in_two_steps(todo, run.read, run.judge)) as judged:
        for core, answer in zip(todo, judged, strict=True):
            start = time.perf_counter()
            scored = run.score(core, answer)
            scored.seconds.update(read=answer.read.seconds, network=answer.seconds + time.perf_counter() - start)
            yield scored


@dataclass(frozen=True)
class _Read:
    """A core as it was read; without patches where there is nothing to judge, for the reason given."""

    patches: PyramidSample | None
    seconds: float
    flag: str = ""
    reason: str = ""
    failed: bool = False


@dataclass(frozen=True)
class _Judged:
    """A core that the network has seen, but for its last patches: `answer` waits for those."""

    read: _Read
    answer: Callable[[], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] | None
    seconds: float


@dataclass
class _Run:
    """What is done with each core of a slide; `read` and `judge` in threads of their own."""

    slide: Slide
    model: ScoringModel
    device: str
    seed: int
    engine: Engine | None
    normalise: Stains | None
    #: Pixels of cores that are done, for the next.
    spare: list[RGB] = field(default_factory=list)

    @cached_property
    def white(self) -> npt.NDArray[np.float64]:
        return white_point(self.slide.overview()[0])

    @cached_property
    def turned(self) -> Callable[[RGB], RGB] | None:
        if self.normalise is None:
            return None
        return normaliser(on_white(self.normalise), self.model.reference_stains)

    def read(self, core: Core) -> _Read:
        glass, start = self.white, time.perf_counter()
        try:
            out = self.spare.pop() if self.spare else None
            patches = sample(self.slide, core, self.model.spec, white=glass, seed=self.seed, out=out)
        except HER2Error as error:
            return _Read(None, time.perf_counter() - start, reason=str(error), failed=True)
        if patches.tissue_fraction < MIN_TISSUE:
            share, needed = 100 * patches.tissue_fraction, 100 * MIN_TISSUE
            why = f"Not scorable: {share:.1f} % of the core is tissue ({needed:g} % needed)."
            return _Read(None, time.perf_counter() - start, reason=why)
        if not len(patches.pixels):
            return _Read(None, time.perf_counter() - start, reason=_NO_PATCH)
        fine = np.count_nonzero(patches.level == 0)
        flag = familiar_flag(patches.pixels[:fine], self.model.familiar)
        if self.turned is not None:
            for patch in patches.pixels:
                patch[...] = self.turned(patch)
        return _Read(patches, time.perf_counter() - start, flag)

    def judge(self, reading: Future[_Read]) -> _Judged:
        # the first core is being read while the engine compiles
        self.engine = self.engine or engine_module.open_engine(self.model, self.device)
        read, start = reading.result(), time.perf_counter()
        answer = None if read.patches is None else engine_module.start(self.engine, read.patches.pixels)
        return _Judged(read, answer, time.perf_counter() - start)

    def score(self, core: Core, judged: _Judged) -> CoreScore:
        read = judged.read
        if read.patches is None or judged.answer is None:
            return CoreScore(core, failed=read.failed, reason=read.reason)
        shares, _ = judged.answer()
        self.spare.append(read.patches.pixels)
        if self.model.stacked:
            scored = _of_stack(core, shares, self.model)
        else:
            scored = _of_places(self.slide, core, read.patches, shares, self.model)
        if not scored.score:
            return scored
        batch = str(self.model.recalibration.get("batch", ""))
        flags, normalised = (read.flag,) if read.flag else (), self.normalise is not None
        return replace(scored, batch=batch, flags=flags, normalised=normalised)


def slide_flags(
    slide: Slide, scores: Sequence[CoreScore], model: ScoringModel, stains: Stains | None = None
) -> tuple[str, ...]:
    """What makes all the scores of a slide doubtful, a sentence each; to be asked once, after its cores.

    Parameters
    ----------
    slide : Slide
    scores : sequence of CoreScore
        From `score_cores`.
    model : ScoringModel
    stains : Stains, optional
        Of the slide, where they were estimated already or drawn.

    Raises
    ------
    SlideError
        If the slide cannot be read.
    """
    flags = []
    scored = [score for score in scores if score.score]
    strange = sum(any(flag.startswith(UNFAMILIAR) for flag in score.flags) for score in scored)
    if 2 * strange > len(scored):
        flags.append(f"{UNFAMILIAR}: {strange} of {len(scored)} cores are unlike anything the model has learned from.")
    outside = range_flag(slide_staining(slide, stains), model.stain_range) if model.stain_range else ""
    return (*flags, outside) if outside else tuple(flags)


def _of_places(
    slide: Slide, core: Core, patches: PyramidSample, shares: npt.NDArray[np.float32], model: ScoringModel
) -> CoreScore:
    places, patch, pooling = judge_places(patches, shares, model.calibration)
    if not len(places):
        return CoreScore(core, reason=_NO_PATCH)
    value, probabilities = pool(places, model.calibration)
    # full-resolution patches overlap: their mean tumour share times the tissue is the area, not their sum
    fine = patches.level[patch] == 0
    chosen = fine if fine.any() else np.ones_like(fine)
    tissue_mm2 = patches.tissue.sum() * (patches.tissue_step * slide.require_mpp() / 1000) ** 2
    tumour_mm2 = float(places.tumour[chosen].mean()) * tissue_mm2
    reason = ""
    if tumour_mm2 < model.calibration.min_tumour_mm2:
        reason = f"Little tumour: about {tumour_mm2:.3f} mm² ({model.calibration.min_tumour_mm2:g} mm² needed)."
    return replace(
        decided(core, value, probabilities, model, reason), spread=pooling.spread(patch, patches.level), places=places
    )


def _of_stack(core: Core, likely: npt.NDArray[np.float32], model: ScoringModel) -> CoreScore:
    """A core that the network judged as a whole; its value is the expected score."""
    probabilities = np.asarray(likely[0], np.float64)
    value = float(probabilities @ np.arange(4))
    if model.recalibration:  # cut points that were refitted hold for the value
        probabilities = score_probabilities(value, model.calibration)
    return decided(core, value, probabilities, model, "")


def decided(
    core: Core, value: float, probabilities: npt.NDArray[np.float64], model: ScoringModel, reason: str
) -> CoreScore:
    """The likeliest score, indeterminate for the `reason` given or because another is nearly as likely."""
    best = int(np.argmax(probabilities))
    if not reason and probabilities[best] < model.indeterminate_below:
        other = SCORES[int(np.argsort(probabilities)[-2])]
        reason = f"{BETWEEN} {SCORES[best]} and {other}: confidence {probabilities[best]:.2f}."
    p0, p1, p2, p3 = (float(p) for p in probabilities)
    return CoreScore(core, SCORES[best], (p0, p1, p2, p3), value=value, indeterminate=bool(reason), reason=reason)


def judge_places(
    patches: PyramidSample, shares: npt.NDArray[np.float32], calibration: Calibration, *, margin: int = 0
) -> tuple[Places, npt.NDArray[np.intp], Pooling]:
    """Turn the network's answer into places on the slide, those on the core's own tissue only.

    Parameters
    ----------
    patches : PyramidSample
        n patches.
    shares : ndarray of float32, shape (n, levels, 5, rows, columns)
        From `Engine.run`.
    calibration : Calibration
    margin : int
        Places along the border of each patch to leave out.

    Returns
    -------
    places : Places
    patch : ndarray of int, shape (len(places),)
        Which patch each place lies on.
    pooling : Pooling
        How they make up the core's value.
    """
    n, rows = len(patches.pixels), shares.shape[3]
    own = shares[np.arange(n), patches.level]  # (n, 5, rows, columns): the head of the patch's own magnification
    size = patches.size[:, None] / rows
    centre = (np.arange(rows) + 0.5) * size
    y = np.broadcast_to((patches.y[:, None] + centre)[:, :, None], (n, rows, rows)).reshape(-1)
    x = np.broadcast_to((patches.x[:, None] + centre)[:, None, :], (n, rows, rows)).reshape(-1)
    inner = np.zeros((n, rows, rows), bool)
    inner[:, margin : rows - margin, margin : rows - margin] = True
    keep = patches.in_tissue(y, x) & inner.reshape(-1)
    patch = np.repeat(np.arange(n), rows * rows)[keep]
    tumour = 1.0 - own[:, 0].reshape(-1)[keep]
    pooling = Pooling(place_grades(own)[keep], tumour, patches.level[patch], calibration)
    places = Places(y[keep], x[keep], size[patch, 0], pooling.grade, tumour, pooling.weight)
    return places, patch, pooling
