"""Real tissue with known truth: real cores whose brown is weakened, broken up, moved or drawn anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.special import ndtri
from skimage.feature import peak_local_max
from skimage.measure import regionprops_table
from skimage.segmentation import watershed

from napari_her2.errors import SlideError
from napari_her2.training.cells import membrane
from napari_her2.training.fields import FloatImage, cell_map, pixel_grid, smooth_noise
from napari_her2.training.render import Scanner
from napari_her2.training.staining import Laboratory, cell_levels, draw_percent, draw_stain
from napari_her2.training.tissue import IGNORE, PLACE_UM, UNSTAINED, Tissue

__all__ = ["real_tiles"]

#: Pixel size assumed for the source pictures (µm).
SOURCE_MPP = 0.25
#: Unit OD vector (red, green, blue) that brown is unmixed with: QuPath's default.
QUPATH_DAB = (0.269, 0.568, 0.778)
#: Mean DAB OD over about 8 µm: above, the place is stained epithelium; below the second, surely without brown.
BROWN, NO_BROWN = 0.07, 0.02

Mask = npt.NDArray[np.bool_]
Classes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Core:
    """Stains of one real core (float16 to hold several) and the score its file name gives."""

    score: int
    hematoxylin: npt.NDArray[np.float16]
    dab: npt.NDArray[np.float16]
    brown_share: float
    tissue_share: float


def real_tiles(
    folder: str | Path,
    rng: np.random.Generator,
    count: int,
    *,
    size: int = 512,
    mpp: float = 0.5,
    exclude: Sequence[str] = (),
) -> Iterator[Tissue]:
    """Tiles of real tissue whose class map is known, at least in part.

    Three kinds, about 2 : 2 : 1: the membranes of stained cores at any other intensity and completeness; membranes
    drawn around the nuclei of unstained cores; unchanged tiles, labelled only where the label is safe.

    Parameters
    ----------
    folder : str or Path
        Holds ``SCORE_NAME.jpg``, one core each, 0.25 µm per pixel.
    rng : numpy.random.Generator
    count : int
        Number of tiles.
    size, mpp
        Side of a tile in pixels, and its pixel size in µm.
    exclude : sequence of str
        Beginnings of file names to leave out.

    Raises
    ------
    SlideError
        If the folder has no such pictures with tissue on them.
    """
    paths = [p for p in sorted(Path(folder).glob("[0-3]_*.jpg")) if not p.name.startswith(tuple(exclude))]
    cores = [core for core in (_load(path, mpp) for path in paths) if core.tissue_share > 0.05]
    if not cores:
        raise SlideError(f"{folder} has no pictures of cores named SCORE_NAME.jpg (SCORE 0 to 3) with tissue on them.")
    stained = [c for c in cores if c.score >= 2 and c.brown_share > 0.05]
    plain = [c for c in cores if c.score <= 1 and c.brown_share < 0.05]
    for _ in range(count):
        kind = rng.choice(3, p=(0.4, 0.4, 0.2))
        if kind == 0 and stained:
            yield _restained(rng, *_cut(rng, stained, size), mpp)
        elif kind == 1 and plain:
            yield _drawn(rng, *_cut(rng, plain, size), mpp)
        else:
            yield _unchanged(*_cut(rng, cores, size), mpp)


def _load(path: Path, mpp: float) -> _Core:
    with Image.open(path) as image:
        factor = SOURCE_MPP / mpp
        small = image.convert("RGB").resize(
            (round(image.width * factor), round(image.height * factor)), Image.Resampling.BOX
        )
    pixels = np.asarray(small, np.float32)
    luminance = ndimage.uniform_filter(pixels.mean(axis=2)[::4, ::4], 5)
    glass = luminance > np.percentile(luminance, 99.5) - 10
    white = np.median(pixels[::4, ::4][glass], axis=0)
    od = np.log10(np.maximum(white, 1) / np.maximum(pixels, 1))
    unmix = np.linalg.pinv(np.array([Scanner.reference().h_vector, QUPATH_DAB])).astype(np.float32)
    stains = od @ unmix
    brown_like = od[..., 2] > od[..., 0]  # what is not brown (grey dust, debris) is no DAB
    dab = np.where(brown_like, np.maximum(stains[..., 1], 0), 0)
    tissue = ndimage.uniform_filter(od.mean(axis=2)[::4, ::4], 3) > 0.012
    return _Core(
        int(path.name[0]),
        np.maximum(stains[..., 0], 0).astype(np.float16),
        dab.astype(np.float16),
        float((dab[::4, ::4] > 0.2).sum() / max(1, tissue.sum())),
        float(tissue.mean()),
    )


def _cut(rng: np.random.Generator, cores: list[_Core], size: int) -> tuple[FloatImage, FloatImage, _Core]:
    """A square somewhere on the tissue of one core, turned and mirrored at random; and the core."""
    core = cores[int(rng.integers(len(cores)))]
    part = (slice(0, 0), slice(0, 0))
    for _ in range(20):
        y, x = (int(rng.integers(0, max(1, n - size))) for n in core.dab.shape)
        part = (slice(y, y + size), slice(x, x + size))
        if np.mean((core.hematoxylin[part] + core.dab[part])[::8, ::8] > 0.03) > 0.35:
            break
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    stains = []
    for od in (core.hematoxylin, core.dab):
        square = np.rot90(od[part].astype(np.float32), turns)
        stains.append(np.ascontiguousarray(square[:, ::-1] if mirrored else square))
    return stains[0], stains[1], core


def _smooth(image: FloatImage, um: float, mpp: float) -> FloatImage:
    blurred: FloatImage = ndimage.gaussian_filter(image, um / mpp, truncate=2.5)
    return blurred


def _fill_blue(blue: FloatImage, brown: FloatImage, mpp: float) -> FloatImage:
    """Haematoxylin with the places under strong brown, where unmixing fails, filled from beside them."""
    trust = np.clip(1.4 - brown / 0.2, 0, 1).astype(np.float32) + np.float32(1e-3)
    filled = _smooth(blue * trust, 1.5, mpp) / _smooth(trust, 1.5, mpp)
    share = np.minimum(trust, 1)
    mended: FloatImage = share * blue + (1 - share) * filled
    return mended


def _restained(rng: np.random.Generator, blue: FloatImage, brown: FloatImage, core: _Core, mpp: float) -> Tissue:
    """The net of real membranes, expressed as another score would have it."""
    shape = (brown.shape[0], brown.shape[1])
    mean = _smooth(brown, 4, mpp)
    open_place = _smooth((blue + brown > 0.035).astype(np.float32), 1.5, mpp) < 0.5
    epithelium = (mean > BROWN) & ~open_place
    cytoplasm = _smooth(ndimage.minimum_filter(_smooth(brown, 0.5, mpp), round(4 / mpp)), 2, mpp)
    line = np.maximum(brown - cytoplasm, 0)
    peak = _smooth(ndimage.maximum_filter(_smooth(line, 0.4, mpp), round(8 / mpp)), 4, mpp)
    unit = np.clip(line / np.maximum(peak, 0.08), 0, 1.15)
    places = _places(rng, epithelium, mpp)
    percent = draw_percent(rng, int(rng.integers(4)))
    levels = np.zeros(shape, np.float32)
    where = np.flatnonzero(epithelium)
    field = places.ravel()[where]
    if len(where) > 64:  # the level follows the field, so that neighbours agree
        spread = cell_levels(rng, percent, field[::16].astype(float), 0.0)
        levels.ravel()[where] = np.interp(field, np.sort(field[::16]), np.sort(spread))
    lab = Laboratory.random(rng)
    stain = draw_stain(rng, levels.ravel()[where].astype(float), columnar=False, lab=lab)
    strength, complete, pale = (np.zeros(shape, np.float32) for _ in range(3))
    strength.ravel()[where], complete.ravel()[where] = stain.line, stain.complete
    pale.ravel()[where] = stain.cytoplasm
    strength, pale = _smooth(strength, 2, mpp), _smooth(pale, 2, mpp)
    gaps = smooth_noise(rng, shape, rng.uniform(1.5, 3) / mpp)
    kept = 1 / (1 + np.exp(np.clip(-4 * (ndtri(np.clip(complete, 1e-4, 1 - 1e-4)) - gaps), -30, 30)))
    relative = np.clip(cytoplasm / np.maximum(_smooth(cytoplasm, 8, mpp), 0.02), 0, 2)
    dab = strength * kept * unit + pale * relative
    outside = np.where(mean > NO_BROWN, 0, brown)
    dab = np.where(epithelium, dab, outside + (strength * unit * kept) * ~epithelium).astype(np.float32)
    classes = np.where(epithelium, 1 + levels.astype(np.uint8), np.uint8(0)).astype(np.uint8)
    unsure = ~epithelium & ~_stroma(blue, brown, core, mpp) & ~open_place
    classes[unsure] = IGNORE
    return Tissue(_blue_gain(lab) * _fill_blue(blue, brown, mpp), dab, classes, mpp, lab=lab)


def _blue_gain(lab: Laboratory) -> np.float32:
    """What brings the nuclei of the source pictures to a laboratory's blue."""
    return np.float32(lab.blue / Laboratory().blue)


