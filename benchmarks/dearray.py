"""How well cores are found: real overviews, real layouts drawn with damage, and one slide with everything.

    python benchmarks/dearray.py [--quick] [--peer PYTHON] [--save FOLDER]

Prints one line per slide and condition and, last, one line of JSON:

mean_f1, worst_f1        centres on the real overviews against the published marks (matched within one radius)
mean_f1_amended, ...     the same after the marks that are visibly wrong are set right (`AMENDED`, with the reason)
seconds_median           to find the cores of an overview, the picture already read
dearrayer_ratio          seconds of the PyPI package dearrayer / ours on the same overviews; null without --peer
layouts                  share of cores at the right row and column, by condition, neither diameter nor size given
missing                  sensitivity and specificity for missing cores where 15 % are gone
wrong_diameter           share right with a diameter told 30 % too large, and how often that was noticed

Data: folder `NAPARI_HER2_REAL_DATA` (default ../shared/data); what is absent is skipped. --peer names the Python of a
separate environment that holds dearrayer (GPL: no dependency of ours).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from napari_her2.cores import CoreGrid, CoreState
from napari_her2.dearray import DearrayParams, find_cores
from napari_her2.errors import CoresError
from napari_her2.slide import Slide

CONDITIONS = ("as is", "rotated", "dropped", "warped", "pale")
Points = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DATA = Path(os.environ.get("NAPARI_HER2_REAL_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))

#: Cores that stand on an overview and are not marked, seen by eye: (y, x) in pixels of the overview.
AMENDED: dict[str, list[tuple[float, float]]] = {
    # the two lowest rows of this slide were not marked
    "ABC_103_1_009_1": [
        (1083, 232), (1058, 311), (1035, 384), (1027, 465),
        (1141, 327), (1119, 409), (1107, 486), (1096, 565), (1079, 647), (1050, 810),
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """Real centres with their row and column; -1 off the grid."""

    name: str
    centres: Points  # (y, x)
    radius: float
    row: Ints
    column: Ints


# --- real overviews -----------------------------------------------------------------------------------------------


def overviews() -> list[tuple[str, Slide, Points, float]]:
    """Name, slide, marks (y, x) and their radius."""
    out = []
    for path in sorted((DATA / "tma_overviews").glob("*.jpg")):
        marks = json.loads(path.with_suffix(".json").read_text())
        slide = Slide.from_arrays(np.asarray(Image.open(path).convert("RGB")), name=path.stem)
        out.append((path.stem, slide, np.array([[m["y"], m["x"]] for m in marks]), float(marks[0]["radius"])))
    return out


def match(found: Points, marks: Points, radius: float) -> tuple[Ints, Ints, Points]:
    """Pairs within one radius, best in sum, and their distances."""
    distance = np.hypot(*np.moveaxis(found[:, None] - marks[None], -1, 0))
    i, j = linear_sum_assignment(np.minimum(distance, radius))
    near = distance[i, j] < radius
    return i[near], j[near], distance[i, j][near]


def centres(grid: CoreGrid) -> Points:
    return np.array([[c.y, c.x] for c in grid if c.state is CoreState.TISSUE])


def run_overviews(save: Path | None) -> dict[str, object]:
    rows, seconds, errors, sure = [], [], [], []
    for name, slide, marks, radius in overviews():
        grid, times = CoreGrid(), []
        for _ in range(3):
            start = time.perf_counter()
            grid = find_cores(slide)
            times.append(time.perf_counter() - start)
        seconds.append(min(times))
        found = centres(grid)
        i, j, distance = match(found, marks, radius)
        f1 = 2 * len(i) / (len(found) + len(marks))
        full = np.concatenate([marks, np.array(AMENDED.get(name, [])).reshape(-1, 2)])
        right, _, _ = match(found, full, radius)
        amended = 2 * len(right) / (len(found) + len(full))
        tissue = [c for c in grid if c.state is CoreState.TISSUE]
        sure += [(c.found_confidence or 0.0, n in set(right.tolist())) for n, c in enumerate(tissue)]
        errors += (distance / radius).tolist()
        rows.append((f1, amended))
        print(
            f"{name:18s} {len(marks):4d} marks  {len(found):4d} found  {len(found) - len(i):3d} more "
            f"{len(marks) - len(j):3d} missed  F1 {f1:.3f}  amended {amended:.3f}  centre "
            f"{np.median(distance) / radius:.3f} r  {seconds[-1]:.2f} s"
        )
        if save:
            draw(slide, grid, marks, radius, save / f"{name}.png")
    if not rows:
        return {}
    high = [right for confidence, right in sure if confidence > 0.9]
    return {
        "mean_f1": round(float(np.mean([r[0] for r in rows])), 4),
        "worst_f1": round(min(r[0] for r in rows), 4),
        "mean_f1_amended": round(float(np.mean([r[1] for r in rows])), 4),
        "worst_f1_amended": round(min(r[1] for r in rows), 4),
        "centre_error_radii": round(float(np.median(errors)), 3),
        "right_above_0.9": round(float(np.mean(high)), 4),
        "share_above_0.9": round(len(high) / len(sure), 3),
        "seconds_median": round(float(np.median(seconds)), 3),
    }


def draw(slide: Slide, grid: CoreGrid, marks: Points, radius: float, path: Path) -> None:
    """The found grid (green tissue, red missing, blue off it) over the marks (magenta squares)."""
    picture, downsample = slide.overview(1400)
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    for y, x in marks / downsample:
        r = radius / downsample
        pen.rectangle([x - r, y - r, x + r, y + r], outline=(255, 0, 255))
    for c in grid:
        y, x, r = c.y / downsample, c.x / downsample, c.diameter / 2 / downsample
        colour = (0, 0, 255) if c.row < 0 else (0, 150, 0) if c.state is CoreState.TISSUE else (255, 0, 0)
        pen.ellipse([x - r, y - r, x + r, y + r], outline=colour, width=2)
        pen.text((x - r / 2, y - 6), c.name, fill=colour)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


# --- real layouts, drawn ------------------------------------------------------------------------------------------


def layouts(every: int = 1) -> list[Layout]:
    out = []
    for path in sorted((DATA / "tma_layouts").glob("*.json"))[::every]:
        marks = json.loads(path.read_text())
        places = np.array([[m["y"], m["x"]] for m in marks])
        spacing = float(np.median(cKDTree(places).query(places, 2)[0][:, 1]))
        # marks are drawn generously and overlap; real cores are at most 1 / 1.05 of their spacing across
        radius = min(float(np.median([m["radius"] for m in marks])), 0.475 * spacing)
        row, column = true_lattice(places, np.ones(len(places), bool))
        out.append(Layout(path.stem, places, radius, row, column))
    return out


def true_lattice(places: Points, kept: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
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
    on = kept & ~off
    numbered = []
    for line, place in zip(lines, places_of, strict=True):
        used = np.unique(line[on])
        gap = np.diff(place[used])
        number = np.concatenate([[0], np.cumsum(np.where(gap < 2.5, 1, np.round(gap)).astype(int))])
        full = np.full(line.max() + 1, -1)
        full[used] = number
        numbered.append(np.where(on, full[line], -1))
    return numbered[1], numbered[0]


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


def judge(grid: CoreGrid, places: Points, row: Ints, column: Ints, radius: float) -> tuple[int, int]:
    """How many cores have the right row and column and a centre within one radius, and how many there are."""
    by_cell = {(c.row, c.column): c for c in grid if c.row >= 0}
    right = 0
    on = np.flatnonzero(row >= 0)
    for i in on:
        c = by_cell.get((int(row[i]), int(column[i])))
        right += c is not None and np.hypot(c.y - places[i, 0], c.x - places[i, 1]) < radius
    return right, len(on)


def staged(layout: Layout, condition: str, k: int) -> tuple[Slide, Points, Ints, Ints]:
    """A layout drawn under a condition, with the true places, rows and columns (-1: off the grid, or gone)."""
    rng = np.random.default_rng([zlib.crc32(layout.name.encode()), k])
    places, row, column = layout.centres, layout.row, layout.column
    kept = np.ones(len(places), bool)
    if condition == "rotated":
        places = rotated(places, rng.uniform(0, 15) * rng.choice([-1, 1]))
    if condition == "warped":
        places = warped(places, rng, 2.1 * layout.radius)
    if condition == "dropped":
        kept = rng.random(len(places)) > 0.15
        row, column = true_lattice(layout.centres, kept)
    places = places - np.minimum(places[kept].min(axis=0) - 3 * layout.radius, 0)
    picture = render(places[kept], layout.radius, rng, pale=condition == "pale", debris=condition == "dropped")
    return Slide.from_arrays(picture, name=layout.name), places, row, column


def run_layouts(every: int) -> dict[str, object]:
    share: dict[str, list[float]] = {c: [] for c in CONDITIONS}
    gone_right, gone_all, kept_right, kept_all = 0, 0, 0, 0
    told: list[float] = []
    noticed = 0
    for layout in layouts(every):
        line = []
        for k, condition in enumerate(CONDITIONS):
            slide, places, row, column = staged(layout, condition, k)
            grid = _find(slide)
            right, of = judge(grid, places, row, column, layout.radius)
            share[condition].append(right / of)
            line.append(f"{condition} {right / of:.3f}")
            if condition == "dropped":
                states = {(c.row, c.column): c.state for c in grid if c.row >= 0}
                present = {(int(r), int(c)) for r, c in zip(row, column, strict=True) if r >= 0}
                size = row.max() + 1, column.max() + 1
                for cell in np.ndindex(*(int(n) for n in size)):
                    state = states.get(cell)
                    if cell in present:
                        kept_all += 1
                        kept_right += state is CoreState.TISSUE
                    else:
                        gone_all += 1
                        gone_right += state is CoreState.MISSING
            if condition == "as is":
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    wrong = _find(slide, 2.6 * layout.radius)
                noticed += bool(caught)
                told.append(judge(wrong, places, row, column, layout.radius)[0] / of)
        print(f"{layout.name:24s} {len(layout.centres):4d} cores  " + "  ".join(line), flush=True)
    if not told:
        return {}
    return {
        "layouts": {c: round(float(np.mean(s)), 4) for c, s in share.items()},
        "layouts_worst": {c: round(min(s), 4) for c, s in share.items()},
        "missing": {
            "sensitivity": round(gone_right / gone_all, 4),
            "specificity": round(kept_right / kept_all, 4),
        },
        "wrong_diameter": {"right": round(float(np.mean(told)), 4), "noticed": round(noticed / len(told), 3)},
    }


def _find(slide: Slide, diameter: float | None = None) -> CoreGrid:
    try:
        return find_cores(slide, DearrayParams(core_diameter_px=diameter))
    except CoresError:
        return CoreGrid()


# --- beside a peer ------------------------------------------------------------------------------------------------


def run_peer(python: str, ours: float) -> float | None:
    """Median seconds of dearrayer on the overviews, in its own environment, over ours."""
    code = """
