"""Tissue that knows its truth: tiles and cores with the amount of each stain and the class of every tumour cell."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_her2.training.architecture import ARCHITECTURES, COARSE_UM, FAR, Layout, make_layout, mixed_layout
from napari_her2.training.artefacts import IGNORE, UNSTAINED, add_artefacts
from napari_her2.training.cells import membrane, paint_nuclei, tumour_nuclei
from napari_her2.training.fields import CellMap, FloatImage, cell_map, pixel_grid, smooth_noise, upsample
from napari_her2.training.staining import CellStain, Laboratory, cell_levels, draw_percent, draw_stain, score_of_percent
from napari_her2.training.stroma import Canvas, paint_stroma

__all__ = ["CLASSES", "IGNORE", "UNSTAINED", "Tissue", "make_core", "make_tile"]

#: What the values 0 to 4 of a class map mean; 254 (`UNSTAINED`) is "one of the first two", 255 (`IGNORE`) "not known".
CLASSES = ("not tumour", "0", "1+", "2+", "3+")

#: Distance of tumour cells (µm) that only blind cores have.
BLIND_CELL_UM = (10.5, 12.5)
#: Class maps are even over places of about this size (µm).
PLACE_UM = 8.0


@dataclass(frozen=True)
class Tissue:
    """One tile or one core.

    Attributes
    ----------
    hematoxylin, dab : ndarray of float32, shape (y, x)
        Amount of each stain: decadic optical density along its unit vector.
    classes : ndarray of uint8, shape (y, x)
        Index into `CLASSES` of the tumour cell at each pixel, 0 where there is none; `UNSTAINED` or `IGNORE` where
        the truth is known in part or not at all.
    mpp : float
        Micrometres per pixel.
    percent : tuple of 4 float
        Percent of tumour cells of class 0, 1+, 2+ and 3+; empty where cells were not counted.
    lab : Laboratory
        Whose staining it is.
    """

    hematoxylin: FloatImage
    dab: FloatImage
    classes: npt.NDArray[np.uint8]
    mpp: float
    percent: tuple[float, ...] = ()
    lab: Laboratory = field(default_factory=Laboratory)

    @property
    def score(self) -> int | None:
        """Score that follows from `percent` by definition, 0 to 3; None where cells were not counted."""
        return score_of_percent(self.percent) if self.percent else None


def make_tile(
    rng: np.random.Generator,
    *,
    size: int = 512,
    mpp: float = 0.5,
    score: int | None = None,
    lab: Laboratory | None = None,
) -> Tissue:
    """Draw a square of tissue.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Side in pixels.
    mpp : float
        Micrometres per pixel, 0.2 to 1.
    score : int, optional
        0 to 3; drawn when not given, and then one tile in six has no tumour.
    lab : Laboratory, optional
        Whose staining; any laboratory's when not given.

    Raises
    ------
    ValueError
        If `score` is not 0 to 3.
    """
    kind = str(rng.choice(ARCHITECTURES, p=(0.27, 0.1, 0.17, 0.16, 0.07, 0.1, 0.07, 0.06)))
    if score is None:
        score = int(rng.integers(0, 4))
        kind = "stroma" if rng.random() < 0.16 else kind
    inside = _glass_edge(rng, size, mpp) if rng.random() < 0.22 else None
    return _make(rng, (size, size), mpp, kind, draw_percent(rng, score), inside, lab)


def make_core(
    rng: np.random.Generator,
    *,
    diameter_um: float = 600,
    mpp: float = 0.5,
    score: int,
    damaged: bool = False,
    percent: tuple[float, float, float, float] | None = None,
    lab: Laboratory | None = None,
    blind: bool = False,
) -> Tissue:
    """Draw a punched core on glass, whose score is `score` by the definition.

    Parameters
    ----------
    rng : numpy.random.Generator
    diameter_um : float
        Diameter in µm; the picture is a tenth wider.
    mpp : float
        Micrometres per pixel.
    score : int
        0 to 3.
    damaged : bool
        Torn: about half of the disc is left, as a crescent.
    percent : tuple of 4 float, optional
        Percent of tumour cells of each class, for a core of one's own making; `score` then stands back.
    lab : Laboratory, optional
        Whose staining; any laboratory's when not given.
    blind : bool
        Cells of a size, and staining of a laboratory, that nothing to train on has.

    Raises
    ------
    ValueError
        If `score` is not 0 to 3.
    """
    side = int(np.ceil(1.1 * diameter_um / mpp))
    kind = str(rng.choice(ARCHITECTURES[:7], p=(0.3, 0.12, 0.2, 0.14, 0.07, 0.1, 0.07)))
    inside = _disc(rng, side, mpp, diameter_um, damaged)
    lab = lab or Laboratory.random(rng, blind=blind)
    return _make(rng, (side, side), mpp, kind, percent or draw_percent(rng, score), inside, lab, blind)


def _make(
    rng: np.random.Generator,
    shape: tuple[int, int],
    mpp: float,
    kind: str,
    percent: tuple[float, float, float, float],
    inside: FloatImage | None,
    lab: Laboratory | None,
    blind: bool = False,
) -> Tissue:
    """Geometry, then stain, then mishaps; `inside` is the distance into tissue (µm), None for no glass."""
    lab = lab or Laboratory.random(rng)
    cell_um = _cell_um(rng, blind)
    block = max(1, round(COARSE_UM / mpp))
    coarse = (-(-shape[0] // block), -(-shape[1] // block))
    scale = block * mpp / COARSE_UM
    if kind != "stroma" and rng.random() < 0.35:
        layout = mixed_layout(rng, coarse, (kind, str(rng.choice(ARCHITECTURES))), cell_um / scale).scaled(scale)
    else:
        layout = make_layout(rng, coarse, kind, cell_um / scale).scaled(scale)
    canvas = _canvas(rng, shape, mpp, block)
    tissue = np.ones(shape, bool) if inside is None else inside > 0
    epithelium, basal, apical = _epithelium(rng, canvas, layout, tissue)
    levels, counted = np.zeros(len(layout.points)), _seen(layout.points, epithelium, mpp)
    if counted.any():
        at = np.clip((layout.points / canvas.coarse_um).astype(int), 0, np.array(coarse) - 1)
        regional = smooth_noise(rng, coarse, rng.uniform(15, 60) / COARSE_UM)[at[:, 0], at[:, 1]]
        levels[counted] = cell_levels(rng, percent, regional[counted].astype(float), rng.uniform(0.2, 0.9))
    stain = draw_stain(rng, levels, layout.columnar, lab)
    paint_stroma(rng, canvas, layout, tissue & ~epithelium & (apical > 0), stain.blue, stain.background, lab.dirt)
    _lumen_content(rng, canvas, layout, tissue & (apical <= 0), stain, lab.dirt)
    classes = np.zeros(shape, np.uint8)
    if epithelium.any() and counted.any():
        power = rng.uniform(0, 0.10) * cell_um**2 * rng.standard_normal(len(layout.points))
        cells = cell_map(layout.points, power.astype(np.float32), epithelium, canvas.y, canvas.x, block)
        _paint_tumour(rng, canvas, layout, cells, stain, cell_um, basal, apical)
        classes.ravel()[cells.pixels] = 1 + levels[cells.first].astype(np.uint8)
        classes = _even(classes, mpp)
    classes = add_artefacts(
        rng, canvas, np.full(shape, FAR, np.float32) if inside is None else inside, classes, lab.dirt
    )
    if inside is not None:
        fade = np.clip(inside / 1.5, 0, 1).astype(np.float32)
        canvas.hematoxylin *= fade
        canvas.dab *= fade
    count = np.bincount(levels[counted].astype(int), minlength=4)
    shares = tuple(float(c) for c in 100 * count / count.sum()) if counted.any() else ()
    return Tissue(np.maximum(canvas.hematoxylin, 0), np.maximum(canvas.dab, 0), classes, mpp, shares, lab)


def _cell_um(rng: np.random.Generator, blind: bool) -> float:
    """Typical distance of tumour cells in µm."""
    while True:
        size = float(rng.uniform(7.5, 16))
        if (BLIND_CELL_UM[0] < size < BLIND_CELL_UM[1]) == blind:
            return size


def _canvas(rng: np.random.Generator, shape: tuple[int, int], mpp: float, block: int) -> Canvas:
    y, x = pixel_grid(shape, mpp)
    fine = smooth_noise(rng, shape, 0.55 / mpp)
    ragged = smooth_noise(rng, shape, 2.2 / mpp)
    bend, fray = rng.uniform(0.6, 2.2), np.float32(rng.uniform(0.25, 0.6))
    y = y + np.float32(bend) * smooth_noise(rng, shape, 7 / mpp) + fray * ragged
    x = x + np.float32(bend) * smooth_noise(rng, shape, 7 / mpp) + fray * smooth_noise(rng, shape, 2.2 / mpp)
    return Canvas(mpp, block, y, x, fine, ragged, np.zeros(shape, np.float32), np.zeros(shape, np.float32))


def _epithelium(
    rng: np.random.Generator, canvas: Canvas, layout: Layout, tissue: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.bool_], FloatImage, FloatImage]:
    """Pixels of tumour cells; distance to the stroma; distance to the lumen (0 and less inside it), in µm."""
    shape = canvas.shape
    basal = upsample(np.clip(layout.depth, -80, 80), shape, canvas.block) + 0.5 * canvas.ragged
    apical = -upsample(np.clip(layout.lumen, -80, 80), shape, canvas.block) + 0.6 * canvas.ragged
    inner = tissue & (basal > 0)
    epithelium = inner & (apical > 0)
    apical = np.where(inner, apical, np.float32(FAR)).astype(np.float32)
    if rng.random() < 0.3:  # vacuoles, and goblets of mucus
        holes = smooth_noise(rng, shape, rng.uniform(1.5, 3.5) / canvas.mpp) > rng.uniform(2.0, 3.0)
        apical = np.where(holes & epithelium & (basal > 2), np.float32(-0.1), apical)
        epithelium = epithelium & (apical > 0)
    return epithelium, basal, apical


def _seen(points: npt.NDArray[np.float64], epithelium: npt.NDArray[np.bool_], mpp: float) -> npt.NDArray[np.bool_]:
    """Which cells have their centre in the picture's epithelium."""
    at = np.floor(points / mpp).astype(int)
    within = ((at >= 0) & (at < np.array(epithelium.shape))).all(axis=1)
    at = np.clip(at, 0, np.array(epithelium.shape) - 1)
    seen: npt.NDArray[np.bool_] = within & epithelium[at[:, 0], at[:, 1]]
    return seen


