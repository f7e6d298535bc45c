"""The network that a cell's class is told by (`membrane.features`), fitted to generated cells of known class.

Cores of 520 µm as `benchmarks/measure.py` makes them, of other numbers: any laboratory and scanner, with and without
brown where none belongs, the reference, at 0.5 and 0.25 µm/px; none of the blind ones. Besides, plain cells painted on
glass, so that what holds for every picture holds for strange ones too. The tumour is known, but in some looks alone
tell which cells count, and what is no tumour is to be class 0; up to 400 cells of a core are fitted to, but each is
described beside all of its core. Four networks of two hidden layers say whether a cell is at least 1+, 2+ and 3+, and
how complete its membrane is (what the generator asks of the class, not what it drew). Each core of a group weighs
alike; last, constants are moved so that the shares of each core's cells come out least wrong.

Prints what is held out of five parts in turn; with -o writes the network fitted to all.

python benchmarks/cell_classes.py --cache FOLDER -o src/napari_her2/data/cell_classes.json   # 40 minutes
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from scipy.special import expit

from measure import COMPLETE, SEED, core_of, known, summary  # isort: skip  (beside this file)
from napari_her2.files import writing
from napari_her2.measure import MPP, Measurement, MeasureParams, _read_block, measure_pixels
from napari_her2.membrane.features import CellNetwork, Layers, described, outline_od
from napari_her2.stain import QUPATH_STAINS, estimate_stains
from napari_her2.training.evaluate import whole_picture
from napari_her2.training.staining import _COMPLETE, _LEVELS, _LINE_OD, cell_levels, draw_percent

#: How many cores of each group, and how much a group weighs.
CORES = {
    **{"any": 600, "clean": 500, "reference": 260, "any 0.25": 100},
    **{"any, looks": 200, "clean, looks": 120, "reference, looks": 100, "painted": 400},
}
WEIGHT = dict.fromkeys(CORES, 0.4) | {"any": 1.0, "clean": 1.0, "reference": 1.0, "painted": 0.8}
#: Number of the first core, cells of a core that are fitted to, parts of which each is held out once.
FIRST, CELLS, PARTS = 1000, 400, 5
MEMBERS, HIDDEN, RATE, DECAY, EPOCHS, BATCH = 4, (64, 32), 4e-3, 1e-2, 12, 1024
#: Light through the glass of painted pictures.
GLASS = (240.0, 240.0, 244.0)
#: Of a core: group, number; of each counted cell: brown (`outline_od`), true class, how complete its membrane is.
Cells = tuple[str, int, np.ndarray, np.ndarray, np.ndarray]


def painted(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Square cells with round nuclei on glass: a picture, class and completeness of each cell, its side in pixels.

    In half of the pictures density and completeness go together, as the generator has it; in the others not.
    """
    rng = np.random.default_rng((SEED, 77, number))
    pitch, side = int(rng.integers(20, 31)), int(rng.integers(10, 20))
    n = side * pitch
    y, x = np.mgrid[:n, :n]
    row, column = y // pitch, x // pitch
    v, u = y % pitch - pitch / 2 + 0.5, x % pitch - pitch / 2 + 0.5
    percent = draw_percent(rng, number % 4) if rng.random() < 0.6 else 100.0 * np.eye(4)[number % 4]
    field = rng.standard_normal(side * side) if rng.random() < 0.5 else np.arange(side * side) * 1.0
    levels = cell_levels(rng, percent, field, 0.0).reshape(side, side)
    if rng.random() < 0.5:  # all the cells of a class alike
        levels = np.floor(levels) + (rng.uniform(0.2, 0.8) if levels.max() >= 1 else 0.0)
    gain = float(np.exp(rng.normal(0, 0.15)))
    od, share = (np.interp(levels, _LEVELS, numbers) for numbers in (_LINE_OD, _COMPLETE))
    apart = rng.random() < 0.5
    if apart:
        od = np.where(levels < 1, 0.0, np.exp(rng.uniform(np.log(0.03), np.log(1.2))))
        share = np.full_like(od, rng.uniform(0.04, 1.1))
    shift = rng.normal(0, 0.03 * pitch, (2, side, side))
    away = np.hypot(v - shift[0][row, column], u - shift[1][row, column])
    h = 0.03 + rng.uniform(0.08, 0.25) / (1 + np.exp((away - 0.31 * pitch) / 0.7))
    begins = rng.random((side, side)) if rng.random() < 0.5 else np.zeros((side, side))
    turn = ((np.arctan2(v, u) + np.pi) / (2 * np.pi) + begins[row, column]) % 1
    wide = rng.uniform(0.9, 1.6)
    line = np.exp(-(((pitch / 2 - np.maximum(abs(v), abs(u))) / wide) ** 2)) * (turn < share[row, column])
    d = gain * od[row, column] * line
    edge = np.maximum(abs(v), abs(u)) > pitch / 2 - 1
    stained = ndimage.maximum_filter(d > 0.4 * gain * od.max() * np.exp(-0.5), 3) & (od.max() > 0.02)
    complete = ndimage.mean(stained[edge], (row * side + column)[edge], np.arange(side * side)).reshape(side, side)
    classes = np.floor(levels).astype(int)
    if apart:
        strong, moderate = od >= 0.5, od >= 0.15
        second = (moderate & (complete >= 0.6)) | (strong & (complete >= 0.4))
        classes = np.where(strong & (complete >= 0.85), 3, np.where(second, 2, (od >= 0.04) & (complete >= 0.12)))
    cytoplasm = rng.uniform(0, 0.4) * (rng.random() < 0.4) * (1 if levels.max() < 1 else 0.1)
    h, d = (np.pad(a, 40) for a in (h, np.maximum(d, cytoplasm)))
    light = np.array(GLASS) * 10 ** -(
        h[..., None] * np.array(QUPATH_STAINS.hematoxylin) + d[..., None] * np.array(QUPATH_STAINS.dab)
    )
    blur = rng.uniform(0, 0.7)
    light = ndimage.gaussian_filter(light, (blur, blur, 0)) + rng.normal(0, rng.uniform(0.3, 2), light.shape)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8), classes, complete, pitch


