"""How well cores are found: real overviews, real layouts drawn with damage, and a big slide.

    python benchmarks/dearray.py [--quick] [--peer PYTHON] [--save FOLDER]

Prints one line per slide and, last, one line of JSON:

mean_f1, worst_f1        centres on the real overviews against the published marks (matched within one radius)
mean_f1_amended, ...     the same after the marks that are visibly wrong are set right (`AMENDED`, with the reason)
centre_error_radii       middle distance from the mark, in radii
seconds_median           to find the cores of an overview, the picture already read
dearrayer_ratio          seconds of the PyPI package dearrayer / ours on the same overviews; null without --peer
dearrayer                its mean and worst F1 there, grid size and diameter given; null without --peer
layouts, layouts_worst   share of cores at the right row and column, by condition, neither diameter nor size given
missing                  sensitivity and specificity for missing cores, 15 % gone, of all and of the worst layout
wrong_diameter           share right with a diameter told 30 % too small and too large, and how often that was noticed
right_above_0.9, ...     share of positions that are right among those found with a confidence above 0.9, how many those
                         are, the share right below, and a table by confidence: overviews and layouts taken together
big_slide                a pyramidal file of 100,000 x 60,000 pixels: see `big_slide.py`

Data: folder `NAPARI_HER2_REAL_DATA` (default ../shared/data); what is absent is skipped. --peer names the Python of a
separate environment that holds dearrayer (GPL: no dependency of ours).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.optimize import linear_sum_assignment

from big_slide import run_big_slide
from napari_her2.cores import CoreGrid, CoreState
from napari_her2.dearray import DearrayParams, find_cores
from napari_her2.errors import CoresError
from napari_her2.slide import Slide
from tma_layouts import CONDITIONS, Scene, layouts, staged

AS_FOUND = DearrayParams()
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
class Verdict:
    """Whether a position is right; no confidence where none was found."""

    kind: str  # kept, gone, lone
    right: bool
    confidence: float | None = None


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


def f1(found: Points, marks: Points, radius: float) -> float:
    return 2 * len(match(found, marks, radius)[0]) / (len(found) + len(marks))


def judge_overview(grid: CoreGrid, marks: Points, radius: float) -> list[Verdict]:
    """Tissue is right where there is a mark, missing where there is none within a radius."""
    tissue = [c for c in grid if c.state is CoreState.TISSUE]
    right = set(match(centres(grid), marks, radius)[0].tolist())
    out = [Verdict("kept", n in right, c.found_confidence or 0.0) for n, c in enumerate(tissue)]
    for c in grid:
        if c.state is CoreState.MISSING:
            free = np.hypot(*(marks - [c.y, c.x]).T).min() > radius
            out.append(Verdict("gone", bool(free), c.found_confidence or 0.0))
    return out


def run_overviews(save: Path | None) -> tuple[dict[str, object], list[Verdict]]:
    plain, amended, seconds, errors = [], [], [], []
    verdicts: list[Verdict] = []
    for name, slide, marks, radius in overviews():
        grid, times = CoreGrid(), []
        for _ in range(3):
            start = time.perf_counter()
            grid = find_cores(slide)
            times.append(time.perf_counter() - start)
        seconds.append(min(times))
        found = centres(grid)
        i, j, distance = match(found, marks, radius)
        full = np.concatenate([marks, np.array(AMENDED.get(name, [])).reshape(-1, 2)])
        plain.append(f1(found, marks, radius))
        amended.append(f1(found, full, radius))
        errors += (distance / radius).tolist()
        verdicts += judge_overview(grid, full, radius)
        print(
            f"{name:18s} {len(marks):4d} marks  {len(found):4d} found  {len(found) - len(i):3d} more "
            f"{len(marks) - len(j):3d} missed  F1 {plain[-1]:.3f}  amended {amended[-1]:.3f}  centre "
            f"{np.median(distance) / radius:.3f} r  {seconds[-1]:.2f} s",
            flush=True,
        )
        if save:
            draw(slide, grid, marks, radius, save / f"{name}.png")
    if not plain:
        return {}, []
    result: dict[str, object] = {
        "mean_f1": round(float(np.mean(plain)), 4),
        "worst_f1": round(min(plain), 4),
        "mean_f1_amended": round(float(np.mean(amended)), 4),
        "worst_f1_amended": round(min(amended), 4),
        "centre_error_radii": round(float(np.median(errors)), 3),
        "seconds_median": round(float(np.median(seconds)), 3),
    }
    return result, verdicts


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


def judge(grid: CoreGrid, scene: Scene) -> list[Verdict]:
    """For every position found and every core that was not: what it is, and whether that is right.

    A core with tissue is right when it has the row and column of a drawn core and its centre within one radius; a
    missing one when nothing was drawn at its row and column; one off the grid when a core off the grid is there.
    """
    on = scene.kept & (scene.row >= 0)
    cells = {(int(scene.row[i]), int(scene.column[i])): scene.places[i] for i in np.flatnonzero(on)}
    empty = {cell for cell in np.ndindex(*scene.size) if cell not in cells}
    lone = scene.places[scene.kept & (scene.row < 0)]
    out, met = [], set()
    for c in grid:
        cell, place, sure = (c.row, c.column), np.array([c.y, c.x]), c.found_confidence or 0.0
        if c.row < 0:
            near = len(lone) > 0 and np.hypot(*(lone - place).T).min() < scene.radius
            out.append(Verdict("lone", bool(near), sure))
        elif cell in cells:
            met.add(cell)
            near = np.hypot(*(cells[cell] - place)) < scene.radius
            out.append(Verdict("kept", bool(near and c.state is CoreState.TISSUE), sure))
        else:
            met.add(cell)
            out.append(Verdict("gone", cell in empty and c.state is CoreState.MISSING, sure))
    out += [Verdict("kept", False) for cell in cells if cell not in met]
    return out + [Verdict("gone", False) for cell in empty if cell not in met]


def share(verdicts: list[Verdict], kind: str) -> float:
    return float(np.mean([v.right for v in verdicts if v.kind == kind] or [1.0]))


def run_layouts(every: int) -> tuple[dict[str, object], list[Verdict]]:
    right: dict[str, list[float]] = {c: [] for c in CONDITIONS}
    told: dict[float, list[tuple[float, bool]]] = {0.7: [], 1.3: []}
    dropped: list[list[Verdict]] = []
    all_verdicts: list[Verdict] = []
    for layout in layouts(DATA, every):
        for condition in CONDITIONS:
            scene = staged(layout, condition)
            verdicts = judge(_find(scene.slide)[0], scene)
            right[condition].append(share(verdicts, "kept"))
            all_verdicts += [v for v in verdicts if v.confidence is not None]
            if condition == "dropped":
                dropped.append(verdicts)
            if condition == "as is":
                for factor, results in told.items():
                    grid, warned = _find(scene.slide, DearrayParams(core_diameter_px=2 * factor * layout.radius))
                    results.append((share(judge(grid, scene), "kept"), warned))
        line = "  ".join(f"{c} {r[-1]:.3f}" for c, r in right.items())
        wrong = "  ".join(f"told x {f:g} {r[-1][0]:.3f}" for f, r in told.items())
        gone = f"missing {share(dropped[-1], 'gone'):.3f}"
        print(f"{layout.name:24s} {len(layout.centres):4d} cores  {line}  {gone}  {wrong}", flush=True)
    if not dropped:
        return {}, []
    pooled = [v for verdicts in dropped for v in verdicts]
    result: dict[str, object] = {
        "layouts": {c: round(float(np.mean(s)), 4) for c, s in right.items()},
        "layouts_worst": {c: round(min(s), 4) for c, s in right.items()},
        "missing": {
            "sensitivity": round(share(pooled, "gone"), 4),
            "specificity": round(share(pooled, "kept"), 4),
            "worst_sensitivity": round(min(share(v, "gone") for v in dropped), 4),
            "worst_specificity": round(min(share(v, "kept") for v in dropped), 4),
        },
        "wrong_diameter": {
            f"x{factor:g}": {
                "right": round(float(np.mean([r for r, _ in results])), 4),
                "worst": round(min(r for r, _ in results), 4),
                "noticed": round(float(np.mean([w for _, w in results])), 3),
            }
            for factor, results in told.items()
        },
    }
    return result, all_verdicts


def _find(slide: Slide, params: DearrayParams = AS_FOUND) -> tuple[CoreGrid, bool]:
    """The cores, none where an error says so, and whether there was a warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            return find_cores(slide, params), bool(caught)
        except CoresError:
            return CoreGrid(), bool(caught)