def _paint_tumour(
    rng: np.random.Generator,
    canvas: Canvas,
    layout: Layout,
    cells: CellMap,
    stain: CellStain,
    cell_um: float,
    basal: FloatImage,
    apical: FloatImage,
) -> None:
    p = cells.pixels
    fine, ragged = canvas.fine.ravel()[p], canvas.ragged.ravel()[p]
    nuclei = tumour_nuclei(rng, layout.nuclei, layout.axis, cell_um)
    blue, cover = paint_nuclei(cells, nuclei, canvas.y.ravel()[p], canvas.x.ravel()[p], fine, ragged, moulded=True)
    each = np.exp(rng.normal(0, 0.18, len(layout.points))).astype(np.float32)
    cloud = smooth_noise(rng, canvas.shape, 3.0 / canvas.mpp).ravel()[p]
    pale = rng.uniform(0.10, 0.42) * each[cells.first] * (1 + 0.24 * fine + 0.18 * cloud)
    border = np.minimum(basal.ravel()[p], apical.ravel()[p])
    pale *= np.clip(0.35 + 0.65 * border, 0, 1)  # no knife cuts tissue at a pixel's edge
    canvas.hematoxylin.ravel()[p] = stain.blue * np.maximum(pale * (1 - cover) + blue, 0)
    gaps = smooth_noise(rng, canvas.shape, rng.uniform(1.2, 2.6) / canvas.mpp).ravel()[p]
    line = membrane(cells, stain, basal.ravel()[p], apical.ravel()[p], gaps, rng)
    line = _thick_section(rng, line, canvas, p, cover)
    grains = 1 + (0.15 + 0.5 * stain.clumpy) * fine + (0.2 + 0.9 * stain.clumpy) * cloud
    brown = (
        stain.cytoplasm[cells.first] * np.maximum(grains, 0) * (1 - 0.88 * cover) * np.clip(0.2 + 0.7 * border, 0, 1)
    )
    brown = np.maximum(brown, line * (1 + 0.12 * fine)) + 0.25 * np.minimum(brown, line)
    canvas.dab.ravel()[p] = brown + stain.nuclear_brown * blue


