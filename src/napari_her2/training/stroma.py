"""Painting what is not tumour: fibres, clefts, loose tissue, lymphocytes, vessels with blood, fat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_her2.training.architecture import Layout
from napari_her2.training.cells import Nuclei, paint_nuclei, stroma_nuclei
from napari_her2.training.fields import CellMap, FloatImage, cell_map, hex_points, smooth_noise, upsample

__all__ = ["Canvas", "paint_stroma"]


@dataclass
class Canvas:
    """The picture in the making.

    Attributes
    ----------
    mpp : float
    block : int
        Pixels per pixel of the coarse grid.
    y, x : ndarray of float32, shape (y, x)
        Place of each pixel in µm, a little warped so that nothing is straight.
    fine, ragged : ndarray of float32, shape (y, x)
        Noise of grains (about 1 µm) and of outlines (about 4 µm).
    hematoxylin, dab : ndarray of float32, shape (y, x)
    """

    mpp: float
    block: int
    y: FloatImage
    x: FloatImage
    fine: FloatImage
    ragged: FloatImage
    hematoxylin: FloatImage
    dab: FloatImage

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.dab.shape[0], self.dab.shape[1]

    @property
    def coarse_um(self) -> float:
        """Side of a pixel of the coarse grid in µm."""
        return self.block * self.mpp

    def grey(self, at: npt.NDArray[np.intp], amount: FloatImage) -> None:
        """Add what absorbs all colours alike (dust, blood cells, debris): about as much blue as brown."""
        self.hematoxylin.ravel()[at] += amount
        self.dab.ravel()[at] += np.float32(0.85) * amount


def paint_stroma(
    rng: np.random.Generator,
    canvas: Canvas,
    layout: Layout,
    outside: npt.NDArray[np.bool_],
    blue: float,
    background: float,
    dirt: float,
) -> None:
    """Paint the pixels `outside` the tumour; `blue` is the haematoxylin OD of a typical nucleus.

    Where the stroma is loose or torn the glass shines through. `background` is the DAB OD of unspecific brown.
    """
    shape = canvas.shape
    density = _fibres(rng, canvas, layout)
    fat = np.zeros(shape, bool)
    if rng.random() < 0.12:
        fat = outside & (smooth_noise(rng, shape, 60 / canvas.mpp) > rng.uniform(0.0, 1.0))
    tone = blue * rng.uniform(0.16, 0.45)
    amount = np.where(outside, tone * density * (1 + 0.22 * canvas.fine), 0).astype(np.float32)
    if fat.any():
        amount = np.where(fat, _fat(rng, canvas, fat, tone), amount)
    canvas.hematoxylin += amount
    if background:
        cloud = 1 + 0.5 * smooth_noise(rng, shape, 20 / canvas.mpp)
        canvas.dab += np.where(outside, background * np.clip(density, 0, 1.5) * np.maximum(cloud, 0), 0).astype(
            np.float32
        )
    _stroma_cells(rng, canvas, layout, outside & ~fat, blue, dirt)
    for _ in range(rng.poisson(0.9 * shape[0] * shape[1] * canvas.mpp**2 / 256**2)):
        _vessel(rng, canvas, outside & ~fat, blue)


def _fibres(rng: np.random.Generator, canvas: Canvas, layout: Layout) -> FloatImage:
    """Density of the fibres: about 1 in a bundle, 0 in clefts."""
    shape, mpp = canvas.shape, canvas.mpp
    wrap = rng.uniform(0.0, 0.8)
    phase = layout.along + wrap * np.clip(-layout.depth, 0, 60)
    across = upsample(phase.astype(np.float32), shape, canvas.block) + 0.8 * canvas.ragged
    period = rng.uniform(0.8, 1.7)
    texture = rng.standard_normal((512, 64), dtype=np.float32)
    texture = ndimage.gaussian_filter(texture, (0.6, 0.8), mode="wrap")
    texture /= texture.std()
    gy, gx = np.gradient(layout.along)
    angle = float(np.arctan2(gy.mean(), gx.mean()))
    forward = (np.sin(angle) * canvas.x - np.cos(angle) * canvas.y) / rng.uniform(10, 30)
    grid = np.stack([across / period, forward])
    fibre = ndimage.map_coordinates(texture, grid, order=1, mode="grid-wrap")
    bundle = ndimage.map_coordinates(
        texture, grid[:, ::2, ::2] * np.array([0.16, 0.3])[:, None, None] + 17, order=1, mode="grid-wrap"
    )
    bundle = np.repeat(np.repeat(bundle, 2, 0), 2, 1)[: shape[0], : shape[1]]
    patch = smooth_noise(rng, shape, 25 / mpp)
    strands = np.exp(-((fibre / 0.45) ** 2))  # thin: where the texture changes sign
    density = 0.5 + rng.uniform(0.15, 0.35) * fibre + rng.uniform(0.5, 1.3) * strands + 0.25 * bundle + 0.2 * patch
    torn = density - rng.uniform(-0.5, 0.3) - 0.25 * smooth_noise(rng, shape, 50 / mpp)
    if rng.random() < 0.5:  # a spongy web: strands around bubbles
        web = np.minimum(
            np.abs(smooth_noise(rng, shape, rng.uniform(2.5, 5) / mpp)),
            np.abs(smooth_noise(rng, shape, rng.uniform(5, 9) / mpp)),
        )
        sponge = np.exp(-((web / 0.25) ** 2)) - 0.25 + 0.15 * fibre
        mix = 1 / (1 + np.exp(-6 * (patch - rng.uniform(-0.8, 0.8))))
        torn = torn * (1 - mix) + sponge * mix
    open_share = 1 / (1 + np.exp(-np.clip(torn * 12, -30, 30)))
    closed: FloatImage = (np.clip(density, 0.15, 2.2) * open_share).astype(np.float32)
    return closed


def _fat(rng: np.random.Generator, canvas: Canvas, fat: npt.NDArray[np.bool_], tone: float) -> FloatImage:
    """Fat cells: empty, large, with thin walls."""
    extent = (canvas.shape[0] * canvas.mpp, canvas.shape[1] * canvas.mpp)
    points = hex_points(rng, extent, rng.uniform(45, 75), 0.2)
    cells = cell_map(points, np.zeros(len(points), np.float32), fat, canvas.y, canvas.x, canvas.block)
    walls = np.zeros(canvas.shape, np.float32)
    edge = cells.edge + 0.5 * canvas.ragged.ravel()[cells.pixels]
    walls.ravel()[cells.pixels] = 1.5 * tone * np.exp(-0.5 * (edge / 0.8) ** 2)
    return walls


def _stroma_cells(
    rng: np.random.Generator, canvas: Canvas, layout: Layout, outside: npt.NDArray[np.bool_], blue: float, dirt: float
) -> None:
    extent = (canvas.shape[0] * canvas.mpp, canvas.shape[1] * canvas.mpp)
    # a scatter, not a lattice: fibroblasts keep no distance
    count = int(extent[0] * extent[1] / rng.uniform(14, 30) ** 2)
    spindles = rng.uniform((0, 0), extent, (count, 2))
    crowd = hex_points(rng, extent, rng.uniform(6.5, 9), 0.28)
    coarse = smooth_noise(rng, (layout.depth.shape[0], layout.depth.shape[1]), rng.uniform(8, 30))
    at = np.clip((crowd / canvas.coarse_um).astype(int), 0, np.array(coarse.shape) - 1)
    crowding: npt.NDArray[np.float64] = coarse[at[:, 0], at[:, 1]] + rng.normal(0, 0.5, len(crowd))
    crowd = crowd[crowding > rng.choice([0.9, 1.6, 2.3, 3.0])]
    points = np.concatenate([spindles, crowd])
    lymph = np.concatenate([rng.random(count) < rng.uniform(0.02, 0.35), np.ones(len(crowd), bool)])
    gy, gx = (np.asarray(g) for g in np.gradient(layout.along))
    at = np.clip((points / canvas.coarse_um).astype(int), 0, np.array(gy.shape) - 1)
    fibre = np.arctan2(gy[at[:, 0], at[:, 1]], gx[at[:, 0], at[:, 1]]) + np.pi / 2
    nuclei = stroma_nuclei(rng, points, fibre, lymph)
    cells = cell_map(points, np.zeros(len(points), np.float32), outside, canvas.y, canvas.x, canvas.block, k=3)
    _paint(canvas, cells, nuclei, blue)
    if rng.random() < 0.12 * dirt:  # mast cells, macrophages with pigment: brown that is no membrane
        brown = np.zeros(len(points), np.float32)
        chosen = rng.random(len(points)) < rng.uniform(0.01, 0.12)
        brown[chosen] = rng.uniform(0.1, 0.9, int(chosen.sum()))
        p = cells.pixels
        first = cells.first
        d = np.hypot(canvas.y.ravel()[p] - points[first, 0], canvas.x.ravel()[p] - points[first, 1])
        grain = np.clip(0.7 + 0.35 * canvas.fine.ravel()[p], 0, None)
        canvas.dab.ravel()[p] += (brown[first] * grain * (d < 5 + canvas.ragged.ravel()[p])).astype(np.float32)


def _paint(canvas: Canvas, cells: CellMap, nuclei: Nuclei, blue: float) -> None:
    p = cells.pixels
    at = (canvas.y.ravel()[p], canvas.x.ravel()[p], canvas.fine.ravel()[p], canvas.ragged.ravel()[p])
    amount, cover = paint_nuclei(cells, nuclei, *at)
    flat = canvas.hematoxylin.ravel()
    flat[p] = flat[p] * (1 - cover) + np.float32(blue) * amount


def _vessel(rng: np.random.Generator, canvas: Canvas, outside: npt.NDArray[np.bool_], blue: float) -> None:
    """A vessel: wall of rings, flat nuclei, empty inside or with blood cells."""
    at = np.flatnonzero(outside)
    if not len(at):
        return
    row, column = divmod(int(rng.choice(at)), canvas.shape[1])
    centre = canvas.y[row, column], canvas.x[row, column]
    inner, wall = rng.uniform(5, 22), rng.uniform(1.5, 6)
    reach = int((1.6 * inner + wall + 8) / canvas.mpp)
    box = (slice(max(0, row - reach), row + reach), slice(max(0, column - reach), column + reach))
    dy, dx = canvas.y[box] - centre[0], canvas.x[box] - centre[1]
    tilt, flat = rng.uniform(0, np.pi), rng.uniform(0.5, 1)
    u, v = dx * np.cos(tilt) + dy * np.sin(tilt), (dy * np.cos(tilt) - dx * np.sin(tilt)) / flat
    turn = np.arctan2(v, u)
    r = (
        np.hypot(u, v) * (1 + 0.12 * np.sin(2 * turn + rng.uniform(0, 6)) + 0.06 * np.sin(5 * turn))
        + 0.4 * canvas.ragged[box]
    )
    h, d, free = canvas.hematoxylin[box], canvas.dab[box], outside[box]
    ring = free & (r > inner) & (r < inner + wall)
    rings = 0.25 + 0.12 * np.sin(r * rng.uniform(2, 4) + turn)
    h[ring] = (blue * rings)[ring]
    lining = np.exp(-(((r - inner) / 0.9) ** 2)) * np.clip(4 * np.sin(turn * rng.integers(3, 8)) - 2.5, 0.25, 1.2)
    h += np.where(free & (r > inner - 2) & (r < inner + 3), blue * lining, 0).astype(np.float32)
    hollow = free & (r <= inner)
    h[hollow] *= 0.04
    d[hollow] *= 0.04
    if rng.random() < 0.6:
        cells = hex_points(rng, (2.2 * inner, 2.2 * inner), 6.5, 0.22) - 1.1 * inner
        for cy, cx in cells[rng.random(len(cells)) < rng.uniform(0.2, 0.95)]:
            far = np.hypot(dy - cy, (dx - cx) * rng.uniform(0.9, 1.3))
            rim = 0.16 * np.exp(-(((far - 2.9) / 0.5) ** 2)) + 0.05 * (far < 2.9)
            stamp = np.where(hollow, rim, 0).astype(np.float32)
            h += stamp
            d += np.float32(0.95) * stamp