# --- confidence -----------------------------------------------------------------------------------------------------

BINS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)


def reliability(verdicts: list[Verdict]) -> dict[str, object]:
    """Share of right positions above and below a confidence of 0.9, and by steps of it: [from, to, n, mean, right]."""
    if not verdicts:
        return {}
    sure = np.array([v.confidence or 0.0 for v in verdicts])
    right = np.array([v.right for v in verdicts])
    high = sure > 0.9
    table = []
    for low, top in itertools.pairwise(BINS):
        chosen = (sure > low) & (sure <= top) if low else sure <= top
        if chosen.any():
            row = [int(chosen.sum()), round(float(sure[chosen].mean()), 3), round(float(right[chosen].mean()), 3)]
            table.append([low, top, *row])
    return {
        "right_above_0.9": round(float(right[high].mean()), 4) if high.any() else None,
        "share_above_0.9": round(float(high.mean()), 4),
        "right_below_0.9": round(float(right[~high].mean()), 4) if not high.all() else None,
        "confidence_table": table,
    }


# --- beside a peer --------------------------------------------------------------------------------------------------

PEER = """
import json, sys, time
import numpy as np
from PIL import Image
from dearrayer.models import TissueMicroarray
from dearrayer.services.grid_detecting_service import GridDetectingService, GridDetectingServiceParameters
picture = 255 - np.asarray(Image.open(sys.argv[1]).convert("L"))
rows, columns, diameter = (int(n) for n in sys.argv[2:])
labels = [[str(n) for n in range(count)] for count in (columns, rows)]
start = time.perf_counter()
grid = GridDetectingService()(TissueMicroarray(picture), GridDetectingServiceParameters(diameter, *labels))
seconds = time.perf_counter() - start
side = max(picture.shape)
print(json.dumps([seconds, [[c.position.y * side, c.position.x * side] for c in grid.detected_cores.values()]]))
"""