def _stroma(blue: FloatImage, brown: FloatImage, core: _Core, mpp: float) -> Mask:
    """Where there surely is no tumour, in cores whose tumour is brown: no brown far around, few nuclei."""
    if core.score < 2 or core.brown_share < 0.05:
        return np.zeros(brown.shape, bool)
    bare = _smooth(brown, 10, mpp) < NO_BROWN
    # every tumour cell of the 3+ core is brown; in 2+ cores crowded nuclei without brown may still be tumour
    return bare if core.score == 3 else bare & (_smooth(blue, 10, mpp) < 0.05)


def _places(rng: np.random.Generator, mask: Mask, mpp: float) -> FloatImage:
    """A smooth random field with no detail finer than a place."""
    shape = (mask.shape[0], mask.shape[1])
    coarse = smooth_noise(rng, shape, rng.uniform(20, 60) / mpp)
    return (coarse + 0.25 * smooth_noise(rng, shape, PLACE_UM / mpp)).astype(np.float32)


def _drawn(rng: np.random.Generator, blue: FloatImage, brown: FloatImage, core: _Core, mpp: float) -> Tissue:
    """Real haematoxylin with membranes drawn between its nuclei where these look like tumour."""
    shape = (brown.shape[0], brown.shape[1])
    points, sure = _tumour_like(blue, mpp)
    bare = _smooth(brown, 4, mpp) < 0.05
    classes = np.where(bare & (core.score == 0), np.uint8(UNSTAINED), np.uint8(IGNORE))
    glass = _smooth(blue + brown, 6, mpp) < 0.008
    classes[glass] = 0
    dab = np.minimum(brown, 0.04)
    lab = Laboratory.random(rng)
    if len(points) < 4:
        return Tissue(_blue_gain(lab) * blue, dab, classes, mpp, lab=lab)
    y, x = pixel_grid(shape, mpp)
    bend = smooth_noise(rng, shape, 4 / mpp), smooth_noise(rng, shape, 4 / mpp)
    y, x = y + 0.8 * bend[0], x + 0.8 * bend[1]
    reach = rng.uniform(6.5, 9)
    near = np.ones(shape, bool)
    at = np.clip((points / mpp).astype(int), 0, np.array(shape) - 1)
    near[at[:, 0], at[:, 1]] = False
    away = ndimage.distance_transform_edt(near) * mpp
    tissue = ndimage.binary_opening(_smooth(blue + brown, 0.8, mpp) > 0.03, iterations=1)
    mask = (away < reach + 0.8 * smooth_noise(rng, shape, 5 / mpp)) & tissue
    mask = ndimage.binary_opening(mask, iterations=2)
    cells = cell_map(points, np.zeros(len(points), np.float32), mask, y, x, max(1, round(2 / mpp)))
    field = smooth_noise(rng, shape, rng.uniform(20, 60) / mpp)[at[:, 0], at[:, 1]]
    levels = cell_levels(rng, draw_percent(rng, int(rng.integers(4))), field.astype(float), rng.uniform(0.05, 0.4))
    stain = draw_stain(rng, levels, columnar=False, lab=lab)
    border = ((ndimage.distance_transform_edt(mask) - 1) * mpp).astype(np.float32).ravel()[cells.pixels]
    gaps = smooth_noise(rng, shape, rng.uniform(1.2, 2.6) / mpp).ravel()[cells.pixels]
    far = np.full(len(cells.pixels), 1e3, np.float32)
    line = membrane(cells, stain, border, far, gaps, rng)
    nucleus = np.clip(blue.ravel()[cells.pixels] / max(0.05, float(np.percentile(blue[mask], 97))), 0, 1)
    grain = 1 + 0.25 * smooth_noise(rng, shape, 1 / mpp).ravel()[cells.pixels]
    dab.ravel()[cells.pixels] += line + stain.cytoplasm[cells.first] * np.maximum(grain, 0) * (1 - 0.8 * nucleus)
    given = 1 + levels[cells.first].astype(np.uint8)
    # an unstained cell that is small or stands alone may as well be stroma
    given[(given == 1) & ~sure[cells.first]] = UNSTAINED
    classes.ravel()[cells.pixels] = given
    classes[~bare & (classes > 0)] = IGNORE
    return Tissue(_blue_gain(lab) * blue, dab.astype(np.float32), classes, mpp, lab=lab)