import sys, time
import numpy as np
from PIL import Image
from dearrayer.models import TissueMicroarray
from dearrayer.services.grid_detecting_service import GridDetectingService, GridDetectingServiceParameters
picture = 255 - np.asarray(Image.open(sys.argv[1]).convert("L"))
rows, columns, diameter = (int(n) for n in sys.argv[2:])
labels = [[str(n) for n in range(count)] for count in (columns, rows)]
start = time.perf_counter()
GridDetectingService()(TissueMicroarray(picture), GridDetectingServiceParameters(diameter, *labels))
print(time.perf_counter() - start)
"""
    seconds = []
    for name, slide, _, radius in overviews():
        grid = find_cores(slide)
        rows, columns = max(c.row for c in grid) + 1, max(c.column for c in grid) + 1
        path = str(DATA / "tma_overviews" / f"{name}.jpg")
        arguments = [python, "-c", code, path, str(rows), str(columns), str(int(2 * radius))]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"dearrayer on {name}: {done.stderr.strip().splitlines()[-1]}")
            continue
        seconds.append(float(done.stdout.split()[-1]))
    return round(float(np.median(seconds)) / ours, 1) if seconds else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="every sixth layout only")
    parser.add_argument("--peer", help="Python of an environment with dearrayer")
    parser.add_argument("--save", type=Path, help="folder for pictures of the overviews with the found grid")
    chosen = parser.parse_args()
    result: dict[str, object] = run_overviews(chosen.save)
    seconds = result.get("seconds_median")
    result["dearrayer_ratio"] = run_peer(chosen.peer, seconds) if chosen.peer and isinstance(seconds, float) else None
    result |= run_layouts(6 if chosen.quick else 1)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