def run_peer(python: str) -> tuple[float, dict[str, float]] | None:
    """Median seconds of dearrayer on the overviews, and its F1; the true diameter and our grid size are given to it."""
    seconds, scores = [], []
    for name, slide, marks, radius in overviews():
        grid = find_cores(slide)
        rows, columns = max(c.row for c in grid) + 1, max(c.column for c in grid) + 1
        path = str(DATA / "tma_overviews" / f"{name}.jpg")
        arguments = [python, "-c", PEER, path, str(rows), str(columns), str(round(2 * radius))]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"dearrayer on {name}: {done.stderr.strip().splitlines()[-1]}", flush=True)
            continue
        took, found = json.loads(done.stdout.splitlines()[-1])
        full = np.concatenate([marks, np.array(AMENDED.get(name, [])).reshape(-1, 2)])
        seconds.append(took)
        scores.append(f1(np.array(found).reshape(-1, 2), full, radius))
        print(f"{name:18s} dearrayer  F1 amended {scores[-1]:.3f}  {took:.1f} s", flush=True)
    if not seconds:
        return None
    both = {"mean_f1_amended": round(float(np.mean(scores)), 4), "worst_f1_amended": round(min(scores), 4)}
    return float(np.median(seconds)), both


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="every sixth layout only")
    parser.add_argument("--peer", help="Python of an environment with dearrayer")
    parser.add_argument("--save", type=Path, help="folder for pictures of the overviews with the found grid")
    chosen = parser.parse_args()
    result, verdicts = run_overviews(chosen.save)
    peer = run_peer(chosen.peer) if chosen.peer and result else None
    ours = result.get("seconds_median")
    result["dearrayer_ratio"] = round(peer[0] / ours, 1) if peer and isinstance(ours, float) else None
    result["dearrayer"] = peer[1] if peer else None
    drawn, more = run_layouts(6 if chosen.quick else 1)
    result |= drawn
    result |= reliability(verdicts + more)
    result["big_slide"] = run_big_slide()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