def measured(job: tuple[str, int, Path]) -> Cells:
    """A core of a group; kept in the cache."""
    group, number, cache = job
    path = cache / f"{group.replace(' ', '-')}-{number}.npz"
    if not path.exists() and group == "painted":
        picture, classes, complete, pitch = painted(number)
        stains = replace(QUPATH_STAINS, white=GLASS)
        params = MeasureParams(min_cells=1, threads=1)
        found = measure_pixels(picture, stains, params, tumour=np.ones(picture.shape[:2], bool))
        at = [np.clip(((a - 40) // pitch).astype(int), 0, len(classes) - 1) for a in (found.y, found.x)]
        _keep(path, found, classes[at[0], at[1]], complete[at[0], at[1]])
    elif not path.exists():
        kind, looks = group.removesuffix(", looks"), group.endswith(", looks")
        tissue, slide = core_of(kind, FIRST + number + (5000 if looks else 0))
        params, stains = MeasureParams(min_cells=1, threads=1), estimate_stains(slide)
        if looks:  # what is no tumour is counted, too
            found = measure_pixels(_read_block(slide, whole_picture(slide)), stains, params, disc=True)
        else:
            found = known(tissue, slide, stains, params)
        step = MPP / slide.require_mpp()
        rows, columns = ((at * step).astype(int) for at in (found.y, found.x))
        shape = tissue.classes.shape
        true = tissue.classes[rows.clip(0, shape[0] - 1), columns.clip(0, shape[1] - 1)].astype(int) - 1
        true = np.where((true >= 0) & (true < 4), true, 0)
        _keep(path, found, true, COMPLETE[true])
    with np.load(path) as kept:
        return group, number, kept["od"].astype(float), kept["true"], kept["complete"]


def _keep(path: Path, found: Measurement, true: np.ndarray, complete: np.ndarray) -> None:
    with writing(path, overwrite=True) as temporary, temporary.open("wb") as file:
        np.savez(file, od=outline_od(found.rings).astype(np.float32), true=true, complete=complete)


def fitted(cores: list[Cells]) -> CellNetwork:
    """The network fitted to those cores."""
    numbers, true, whole, weight = [], [], [], []
    for (_, number, od, cls, complete), share in zip(cores, _weights(cores), strict=True):
        some = np.random.default_rng(number).permutation(len(od))[:CELLS]
        numbers.append(described(od)[some])
        true.append(cls[some])
        whole.append(complete[some])
        weight.append(np.full(len(some), share / max(1, len(some))))
    x, y, w = np.concatenate(numbers), np.concatenate(true), np.concatenate(weight)
    mean = np.average(x, axis=0, weights=w)
    scale = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=w))
    plain = CellNetwork(mean, scale, ())
    x, complete, w = plain.standard(x), np.concatenate(whole), w / w.mean()
    found = replace(plain, members=tuple(_learned(x, y, complete, w, SEED + k) for k in range(MEMBERS)))
    return _least_wrong(found, cores)


def _weights(cores: list[Cells]) -> np.ndarray:
    """How much each core weighs."""
    count = {group: sum(core[0] == group for core in cores) for group in CORES}
    return np.array([WEIGHT[group] / count[group] for group, *_ in cores])


def _learned(x: np.ndarray, y: np.ndarray, complete: np.ndarray, weight: np.ndarray, seed: int) -> Layers:
    torch.manual_seed(seed)
    sizes = [x.shape[1], *HIDDEN, 4]
    linear = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    network = torch.nn.Sequential(*[part for layer in linear for part in (layer, torch.nn.SiLU())][:-1])
    seen, w = torch.tensor(x, dtype=torch.float32), torch.tensor(weight, dtype=torch.float32)
    asked = np.column_stack([y >= 1, y >= 2, y >= 3, complete])
    asked, counts = torch.tensor(asked, dtype=torch.float32), torch.tensor([1.0, 1.0, 1.0, 2.0])
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    steps = EPOCHS * len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(steps):
        some = torch.randint(0, len(x), (BATCH,))
        off = torch.nn.functional.binary_cross_entropy_with_logits(network(seen[some]), asked[some], reduction="none")
        optimizer.zero_grad()
        (w[some] * (off @ counts)).mean().backward()
        optimizer.step()
        schedule.step()
    return tuple(
        (layer.weight.detach().numpy().T.astype(float), layer.bias.detach().numpy().astype(float)) for layer in linear
    )


def _least_wrong(network: CellNetwork, cores: list[Cells]) -> CellNetwork:
    """The same with constants by which the cores' shares of cells come out right."""
    logits = [network(described(od)) for _, _, od, *_ in cores]
    shifts, per_core, moved = np.arange(-1.5, 1.55, 0.05), _weights(cores), np.zeros(4)
    for k in range(3):
        share = np.array([(cls > k).mean() for *_, cls, _ in cores])
        found = np.array([[(one[:, k] > -shift).mean() for shift in shifts] for one in logits])
        moved[k] = shifts[(per_core @ np.abs(found - share[:, None])).argmin()]
    members = tuple((*most, (weights, constants + moved)) for *most, (weights, constants) in network.members)
    return replace(network, members=members)


def classes_of(network: CellNetwork, od: np.ndarray) -> tuple[np.ndarray, float]:
    """Percent of the cells of a core in each class, and their mean completeness."""
    logits = network(described(od))
    at_least = np.minimum.accumulate(logits[:, :3].T > 0)
    percent = 100 * np.bincount(at_least.sum(axis=0), minlength=4) / len(od)
    return percent, float(expit(logits[:, 3]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder for what is measured")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    jobs = [(group, number, options.cache) for group, count in CORES.items() for number in range(count)]
    with ProcessPoolExecutor(options.jobs) as pool:
        cores = [core for core in pool.map(measured, jobs) if len(core[2])]
    rows: dict[str, list[tuple[np.ndarray, np.ndarray, float, float]]] = {}
    for part in range(PARTS):
        network = fitted([core for k, core in enumerate(cores) if k % PARTS != part])
        for group, _, od, cls, complete in cores[part::PARTS]:
            percent, completeness = classes_of(network, od)
            true = 100 * np.bincount(cls, minlength=4) / len(cls)
            rows.setdefault(group, []).append((true, percent, completeness, float(complete.mean())))
    for group, several in rows.items():
        true, percent, completeness, complete = (np.array(column) for column in zip(*several, strict=True))
        found = summary(true, percent, completeness) | {
            "completeness_error": round(float(np.abs(completeness - complete).mean()), 3)
        }
        print(f"held out, {group}: {found}", flush=True)
    if options.output:
        network = fitted(cores)
        content = {
            "fitted to": {group: sum(core[0] == group for core in cores) for group in CORES},
            "mean": np.round(network.mean, 4).tolist(),
            "scale": np.round(network.scale, 4).tolist(),
            "members": [[[np.round(part, 4).tolist() for part in layer] for layer in one] for one in network.members],
        }
        options.output.write_text(json.dumps(content) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
