"""Where the tumour is: nests, glands, single files and sheets, and the centres of their cells."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.measure import find_contours

from napari_her2.training.fields import FloatImage, hex_points, smooth_noise

__all__ = ["ARCHITECTURES", "COARSE_UM", "FAR", "Layout", "make_layout", "mixed_layout"]

#: Pixel size in µm of the coarse grid that architecture is drawn on.
COARSE_UM = 2.0
#: "Nowhere near", in µm.
FAR = 1e3

ARCHITECTURES = ("glands", "tubules", "nests", "sheet", "files", "cribriform", "comedo", "scattered")


@dataclass(frozen=True)
class Layout:
    """Geometry of one piece of tissue, on a grid of `COARSE_UM`.

    Attributes
    ----------
    depth : ndarray of float32, shape (y, x)
        Distance in µm into the epithelium from the stroma's border; negative in stroma.
    lumen : ndarray of float32, shape (y, x)
        Distance in µm into a lumen (of a gland) or the dead centre (of a comedo nest); negative outside.
    along : ndarray of float32, shape (y, x)
        Phase in µm across the fibres of the stroma: fibres run along its level lines.
    points : ndarray, shape (n, 2)
        Centres of the tumour cells in µm (y, x).
    nuclei : ndarray, shape (n, 2)
        Centres of their nuclei.
    axis : ndarray, shape (n,)
        Angle of the long axis of the cell in radians; NaN where it has none.
    columnar : bool
        Cells stand on the stroma with their backs to a lumen.
    kind : str
        One of `ARCHITECTURES`, or "stroma".
    """

    depth: FloatImage
    lumen: FloatImage
    along: FloatImage
    points: npt.NDArray[np.float64]
    nuclei: npt.NDArray[np.float64]
    axis: npt.NDArray[np.float64]
    columnar: bool
    kind: str

    def scaled(self, factor: float) -> Layout:
        """The same, with every length times `factor`: for pixels that do not divide `COARSE_UM`."""
        f = np.float32(factor)
        return replace(
            self,
            depth=self.depth * f,
            lumen=self.lumen * f,
            along=self.along * f,
            points=self.points * factor,
            nuclei=self.nuclei * factor,
        )


def make_layout(rng: np.random.Generator, shape: tuple[int, int], kind: str, cell_um: float) -> Layout:
    """Draw one architecture.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : (int, int)
        Height and width in pixels of `COARSE_UM`.
    kind : str
        One of `ARCHITECTURES`, or "stroma" for tissue without tumour.
    cell_um : float
        Typical distance of tumour cells in µm (columnar cells stand closer).
    """
    along = _fibre_phase(rng, shape)
    if kind == "stroma":
        none = np.full(shape, -FAR, np.float32)
        empty = np.zeros((0, 2))
        return Layout(none, none, along, empty, empty, np.zeros(0), False, kind)
    depth = _signed_distance(_tumour(rng, shape, kind, along))
    lumen, wall = _lumen(rng, depth, kind, cell_um)
    columnar = kind in ("glands", "tubules")
    if columnar:
        points, nuclei, axis = _columnar_cells(rng, depth, lumen, wall, cell_um)
    else:
        points = hex_points(rng, _extent(shape), cell_um, rng.uniform(0.2, 0.36))
        points = points[(_sample(depth, points) > 2.2) & (_sample(lumen, points) < -1.5)]
        nuclei = points + rng.normal(0, 0.1 * cell_um, points.shape)
        axis = np.full(len(points), np.nan)
    return Layout(depth, lumen, along, points, nuclei, axis, columnar, kind)


def mixed_layout(rng: np.random.Generator, shape: tuple[int, int], kinds: tuple[str, str], cell_um: float) -> Layout:
    """Two architectures of one tumour side by side, parted by a band of stroma; parameters as in `make_layout`."""
    one, other = (make_layout(rng, shape, kind, cell_um) for kind in kinds)
    cut = smooth_noise(rng, shape, rng.uniform(50, 120)) + rng.uniform(-0.8, 0.8)
    apart = _signed_distance(cut > 0)
    band = np.abs(apart) - np.float32(rng.uniform(2, 12))
    first = apart > 0
    depth = np.minimum(np.where(first, one.depth, other.depth), band)
    lumen = np.minimum(np.where(first, one.lumen, other.lumen), band)
    keep = [_sample(apart, part.points) * side > 0 for part, side in ((one, 1), (other, -1))]
    points, nuclei, axis = (
        np.concatenate([a[keep[0]], b[keep[1]]])
        for a, b in ((one.points, other.points), (one.nuclei, other.nuclei), (one.axis, other.axis))
    )
    columnar, kind = one.columnar or other.columnar, "comedo" if "comedo" in kinds else kinds[0]
    return Layout(depth.astype(np.float32), lumen.astype(np.float32), one.along, points, nuclei, axis, columnar, kind)


def _extent(shape: tuple[int, int]) -> tuple[float, float]:
    return shape[0] * COARSE_UM, shape[1] * COARSE_UM


def _sample(field: FloatImage, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Values of a coarse field at points in µm."""
    at: npt.NDArray[np.float64] = ndimage.map_coordinates(field, points.T / COARSE_UM - 0.5, order=1, mode="nearest")
    return at


