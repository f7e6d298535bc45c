"""measure_core: the second opinion on a core, from the brown of its cells' membranes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_her2.cores import Core, CoreState
from napari_her2.errors import SlideError
from napari_her2.finders.tiles import outlines_by
from napari_her2.membrane import flags as flag
from napari_her2.membrane.classes import classify
from napari_her2.membrane.epithelium import is_nucleus, tumour_likeness
from napari_her2.membrane.measurement import MPP, Measurement, MeasureParams
from napari_her2.membrane.nuclei import Nuclei, find_nuclei, halved, nuclear_scale, nuclei_of_outlines
from napari_her2.membrane.polar import FloatArray
from napari_her2.membrane.rings import Rings, measure_rings, true_brown
from napari_her2.membrane.rules import low_remark
from napari_her2.membrane.tumour import tumour_of_places
from napari_her2.regions import Region, region_masks, regions_on
from napari_her2.scores import Places
from napari_her2.slide import RGB, Slide
from napari_her2.square import MASK_STEP, in_disc, read_square
from napari_her2.stain import Stains, optical_density, tissue_mask, unmix
from napari_her2.stain.vectors import unit

__all__ = ["MPP", "MeasureParams", "Measurement", "measure_core", "measure_cores", "measure_pixels"]

#: Share of the outline, palest first, at which it is compared with the cytoplasm.
_OUTLINE = 0.6


def measure_cores(
    slide: Slide,
    cores: Iterable[Core],
    stains: Stains,
    params: MeasureParams | None = None,
    *,
    places: Mapping[str, Places] | None = None,
    regions: Sequence[Region] = (),
) -> Iterator[Measurement]:
    """Measure cores and yield each as soon as it is ready; missing and excluded ones are passed over.

    A core that cannot be read is yielded not scorable, with the reason, and the run goes on. `places` are those of
    `CoreScore` by core name; `regions` may be all those of the slide: see `measure_core`.

    Raises
    ------
    PixelSizeError
        If the pixel size of the slide is unknown.
    """
    slide.require_mpp()
    for core in cores:
        if core.state is CoreState.TISSUE:
            try:
                at = (places or {}).get(core.name)
                yield measure_core(slide, core, stains, params, places=at, regions=regions)
            except SlideError as error:
                yield Measurement(sentence=f"Not scorable: {error}", core=core, failed=True)


def measure_core(
    slide: Slide,
    core: Core,
    stains: Stains,
    params: MeasureParams | None = None,
    *,
    places: Places | None = None,
    regions: Sequence[Region] = (),
) -> Measurement:
    """Measure one core of a slide.

    Parameters
    ----------
    slide : Slide
        With a known pixel size.
    core : Core
    stains : Stains
        Of the slide, from `estimate_stains`.
    params : MeasureParams, optional
    places : Places, optional
        What a network said of the core (`CoreScore.places`): of the nuclei in its tumour those count that are not
        unlike a tumour's. Without it, or with an empty one, likeness alone decides.
    regions : sequence of Region
        Drawn by the user; those that lie on the core stand above `places` and likeness, see `Region`.

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
    y0, x0, _, _ = core.box
    block = _read_block(slide, core)
    pixel = 1 / slide.require_mpp()
    drawn = regions_on(core, regions)
    tumour, without = region_masks(drawn, core.box, (-(-block.shape[0] // MASK_STEP), -(-block.shape[1] // MASK_STEP)))
    seen = tumour_of_places(places, core.box, MASK_STEP * MPP * pixel) if places else None
    found = measure_pixels(block, stains, params, tumour=tumour, seen=seen, without=without, disc=True)
    return replace(
        found,
        core=core,
        regions=drawn,
        origin=(float(y0), float(x0)),
        pixel=pixel,
        y=y0 + found.y * MPP * pixel,
        x=x0 + found.x * MPP * pixel,
        seconds=time.perf_counter() - start,
    )


def _read_block(slide: Slide, core: Core) -> RGB:
    """The square under a core at `MPP`."""
    zoom = MPP / slide.require_mpp()
    block = read_square(slide, core, zoom)
    y0, x0, y1, x1 = core.box
    size = max(2, round((x1 - x0) / zoom)), max(2, round((y1 - y0) / zoom))
    if (block.shape[1], block.shape[0]) == size:
        return block
    halved_size = block.shape[1] // 2, block.shape[0] // 2
    if halved_size == size and abs(zoom / slide.downsamples[slide.level_for(zoom)] - 2) < 0.01:
        return np.asarray(Image.fromarray(block).reduce(2))[: size[1], : size[0]]
    return np.asarray(Image.fromarray(block).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))


def measure_pixels(
    pixels: RGB,
    stains: Stains,
    params: MeasureParams | None = None,
    *,
    tumour: npt.NDArray[np.bool_] | None = None,
    seen: npt.NDArray[np.bool_] | None = None,
    without: npt.NDArray[np.bool_] | None = None,
    disc: bool = False,
) -> Measurement:
    """Measure a picture at 0.5 µm per pixel.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (rows, columns, 3)
    stains : Stains
    params : MeasureParams, optional
    tumour : ndarray of bool, optional
        Where tumour is, painted or known from elsewhere: every nucleus in it counts, and none outside. Shape
        (rows, columns), or any coarser one over the same picture.
    seen : ndarray of bool, optional
        Where a network saw tumour, of any shape, like `tumour`: the nuclei in it count that are not unlike a tumour's,
        and none outside. Nothing where `tumour` is given.
    without : ndarray of bool, optional
        What is left out: no nucleus in it counts, and no fold or pen in it is flagged. Of any shape, like `tumour`.
    disc : bool
        The picture is the square round a core: what lies outside its disc does not count.

    Returns
    -------
    Measurement
        Its `y` and `x` are in pixels of the picture.

    Raises
    ------
    ModelError
        If `params.finder` fails.
    """
    params = params or MeasureParams()
    start = time.perf_counter()
    tissue = tissue_mask(np.ascontiguousarray(pixels[::MASK_STEP, ::MASK_STEP]), stains.white)
    within = in_disc(tissue.shape) if disc else np.ones(tissue.shape, bool)
    fraction = float((tissue & within).sum() / max(1, within.sum()))
    if fraction < params.min_tissue:
        reason = f"Not scorable: {100 * fraction:.1f} % of the core is tissue ({100 * params.min_tissue:g} % needed)."
        return Measurement(sentence=reason, tissue_fraction=fraction, shape=pixels.shape[:2])
    if without is not None:
        within &= ~_resized(without, within.shape)
    with ThreadPoolExecutor(params.threads) as pool:
        h, d = _unmix_in_strips(pixels, stains, pool, params.threads)
        h2, d2 = halved(h), halved(d)
        scale = nuclear_scale(h2[::4, ::4], tissue[: h2[::4].shape[0], : h2[:, ::4].shape[1]])
        if params.finder is None:
            nuclei = find_nuclei(h2, d2, 2 * MPP, scale, pool)
        else:
            outlines = outlines_by(params.finder, pixels, h, tissue & within)
            nuclei = nuclei_of_outlines(*outlines, h2, d2, 2 * MPP, scale)
        nuclei = nuclei[is_nucleus(nuclei, params.epithelium) & _at(tissue & within, nuclei, MPP * MASK_STEP)]
        chosen = _counted(nuclei, h2, d2, tumour, seen, len(pixels), params)
        rings = measure_rings(nuclei, chosen, true_brown(h, d), MPP, params.rings, pool)
    flags = _flags(pixels, stains, nuclei, chosen, h2, d2, tissue & within, without, scale, params)
    found = _judge(nuclei, chosen, rings, d2, tissue & within, flags, params)
    return replace(
        found, tissue_fraction=fraction, shape=pixels.shape[:2], seconds=time.perf_counter() - start, pixel=1 / MPP
    )


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


def _resized(mask: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """A mask over the same picture in other pixels."""
    rows, columns = (np.arange(n) * m // n for n, m in zip(shape, mask.shape, strict=True))
    return mask[np.ix_(rows, columns)]


def _at(mask: npt.NDArray[np.bool_], nuclei: Nuclei, step: float) -> npt.NDArray[np.bool_]:
    i = np.clip((nuclei.y / step).astype(int), 0, mask.shape[0] - 1)
    j = np.clip((nuclei.x / step).astype(int), 0, mask.shape[1] - 1)
    return np.asarray(mask[i, j])


def _counted(
    nuclei: Nuclei,
    h2: FloatArray,
    d2: FloatArray,
    tumour: npt.NDArray[np.bool_] | None,
    seen: npt.NDArray[np.bool_] | None,
    rows: int,
    params: MeasureParams,
) -> npt.NDArray[np.intp]:
    """Indices of the nuclei that count; `rows` are those of the picture."""
    if tumour is not None:
        return np.flatnonzero(_at(tumour, nuclei, MPP * rows / len(tumour)))
    likeness = tumour_likeness(nuclei, h2, d2, 2 * MPP)
    if seen is None:
        return np.flatnonzero(likeness > params.epithelium.least)
    there = _at(seen, nuclei, MPP * rows / len(seen))
    return np.flatnonzero(there & (likeness > params.epithelium.least_seen))


def _flags(
    pixels: RGB,
    stains: Stains,
    nuclei: Nuclei,
    chosen: npt.NDArray[np.intp],
    h2: FloatArray,
    d2: FloatArray,
    tissue: npt.NDArray[np.bool_],
    without: npt.NDArray[np.bool_] | None,
    scale: float,
    params: MeasureParams,
) -> list[str]:
    """Flags that do not depend on the count; pictures are looked at with 2 µm per pixel."""
    small = np.array(Image.fromarray(pixels).reduce(4))
    if without is not None:
        small[_resized(without, small.shape[:2])] = np.rint(stains.white)
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
    cells = classify(rings, params.thresholds.for_rules(params.rules))
    n = len(chosen)
    nuclear = float(np.median(nuclei.blue)) if len(nuclei) else math.nan
    lowest, highest = params.nuclear_od
    if len(nuclei) and not lowest <= nuclear <= highest:
        flags.append(
            f"Nuclear haematoxylin {nuclear:.2f} OD, outside {lowest:g} to {highest:g}: calibrate the thresholds."
        )
    if not n:
        return Measurement(sentence=_too_few(n, d2, tissue, params), nuclear_od=nuclear, nuclei=nuclei, flags=(*flags,))
    strong = cells.cls >= 2
    outline = np.quantile(rings.peak[:, strong], _OUTLINE, axis=0) if strong.any() else rings.cytoplasm[strong]
    if told := flag.brown_cytoplasm(rings.cytoplasm[strong], outline, params.flags):
        flags.append(told)
    shares = 100 * np.array(cells.counts) / n
    percent = (float(shares[0]), float(shares[1]), float(shares[2]), float(shares[3]))
    if n < params.min_cells:
        score, sentence = "", _too_few(n, d2, tissue, params)
        flags.append(f"Little epithelium: {n} tumour-like cells.")
    else:
        score, sentence = params.rules.score(cells.counts)
    return Measurement(
        score=score,
        sentence=sentence,
        percent=percent,
        h_score=float(shares @ np.arange(4)),
        membrane_od=float(cells.intensity.mean()),
        completeness=float(cells.completeness.mean()),
        connectivity=_connectivity(rings, params.thresholds.faint),
        nuclear_od=nuclear,
        count=n,
        y=(nuclei.y[chosen] / MPP).astype(np.float64),
        x=(nuclei.x[chosen] / MPP).astype(np.float64),
        cells=cells,
        rings=rings,
        nuclei=nuclei,
        counted=chosen,
        flags=tuple(flags),
        remark=low_remark(score, percent) if not params.rules.basolateral else "",
    )


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