def _thick_section(
    rng: np.random.Generator, line: FloatImage, canvas: Canvas, pixels: npt.NDArray[np.intp], cover: FloatImage
) -> FloatImage:
    """Add what shines through from below the plane of focus: the same net a little aside, blurred."""
    shift = rng.normal(0, 1.8, 2) / canvas.mpp
    below = np.zeros(canvas.shape, np.float32)
    below.ravel()[pixels] = line
    below = ndimage.gaussian_filter(np.roll(below, shift.round().astype(int), (0, 1)), 0.8 / canvas.mpp, truncate=2.5)
    through: FloatImage = line + np.float32(rng.uniform(0.1, 0.8)) * below.ravel()[pixels] * (1 - 0.5 * cover)
    return through


def _lumen_content(
    rng: np.random.Generator,
    canvas: Canvas,
    layout: Layout,
    lumen: npt.NDArray[np.bool_],
    stain: CellStain,
    dirt: float,
) -> None:
    """Nothing, mucus, debris with brown in it, or the dead centre of a comedo nest."""
    at = np.flatnonzero(lumen)
    if not len(at):
        return
    fine, ragged = canvas.fine.ravel()[at], canvas.ragged.ravel()[at]
    content = "necrosis" if layout.kind == "comedo" else rng.choice(["empty", "mucus", "debris"], p=(0.55, 0.2, 0.25))
    patch = smooth_noise(rng, canvas.shape, 18 / canvas.mpp).ravel()[at]
    if content == "mucus":
        amount = rng.uniform(0.02, 0.2) * stain.blue * np.clip(1 + 0.5 * patch + 0.2 * ragged, 0, None)
        canvas.hematoxylin.ravel()[at] = amount
    elif content != "empty":
        full = np.clip(3 * (patch + rng.uniform(-0.6, 1.5)), 0, 1)
        grain = np.clip(0.8 + 0.25 * fine + 0.35 * ragged, 0, 2)
        canvas.grey(at, (rng.uniform(0.02, 0.08) * full * grain).astype(np.float32))
        dust = (ragged + 0.4 * fine > 1.9) & (full > 0.5)
        canvas.hematoxylin.ravel()[at] += np.where(dust, 0.8 * stain.blue, 0).astype(np.float32)
        if rng.random() < 0.4 * dirt:
            canvas.dab.ravel()[at] += (rng.uniform(0.03, 0.3) * full * grain).astype(np.float32)