def _signed_distance(mask: npt.NDArray[np.bool_]) -> FloatImage:
    """Distance to the border in µm, positive inside."""
    if mask.all() or not mask.any():
        return np.full(mask.shape, FAR if mask.all() else -FAR, np.float32)
    inside, outside = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    distance: FloatImage = ((inside - outside - np.where(mask, 0.5, -0.5)) * COARSE_UM).astype(np.float32)
    return ndimage.gaussian_filter(distance, 0.8)  # type: ignore[no-any-return]


def _turned_noise(
    rng: np.random.Generator, shape: tuple[int, int], step_um: float, stretch: float, angle: float
) -> FloatImage:
    """Noise whose blobs are `stretch` times longer along `angle`."""
    side = int(1.5 * max(shape)) + 4
    noise = smooth_noise(rng, (side, side), (step_um / COARSE_UM, step_um * stretch / COARSE_UM))
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, s], [-s, c]])
    offset = np.array([side / 2, side / 2]) - turn @ np.array([shape[0] / 2, shape[1] / 2])
    turned: FloatImage = ndimage.affine_transform(noise, turn, offset, output_shape=shape, order=1, mode="nearest")
    return turned


def _fibre_phase(rng: np.random.Generator, shape: tuple[int, int]) -> FloatImage:
    angle = rng.uniform(0, np.pi)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32) * np.float32(COARSE_UM)
    waves = rng.uniform(5, 24) * smooth_noise(rng, shape, 40.0) + rng.uniform(1, 3) * smooth_noise(rng, shape, 12.0)
    phase: FloatImage = (np.cos(angle) * y - np.sin(angle) * x + waves).astype(np.float32)
    return phase


def _tumour(rng: np.random.Generator, shape: tuple[int, int], kind: str, along: FloatImage) -> npt.NDArray[np.bool_]:
    """Mask of everything that is enclosed by stroma: epithelium and its lumens."""
    angle = rng.uniform(0, np.pi)
    if kind in ("files", "scattered"):
        period = rng.uniform(20, 45) if kind == "files" else rng.uniform(14, 20)
        width = rng.uniform(4.5, 6.5)
        shift = 2 * smooth_noise(rng, shape, 6.0)
        line = np.abs((along + shift) % period - period / 2) < width
        step, cut = (rng.uniform(8, 16), rng.uniform(-0.5, 0.4)) if kind == "files" else (4.0, rng.uniform(0.0, 0.7))
        broken: npt.NDArray[np.bool_] = line & (smooth_noise(rng, shape, step) > cut)
        return broken
    step, stretch, cut = {
        "glands": (rng.uniform(28, 55), rng.uniform(1, 2.5), rng.uniform(-0.9, 0.1)),
        "tubules": (rng.uniform(13, 20), rng.uniform(1, 2), rng.uniform(0.2, 0.8)),
        "nests": (rng.uniform(14, 35), rng.uniform(1, 2.5), rng.uniform(-0.2, 0.6)),
        "sheet": (rng.uniform(25, 60), rng.uniform(1, 3), rng.uniform(-2.2, -0.9)),
        "cribriform": (rng.uniform(35, 70), rng.uniform(1, 1.6), rng.uniform(-0.5, 0.3)),
        "comedo": (rng.uniform(35, 70), rng.uniform(1, 1.6), rng.uniform(-0.3, 0.4)),
    }[kind]
    noise = (
        _turned_noise(rng, shape, step, stretch, angle)
        + 0.12 * smooth_noise(rng, shape, 5.0)
        + 0.05 * smooth_noise(rng, shape, 2.0)
    )
    if kind == "glands":  # thin septa of stroma part crowded glands
        septa = np.abs(_turned_noise(rng, shape, step * 1.3, stretch, angle))
        noise = np.where(septa < rng.uniform(0.03, 0.1), -9.0, noise)
    # some of any piece of tissue is stroma alone
    mask: npt.NDArray[np.bool_] = (noise > cut) & (smooth_noise(rng, shape, 45.0) > rng.uniform(-2.5, -0.8))
    return mask


