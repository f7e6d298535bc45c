"""Real TMA layouts, drawn as discs with damage: what `dearray.py` counts rows, columns and missing cores on."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_her2.slide import Slide

__all__ = ["CONDITIONS", "Layout", "Scene", "layouts", "render", "staged", "true_lattice"]

CONDITIONS = ("as is", "rotated", "dropped", "warped", "pale")
Points = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Real centres with their row and column; -1 off the grid."""

    name: str
    centres: Points  # (y, x)
    radius: float
    row: Ints
    column: Ints


@dataclass(frozen=True)
class Scene:
    """A layout drawn under a condition, with its truth.

    Attributes
    ----------
    slide : Slide
    places : ndarray of float, shape (n, 2)
        (y, x) of every core of the layout in pixels of the slide.
    row, column : ndarray of int, shape (n,)
        -1 off the grid.
    kept : ndarray of bool, shape (n,)
        Whether the core was drawn.
    radius : float
    """

    slide: Slide
    places: Points
    row: Ints
    column: Ints
    kept: npt.NDArray[np.bool_]
    radius: float

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the grid, empty ones included."""
        return int(self.row.max()) + 1, int(self.column.max()) + 1


def layouts(data: Path, every: int = 1) -> list[Layout]:
    out = []
    for path in sorted((data / "tma_layouts").glob("*.json"))[::every]:
        marks = json.loads(path.read_text())
        places = np.array([[m["y"], m["x"]] for m in marks])
        spacing = float(np.median(cKDTree(places).query(places, 2)[0][:, 1]))
        # marks are drawn generously and overlap; real cores are at most 1 / 1.05 of their spacing across
        radius = min(float(np.median([m["radius"] for m in marks])), 0.475 * spacing)
        row, column = true_lattice(places)
        out.append(Layout(path.stem, places, radius, row, column))
    return out


def true_lattice(places: Points) -> tuple[Ints, Ints]:
    """Row and column of hand-marked centres: one affine frame for the slide, lines cut where nothing is.

    On all 59 layouts the coordinates in that frame fall apart into lines at gaps of a third of a pitch. Wider gaps
    between sectors hold no line; gaps of 2.5 pitches and more inside a sparse sector hold the lines that fit. A core
    that is alone in an outermost line is an orientation core, off the grid. `kept`: cores that are still there.
    """
    distance, index = cKDTree(places).query(places, 5)
    step = (places[index[:, 1:]] - places[:, None]).reshape(-1, 2)
    length, usual = np.hypot(*step.T), np.median(distance[:, 1])
    step = step[(length > 0.8 * usual) & (length < 1.35 * usual)]
    angle = np.degrees(np.arctan2(step[:, 0], step[:, 1]))
    u, v = np.median(step[np.abs(angle) < 35], axis=0), np.median(step[np.abs(angle - 90) < 35], axis=0)
    flat = np.linalg.solve(np.stack([u, v], axis=1), (places - places.mean(axis=0)).T)
    lines, places_of = [], []
    for value in flat:
        order = np.argsort(value)
        cut = np.concatenate([[0], np.cumsum(np.diff(value[order]) > 0.33)])
        line = np.empty(len(value), int)
        line[order] = cut
        lines.append(line)
        places_of.append(np.array([value[line == n].mean() for n in range(cut[-1] + 1)]))
    off = np.zeros(len(places), bool)
    for line in lines:
        for edge in (0, line.max()):
            if (line == edge).sum() == 1:
                off |= line == edge
    on = ~off
    numbered = []
    for line, place in zip(lines, places_of, strict=True):
        used = np.unique(line[on])
        gap = np.diff(place[used])
        number = np.concatenate([[0], np.cumsum(np.where(gap < 2.5, 1, np.round(gap)).astype(int))])
        full = np.full(line.max() + 1, -1)
        full[used] = number
        numbered.append(np.where(on, full[line], -1))
    return numbered[1], numbered[0]


def staged(layout: Layout, condition: str) -> Scene:
    """Draw a layout.

    Where cores are dropped, each row and column keeps one at least: a line of which nothing is left is nowhere on the
    picture, and its number could not be known.
    """
    rng = np.random.default_rng([zlib.crc32(layout.name.encode()), CONDITIONS.index(condition)])
    places = layout.centres
    kept = np.ones(len(places), bool)
    if condition == "rotated":
        places = rotated(places, rng.uniform(0, 15) * rng.choice([-1, 1]))
    if condition == "warped":
        places = warped(places, rng, 2.1 * layout.radius)
    if condition == "dropped":
        kept = rng.random(len(places)) > 0.15
        for line in (layout.row, layout.column):
            for n in range(line.max() + 1):
                if (line == n).any() and not kept[line == n].any():
                    kept[np.flatnonzero(line == n)[0]] = True
    places = places - np.minimum(places[kept].min(axis=0) - 3 * layout.radius, 0)
    picture = render(places[kept], layout.radius, rng, pale=condition == "pale", debris=condition == "dropped")
    slide = Slide.from_arrays(picture, name=layout.name)
    return Scene(slide, places, layout.row, layout.column, kept, layout.radius)


def rotated(places: Points, degrees: float) -> Points:
    a = np.radians(degrees)
    turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    return (places - places.mean(axis=0)) @ turn + places.mean(axis=0)


def warped(places: Points, rng: np.random.Generator, pitch: float) -> Points:
    """Smooth bend of up to 0.6 pitch and a pitch that drifts by 4 % over the slide."""
    centre, half = places.mean(axis=0), np.ptp(places, axis=0).max() / 2
    p = (places - centre) / half
    phase = rng.uniform(0, 2 * np.pi, 2)
    bend = np.stack([np.sin(2.2 * p[:, 1] + phase[0]), np.sin(2.2 * p[:, 0] + phase[1])], axis=1)
    return centre + half * (p + 0.02 * p * p[:, ::-1] + 0.02 * p * np.abs(p)) + 0.6 * pitch * bend


def render(
    places: Points, radius: float, rng: np.random.Generator, *, pale: bool = False, debris: bool = False
) -> npt.NDArray[np.uint8]:
    """A slide of discs with grain, bites, tears and crescents, on uneven glass with noise."""
    h, w = (int(n) for n in np.maximum(places.max(axis=0) + 3 * radius, (400, 1024)))
    density = np.zeros((h, w), np.float32)
    grain = ndimage.gaussian_filter(rng.standard_normal((h, w)).astype(np.float32), 0.8)
    grain /= grain.std()
    for y, x in places:
        shade = rng.uniform(0.05, 0.09) if pale else rng.choice([0.08, 0.12, 0.2, 0.35]) * rng.uniform(0.8, 1.2)
        reach = int(radius) + 3
        y0, x0 = max(0, int(y) - reach), max(0, int(x) - reach)
        window = density[y0 : int(y) + reach, x0 : int(x) + reach]
        yy, xx = np.ogrid[y0 : y0 + window.shape[0], x0 : x0 + window.shape[1]]
        disc = np.clip(radius * rng.uniform(0.93, 1.05) + 0.5 - np.hypot(yy - y, xx - x), 0, 1)
        kind = rng.random()
        if kind < 0.3:  # a bite, a crescent, or little left
            away = radius * rng.choice([1.1, 0.8, 0.55], p=[0.7, 0.2, 0.1])
            turn = rng.uniform(0, 2 * np.pi)
            gone = np.hypot(yy - y - away * np.sin(turn), xx - x - away * np.cos(turn)) < 0.75 * radius
            disc = disc * ~gone
        elif kind < 0.4:  # a tear
            turn = rng.uniform(0, np.pi)
            disc = disc * (np.abs((yy - y) * np.cos(turn) - (xx - x) * np.sin(turn)) > 0.12 * radius)
        local = grain[y0 : y0 + window.shape[0], x0 : x0 + window.shape[1]]
        np.maximum(window, disc * shade * np.clip(1 + 0.35 * local, 0.2, None), out=window)
    if debris:
        _litter(density, radius, rng, len(places))
    yy, xx = np.mgrid[0:h, 0:w] / max(h, w)
    density += 0.015 * (yy + xx * 0.7) + 0.004 * rng.standard_normal((h, w))
    tint = np.array([0.36, 0.36, 0.28]) * rng.uniform(0.95, 1.05, 3)
    white = np.array([238, 236, 240])
    return np.clip(white * 10 ** (-density[..., None] * tint), 0, 255).astype(np.uint8)


def _litter(density: npt.NDArray[np.float32], radius: float, rng: np.random.Generator, count: int) -> None:
    """Dust, out-of-focus blobs, a hair and a pen stroke."""
    h, w = density.shape
    specks = np.zeros_like(density)
    n = 3 * count
    specks[rng.integers(0, h, n), rng.integers(0, w, n)] = rng.uniform(0.005, 0.02, n) * radius**2
    density += ndimage.gaussian_filter(specks, 0.055 * radius)
    blobs = np.zeros_like(density)
    n = max(2, count // 25)
    blobs[rng.integers(0, h, n), rng.integers(0, w, n)] = rng.uniform(0.3, 0.8, n) * 2 * np.pi * (radius / 3) ** 2 * 0.2
    density += ndimage.gaussian_filter(blobs, radius / 3)
    for width, shade in ((1.5, 0.3), (radius / 3, 0.5)):
        t = np.linspace(0, 1, 4 * max(h, w))
        y0, y1, x0, x1 = rng.uniform(0, h), rng.uniform(0, h), rng.uniform(0, w), rng.uniform(0, w)
        y = y0 + (y1 - y0) * t * 0.3 + 2 * radius * np.sin(5 * t)
        x = x0 + (x1 - x0) * t * 0.3
        line = np.ones((h, w), bool)
        line[np.clip(y, 0, h - 1).astype(int), np.clip(x, 0, w - 1).astype(int)] = False
        density[ndimage.distance_transform_edt(line) < width] = shade