def _even(classes: npt.NDArray[np.uint8], mpp: float) -> npt.NDArray[np.uint8]:
    """Give every pixel of tumour the class that most tumour within `PLACE_UM` has."""
    step = max(1, round(1.0 / mpp))
    small = classes[::step, ::step]
    present = np.unique(small[small > 0])
    if len(present) < 2:
        return classes
    sigma = PLACE_UM / 2.5 / (mpp * step)
    votes = [ndimage.gaussian_filter((small == c).astype(np.float32), sigma, truncate=2) for c in present]
    winner = present[np.argmax(votes, axis=0)]
    winner = np.repeat(np.repeat(winner, step, 0), step, 1)[: classes.shape[0], : classes.shape[1]]
    return np.where(classes > 0, winner, np.uint8(0)).astype(np.uint8)


def _glass_edge(rng: np.random.Generator, size: int, mpp: float) -> FloatImage:
    angle, reach = rng.uniform(0, 2 * np.pi), size * mpp
    y, x = pixel_grid((size, size), mpp)
    line = np.cos(angle) * (y - reach / 2) + np.sin(angle) * (x - reach / 2) + rng.uniform(-0.25, 0.4) * reach
    return _ragged(rng, (line * np.ones((size, size))).astype(np.float32), mpp)


def _disc(rng: np.random.Generator, side: int, mpp: float, diameter: float, damaged: bool) -> FloatImage:
    y, x = pixel_grid((side, side), mpp)
    y, x = y - side * mpp / 2, x - side * mpp / 2
    turn = np.arctan2(y, x)
    wobble = sum(rng.normal(0, 0.012) * np.cos(k * turn + rng.uniform(0, 6.3)) for k in range(2, 7))
    inside = (diameter / 2 * (0.985 + wobble) - np.hypot(y, x)).astype(np.float32)
    if damaged:
        angle = rng.uniform(0, 2 * np.pi)
        away = np.hypot(y - 0.32 * diameter * np.sin(angle), x - 0.32 * diameter * np.cos(angle))
        inside = np.minimum(inside, away - 0.42 * diameter)
        inside = np.minimum(inside, 30 * smooth_noise(rng, (side, side), 40 / mpp) + 45)
    return _ragged(rng, inside, mpp)


def _ragged(rng: np.random.Generator, inside: FloatImage, mpp: float) -> FloatImage:
    shape = (inside.shape[0], inside.shape[1])
    rough: FloatImage = (
        inside
        + 3 * smooth_noise(rng, shape, 25 / mpp)
        + 1.6 * smooth_noise(rng, shape, 8 / mpp)
        + 1.2 * smooth_noise(rng, shape, 2.5 / mpp)
    )
    return rough