def _tumour_like(blue: FloatImage, mpp: float) -> tuple[npt.NDArray[np.float64], Mask]:
    """Centres (µm) of large round nuclei with neighbours of their kind, and which are surely tumour."""
    contrast = blue / (blue + 0.1)
    spots = _smooth(contrast, 0.8, mpp) - _smooth(contrast, 7, mpp)
    high = spots > 0.05
    smooth = _smooth(spots, 1.2, mpp)
    apart = max(1, round(3.5 / mpp))
    peaks = peak_local_max(smooth, min_distance=apart, threshold_abs=0.05)  # type: ignore[no-untyped-call]
    if not len(peaks):
        return np.zeros((0, 2)), np.zeros(0, bool)
    markers = np.zeros(blue.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = watershed(-smooth, markers, mask=high)  # type: ignore[no-untyped-call]
    shapes = regionprops_table(  # type: ignore[no-untyped-call]
        labels,
        properties=("centroid", "area", "axis_major_length", "axis_minor_length"),
    )
    aspect = shapes["axis_major_length"] / np.maximum(shapes["axis_minor_length"], 1)
    chosen = (shapes["area"] * mpp**2 >= 28) & (aspect < 2.2)
    points = np.stack([shapes["centroid-0"], shapes["centroid-1"]], axis=1)[chosen] * mpp
    if len(points) < 4:
        return np.zeros((0, 2)), np.zeros(0, bool)
    third = cKDTree(points).query(points, k=4)[0][:, 3]
    keep = third < 28
    # smaller nuclei in a crowd are as likely inflammation
    large = shapes["area"][chosen] * mpp**2 >= 45
    return points[keep], (large & (third < 18))[keep]


def _unchanged(blue: FloatImage, brown: FloatImage, core: _Core, mpp: float) -> Tissue:
    """The tissue as it is: glass and plain stroma are no tumour; score-0 cores are unstained; strong nets are 3+."""
    mean = _smooth(brown, 4, mpp)
    classes = np.where((mean < 0.05) & (core.score == 0), np.uint8(UNSTAINED), np.uint8(IGNORE))
    classes[_smooth(blue + brown, 6, mpp) < 0.008] = 0
    classes[_stroma(blue, brown, core, mpp)] = 0
    if core.score == 3:
        peak = _smooth(ndimage.maximum_filter(_smooth(brown, 0.4, mpp), round(8 / mpp)), 4, mpp)
        classes[(mean > 0.15) & (peak > 0.6)] = 4
        classes[_smooth((blue + brown > 0.035).astype(np.float32), 2, mpp) < 0.35] = 0
    return Tissue(blue, brown, classes, mpp)
