"""measure_core: the second opinion on a core, from the brown of its cells' membranes."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_her2.cores import Core, CoreState
from napari_her2.errors import SlideError
from napari_her2.membrane import flags as flag
from napari_her2.membrane.classes import CellClasses, Thresholds, classify
from napari_her2.membrane.epithelium import EpitheliumParams, is_nucleus, tumour_likeness
from napari_her2.membrane.flags import FlagParams
from napari_her2.membrane.labels import draw_cells
from napari_her2.membrane.nuclei import Nuclei, find_nuclei, halved, nuclear_scale
from napari_her2.membrane.polar import ANGLES, FloatArray
from napari_her2.membrane.rings import RingParams, Rings, measure_rings, true_brown
from napari_her2.membrane.rules import BREAST, RuleSet, low_remark
from napari_her2.slide import RGB, Slide
from napari_her2.stain import Stains, optical_density, tissue_mask, unmix
from napari_her2.stain.vectors import unit

__all__ = ["MeasureParams", "Measurement", "measure_core", "measure_cores", "measure_pixels"]

#: µm per pixel of the measurement: ring values within 10 % of those at 0.25; at 1 the intense class is lost.
MPP = 0.5
_MASK_STEP = 8


@dataclass(frozen=True)
class MeasureParams:
    """How a core is measured and scored.

    Attributes
    ----------
    thresholds : Thresholds
    rules : RuleSet
    epithelium : EpitheliumParams
    rings : RingParams
    flags : FlagParams
    min_tissue : float
        Share of the core's disc under which there is nothing to score: an emptied punch has under 0.01.
    min_cells : int
        Tumour-like cells under which percentages mean little.
    nuclear_od : (float, float)
        Haematoxylin OD of nuclei between which the thresholds were tried.
    threads : int
        Threads that share the work.
    """

    thresholds: Thresholds = field(default_factory=Thresholds)
    rules: RuleSet = BREAST
    epithelium: EpitheliumParams = field(default_factory=EpitheliumParams)
    rings: RingParams = field(default_factory=RingParams)
    flags: FlagParams = field(default_factory=FlagParams)
    min_tissue: float = 0.02
    min_cells: int = 150
    nuclear_od: tuple[float, float] = (0.06, 0.25)
    threads: int = min(2, os.cpu_count() or 1)


_NONE = np.empty(0, np.float32)
_NO_RAYS = np.empty((ANGLES, 0), np.float32)
_NO_RINGS = Rings(_NO_RAYS, _NO_RAYS, _NO_RAYS.astype(bool), _NONE)


@dataclass(frozen=True)
class Measurement:
    """What was measured on a core.

    Attributes
    ----------
    score : str
        "0", "1+", "2+", "3+", or "" where the core is not scorable.
    sentence : str
        The score explained, or why there is none.
    percent : tuple of 4 float
        Percent of tumour-like cells of class 0, 1+, 2+, 3+; NaN where none was counted.
    h_score : float
        1 x % of 1+, 2 x % of 2+, 3 x % of 3+: 0..300. NaN where none was counted.
    membrane_od, completeness : float
        Means over the counted cells: DAB OD of the membrane above the cytoplasm; share of the outline stained, 0..1.
    connectivity : float
        Share of sides with a neighbour that carry an unbroken stretch of brown (three rays, 34 degrees), 0..1.
    nuclear_od : float
        Median haematoxylin OD of the core's nuclei.
    tissue_fraction : float
        Share of the disc that is tissue, 0..1.
    y, x : ndarray of float64, shape (n,)
        Centres of the counted cells in level-0 pixels.
    cells : CellClasses
        Class, intensity and completeness of each.
    rings : Rings
        Their membranes (lengths in µm), for `calibrate` and for drawing.
    nuclei : Nuclei
        All nuclei of the core (µm from `origin`), counted or not.
    counted : ndarray of int, shape (n,)
        Which of `nuclei` are counted.
    flags : tuple of str
        What makes the measurement doubtful.
    remark : str
        HER2-low or ultralow, derived.
    core : Core or None
    origin, pixel : (float, float), float
        Top left corner of what was measured in level-0 pixels, and level-0 pixels per µm.
    shape : (int, int)
        Of the pixels measured, at `MPP`.
    seconds : float
    """

    score: str = ""
    sentence: str = ""
    percent: tuple[float, float, float, float] = (math.nan,) * 4
    h_score: float = math.nan
    membrane_od: float = math.nan
    completeness: float = math.nan
    connectivity: float = math.nan
    nuclear_od: float = math.nan
    tissue_fraction: float = 0.0
    y: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    x: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    cells: CellClasses = field(default_factory=lambda: CellClasses(np.empty(0, np.uint8), _NONE, _NONE))
    rings: Rings = _NO_RINGS
    nuclei: Nuclei | None = None
    counted: npt.NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    flags: tuple[str, ...] = ()
    remark: str = ""
    core: Core | None = None
    origin: tuple[float, float] = (0.0, 0.0)
    pixel: float = 1 / MPP
    shape: tuple[int, int] = (0, 0)
    seconds: float = 0.0

    @property
    def columns(self) -> dict[str, float | str]:
        """The columns of the table of cores that a measurement fills."""
        shares = {f"percent_{k}": p for k, p in enumerate(self.percent)}
        return {
            "h_score": self.h_score,
            **shares,
            "membrane_completeness": self.completeness,
            "measured_score": self.score,
        }

    def label_image(self, *, by_class: bool = True) -> npt.NDArray[np.int32]:
        """Counted cells at `MPP`, from `origin`: 1 + class, or numbers of their own from 1; 0 elsewhere."""
        if self.nuclei is None:
            return np.zeros(self.shape, np.int32)
        counted = self.nuclei[self.counted]
        values = self.cells.cls.astype(np.int32) + 1 if by_class else np.arange(1, len(counted) + 1)
        return draw_cells(counted.y / MPP, counted.x / MPP, self.rings.border / MPP, values, self.shape)


def measure_cores(
    slide: Slide, cores: Iterable[Core], stains: Stains, params: MeasureParams | None = None
) -> Iterator[Measurement]:
    """Measure cores and yield each as soon as it is ready; missing and excluded ones are passed over.

    A core that cannot be read is yielded not scorable, with the reason, and the run goes on.

    Raises
    ------
    PixelSizeError
        If the pixel size of the slide is unknown.
    """
    slide.require_mpp()
    for core in cores:
        if core.state is CoreState.TISSUE:
            try:
                yield measure_core(slide, core, stains, params)
            except SlideError as error:
                yield Measurement(sentence=f"Not scorable: {error}", core=core)


def measure_core(slide: Slide, core: Core, stains: Stains, params: MeasureParams | None = None) -> Measurement:
    """Measure one core of a slide.

    Parameters
    ----------
    slide : Slide
        With a known pixel size.
    core : Core
    stains : Stains
        Of the slide, from `estimate_stains`.
    params : MeasureParams, optional

    Returns
    -------
    Measurement

    Raises
    ------
    PixelSizeError
        If the pixel size of the slide is unknown.
    SlideError
        If the slide cannot be read there.
    """
    start = time.perf_counter()
    zoom = MPP / slide.require_mpp()
    y0, x0, y1, x1 = core.box
    level = slide.level_for(zoom)
    down = slide.downsamples[level]
    block = slide.read(level, round(y0 / down), round(x0 / down), round((y1 - y0) / down), round((x1 - x0) / down))
    size = max(2, round((x1 - x0) / zoom)), max(2, round((y1 - y0) / zoom))
    if (block.shape[1], block.shape[0]) != size:
        factor = zoom / down
        if abs(factor - 2) < 0.01 and (block.shape[1] // 2, block.shape[0] // 2) == size:
            block = np.asarray(Image.fromarray(block).reduce(2))[: size[1], : size[0]]
        else:
            block = np.asarray(Image.fromarray(block).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
    found = measure_pixels(block, stains, params, disc=True)
    pixel = 1 / slide.require_mpp()
    return replace(
        found,
        core=core,
        origin=(float(y0), float(x0)),
        pixel=pixel,
        y=y0 + found.y * MPP * pixel,
        x=x0 + found.x * MPP * pixel,
        seconds=time.perf_counter() - start,
    )


def measure_pixels(
    pixels: RGB,
    stains: Stains,
    params: MeasureParams | None = None,
    *,
    tumour: npt.NDArray[np.bool_] | None = None,
    disc: bool = False,
) -> Measurement:
    """Measure a picture at 0.5 µm per pixel.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (rows, columns, 3)
    stains : Stains
    params : MeasureParams, optional
    tumour : ndarray of bool, shape (rows, columns), optional
        Where tumour is, painted or known from elsewhere: every nucleus in it counts, and none outside.
    disc : bool
        The picture is the square round a core: what lies outside its disc does not count.

    Returns
    -------
    Measurement
        Its `y` and `x` are in pixels of the picture.
    """
    params = params or MeasureParams()
    start = time.perf_counter()
    tissue = tissue_mask(np.ascontiguousarray(pixels[::_MASK_STEP, ::_MASK_STEP]), stains.white)
    within = _disc(tissue.shape) if disc else np.ones(tissue.shape, bool)
    fraction = float((tissue & within).sum() / max(1, within.sum()))
    if fraction < params.min_tissue:
        reason = f"Not scorable: {100 * fraction:.1f} % of the core is tissue ({100 * params.min_tissue:g} % needed)."
        return Measurement(sentence=reason, tissue_fraction=fraction, shape=pixels.shape[:2])
    with ThreadPoolExecutor(params.threads) as pool:
        h, d = _unmix_in_strips(pixels, stains, pool, params.threads)
        h2, d2 = halved(h), halved(d)
        scale = nuclear_scale(h2[::4, ::4], tissue[: h2[::4].shape[0], : h2[:, ::4].shape[1]])
        nuclei = find_nuclei(h2, d2, 2 * MPP, scale, pool)
        nuclei = nuclei[is_nucleus(nuclei, params.epithelium) & _at(tissue & within, nuclei, MPP * _MASK_STEP)]
        chosen = _counted(nuclei, h2, d2, tumour, params)
        rings = measure_rings(nuclei, chosen, true_brown(h, d), MPP, params.rings, pool)
    flags = _flags(pixels, stains, nuclei, chosen, h2, d2, tissue & within, scale, params)
    found = _judge(nuclei, chosen, rings, d2, tissue & within, flags, params)
    return replace(
        found, tissue_fraction=fraction, shape=pixels.shape[:2], seconds=time.perf_counter() - start, pixel=1 / MPP
    )


def _disc(shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    i, j = np.ogrid[: shape[0], : shape[1]]
    return np.asarray(((i + 0.5) / shape[0] - 0.5) ** 2 + ((j + 0.5) / shape[1] - 0.5) ** 2 <= (1.05 / 2) ** 2)


def _unmix_in_strips(
    pixels: RGB, stains: Stains, pool: ThreadPoolExecutor, threads: int
) -> tuple[FloatArray, FloatArray]:
    ends = np.linspace(0, len(pixels), 4 * threads + 1).astype(int)
    h, d = np.empty(pixels.shape[:2], np.float32), np.empty(pixels.shape[:2], np.float32)

    def strip(k: int) -> None:
        rows = slice(ends[k], ends[k + 1])
        h[rows], d[rows] = unmix(pixels[rows], stains)

    list(pool.map(strip, range(len(ends) - 1)))
    return h, d


def _at(mask: npt.NDArray[np.bool_], nuclei: Nuclei, step: float) -> npt.NDArray[np.bool_]:
    i = np.clip((nuclei.y / step).astype(int), 0, mask.shape[0] - 1)
    j = np.clip((nuclei.x / step).astype(int), 0, mask.shape[1] - 1)
    return np.asarray(mask[i, j])


def _counted(
    nuclei: Nuclei, h2: FloatArray, d2: FloatArray, tumour: npt.NDArray[np.bool_] | None, params: MeasureParams
) -> npt.NDArray[np.intp]:
    if tumour is not None:
        return np.flatnonzero(_at(tumour, nuclei, MPP))
    likeness = tumour_likeness(nuclei, h2, d2, 2 * MPP, params.epithelium)
    return np.flatnonzero(likeness > params.epithelium.least)


def _flags(
    pixels: RGB,
    stains: Stains,
    nuclei: Nuclei,
    chosen: npt.NDArray[np.intp],
    h2: FloatArray,
    d2: FloatArray,
    tissue: npt.NDArray[np.bool_],
    scale: float,
    params: MeasureParams,
) -> list[str]:
    """Flags that do not depend on the count; pictures are looked at with 2 µm per pixel."""
    small = np.asarray(Image.fromarray(pixels).reduce(4))
    od = optical_density(small, stains.white)
    rows, columns = od.shape[:2]
    covered = np.repeat(np.repeat(tissue, 2, 0), 2, 1)[:rows, :columns]
    covered = np.pad(covered, ((0, rows - covered.shape[0]), (0, columns - covered.shape[1])))
    brown = d2[::2, ::2][:rows, :columns]
    brown = np.pad(brown, ((0, rows - brown.shape[0]), (0, columns - brown.shape[1])), mode="edge")
    beside = od @ unit(np.cross(stains.hematoxylin, stains.dab)).astype(np.float32)
    step = 4 * MPP
    found = [
        flag.out_of_focus(nuclei, scale, params.flags),
        flag.fold(od, covered, step, params.flags),
        flag.pen(od, beside, step, params.flags),
        flag.bubble(od, step, params.flags),
        flag.background_brown(np.delete(nuclei.brown, chosen), params.flags),
        flag.edge_artefact(brown, covered, step, params.flags),
    ]
    return [f for f in found if f]


def _judge(
    nuclei: Nuclei,
    chosen: npt.NDArray[np.intp],
    rings: Rings,
    d2: FloatArray,
    tissue: npt.NDArray[np.bool_],
    flags: list[str],
    params: MeasureParams,
) -> Measurement:
    """Classes, percentages, score and sentence."""
    cells = classify(rings, _for_rules(params))
    n = len(chosen)
    nuclear = float(np.median(nuclei.blue)) if len(nuclei) else math.nan
    lowest, highest = params.nuclear_od
    if len(nuclei) and not lowest <= nuclear <= highest:
        flags.append(
            f"Nuclear haematoxylin {nuclear:.2f} OD, outside {lowest:g} to {highest:g}: calibrate the thresholds."
        )
    if not n:
        return Measurement(sentence=_too_few(n, d2, tissue, params), nuclear_od=nuclear, nuclei=nuclei, flags=(*flags,))
    counts = np.bincount(cells.cls, minlength=4)
    shares = 100 * counts / n
    percent = (float(shares[0]), float(shares[1]), float(shares[2]), float(shares[3]))
    if n < params.min_cells:
        score, sentence = "", _too_few(n, d2, tissue, params)
        flags.append(f"Little epithelium: {n} tumour-like cells.")
    else:
        score, sentence = params.rules.score((int(counts[0]), int(counts[1]), int(counts[2]), int(counts[3])))
    return Measurement(
        score=score,
        sentence=sentence,
        percent=percent,
        h_score=float(shares @ np.arange(4)),
        membrane_od=float(cells.intensity.mean()),
        completeness=float(cells.completeness.mean()),
        connectivity=_connectivity(rings, params.thresholds.faint),
        nuclear_od=nuclear,
        y=(nuclei.y[chosen] / MPP).astype(np.float64),
        x=(nuclei.x[chosen] / MPP).astype(np.float64),
        cells=cells,
        rings=rings,
        nuclei=nuclei,
        counted=chosen,
        flags=tuple(flags),
        remark=low_remark(score, percent) if not params.rules.basolateral else "",
    )


def _for_rules(params: MeasureParams) -> Thresholds:
    """Where basolateral staining counts, a membrane stained over a third of the outline is as good as complete."""
    t = params.thresholds
    return replace(t, complete=max(t.partial, 0.33)) if params.rules.basolateral else t


def _too_few(n: int, d2: FloatArray, tissue: npt.NDArray[np.bool_], params: MeasureParams) -> str:
    """Why there is no score; strong brown hides its nuclei and is not negative."""
    brown = d2[::4, ::4][: tissue.shape[0], : tissue.shape[1]]
    there = tissue[: brown.shape[0], : brown.shape[1]]
    strong = float((brown[there] > params.thresholds.intense).mean()) if there.any() else 0.0
    if strong > 0.1:
        return (
            f"Not scorable: strong brown on {100 * strong:.0f} % of the tissue, and only {n} nuclei can be told in it; "
            "this is not a negative core."
        )
    return f"Not scorable: {n} tumour-like cells ({params.min_cells} needed)."


def _connectivity(rings: Rings, faint: float) -> float:
    """Share of sides with a neighbour whose membrane is stained, joined over at least three rays in a row."""
    on = (rings.peak >= faint) & ~rings.free
    run = on & (
        np.roll(on, 1, 0) & np.roll(on, -1, 0)
        | np.roll(on, 1, 0) & np.roll(on, 2, 0)
        | np.roll(on, -1, 0) & np.roll(on, -2, 0)
    )
    sides = np.count_nonzero(~rings.free)
    return float(np.count_nonzero(run) / sides) if sides else 0.0