def _lumen(rng: np.random.Generator, depth: FloatImage, kind: str, cell_um: float) -> tuple[FloatImage, FloatImage]:
    """Distance into lumens, and the thickness of the epithelial wall (both in µm)."""
    shape = (depth.shape[0], depth.shape[1])
    thickness = {
        "glands": rng.uniform(1.8, 3.4) * cell_um,
        "tubules": rng.uniform(1.1, 1.5) * cell_um,
        "comedo": rng.uniform(35, 60),
    }.get(kind, FAR)
    wall = (thickness * (1 + 0.16 * smooth_noise(rng, shape, 14.0))).astype(np.float32)
    lumen = depth - wall
    if kind == "cribriform":
        spots = hex_points(rng, _extent(shape), rng.uniform(35, 60), 0.3)
        spots = spots[rng.random(len(spots)) < 0.7]
        grid = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
        radius = np.zeros(shape, bool)
        warp = 2.0 * smooth_noise(rng, shape, 5.0)
        for y, x in spots / COARSE_UM:
            radius |= np.hypot(grid[0] - y, grid[1] - x) + warp < rng.uniform(2.5, 8)
        lumen = np.minimum(_signed_distance(radius), depth - 12).astype(np.float32)
    return lumen, wall


def _columnar_cells(
    rng: np.random.Generator, depth: FloatImage, lumen: FloatImage, wall: FloatImage, cell_um: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """One row of centres along the middle of the wall: their borders then stand upright, as in columnar epithelium."""
    spacing = cell_um * rng.uniform(0.5, 0.75)
    rows = []
    middle = (depth - 0.5 * wall).astype(np.float64)
    for contour in find_contours(middle, 0.0):  # type: ignore[no-untyped-call]
        steps = np.hypot(*np.diff(contour, axis=0).T) * COARSE_UM
        length = np.concatenate([[0.0], np.cumsum(steps)])
        if length[-1] < spacing:
            continue
        at = np.arange(0, length[-1], spacing)
        at = at + rng.normal(0, 0.18 * spacing, len(at))
        rows.append(np.stack([np.interp(at, length, contour[:, i]) for i in (0, 1)], axis=1))
    points = (np.concatenate(rows) + 0.5) * COARSE_UM if rows else np.zeros((0, 2))
    gradient = np.gradient(ndimage.gaussian_filter(depth, 1.5))
    normal = np.stack([_sample(g, points) for g in gradient], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-6
    half = 0.5 * _sample(wall, points)[:, None]
    points = points + normal * half * rng.normal(0, rng.uniform(0.05, 0.25), (len(points), 1))
    # real columns are staggered: nuclei at several heights, more of them near the stroma
    nuclei = points + normal * half * (rng.normal(0, rng.uniform(0.1, 0.35), (len(points), 1)) - rng.uniform(0, 0.35))
    axis = np.arctan2(normal[:, 0], normal[:, 1])
    # places too narrow for a lumen hold round cells
    extra = hex_points(rng, _extent((depth.shape[0], depth.shape[1])), cell_um)
    extra = extra[(_sample(depth, extra) > 2.2) & (_sample(lumen, extra) < -2)]
    if len(points) and len(extra):
        gap = cKDTree(points).query(extra)[0]
        extra = extra[gap > 0.62 * _sample(wall, extra)]
    return (
        np.concatenate([points, extra]),
        np.concatenate([nuclei, extra]),
        np.concatenate([axis, np.full(len(extra), np.nan)]),
    )
