"""Tumour or not, nucleus by nucleus: `tumour_likeness` on real cores, against nuclei labelled by eye.

`tumour_cells.csv` holds 866 outlines of seven cores (centre in µm), labelled by one of us, no pathologist: 540 drawn at
random among all outlines of a core; 40 chosen where two cores have tumour; and 286 in ten random fields of 100 µm a
side, all that this rule, the one before, or the network's tumour would count there. Weights are fitted to the first
two, leaving one core out each time. Left out of the fit are outlines in the cytoplasm of tumour, in glands that may be
benign, and those that cannot be told; in the fields only the last are left out, and the others count as tumour.

NAPARI_HER2_REAL_DATA=... python benchmarks/tumour_cells.py     # 40 CPU seconds; skipped without the data
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.optimize import minimize
from scipy.spatial import cKDTree

from napari_her2.engine import open_engine
from napari_her2.measure import MPP, MeasureParams, _at, _read_block, measure_core
from napari_her2.membrane.epithelium import tumour_features
from napari_her2.membrane.nuclei import halved
from napari_her2.membrane.tumour import tumour_of_places
from napari_her2.models import load_model
from napari_her2.scoring import score_cores
from napari_her2.slide import Slide
from napari_her2.square import MASK_STEP
from napari_her2.stain import estimate_stains, unmix
from napari_her2.training.evaluate import whole_picture

LABELS = Path(__file__).with_suffix(".csv")
LEFT_OUT = ("unknown", "gland", "no nucleus in tumour")
#: Ridge penalty on the weights of standardised features.
RIDGE = 5.0


def described(path: Path, rows: list[dict[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """Features of the labelled outlines of a core, and which of them lie in the tumour that the network sees."""
    model = load_model()
    slide = Slide.from_arrays(np.asarray(Image.open(path)), name=path.stem, mpp=0.25)
    core, stains = whole_picture(slide), estimate_stains(slide)
    nuclei = measure_core(slide, core, stains).nuclei
    assert nuclei is not None
    h, d = unmix(_read_block(slide, core), stains)
    features = tumour_features(nuclei, halved(h), halved(d), 2 * MPP)
    places = next(iter(score_cores(slide, [core], model, engine=open_engine(model, "cpu")))).places
    assert places is not None
    seen = _at(tumour_of_places(places, core.box, MASK_STEP * MPP / 0.25), nuclei, MPP * MASK_STEP)
    centres = [(float(row["y_um"]), float(row["x_um"])) for row in rows]
    distance, nearest = cKDTree(np.stack([nuclei.y, nuclei.x], axis=1)).query(centres)
    assert distance.max() < 1.0, f"{path.stem}: an outline has moved, label it again"
    return features[nearest], seen[nearest]


def fitted(features: np.ndarray, tumour: np.ndarray, core: np.ndarray) -> np.ndarray:
    """Weights and constant; a core's tumour nuclei, and its others, weigh by the root of their number."""
    weight = np.ones(len(core))
    for which in {(c, t) for c, t in zip(core, tumour, strict=True)}:
        same = (core == which[0]) & (tumour == which[1])
        weight[same] = 1 / np.sqrt(same.sum())
    weight /= weight.mean()
    mean, spread = np.average(features, axis=0, weights=weight), features.std(axis=0)
    z = np.c_[(features - mean) / spread, np.ones(len(features))]

    def loss(b: np.ndarray) -> tuple[float, np.ndarray]:
        odds = z @ b
        ridge = RIDGE * np.r_[b[:-1], 0]
        value = weight @ np.logaddexp(0, np.where(tumour, -odds, odds)) + 0.5 * ridge @ b
        return value, z.T @ (weight * (1 / (1 + np.exp(-odds)) - tumour)) + ridge

    b = minimize(loss, np.zeros(z.shape[1]), jac=True, method="L-BFGS-B").x
    return np.r_[b[:-1] / spread, b[-1] - (b[:-1] / spread) @ mean]


def main() -> None:
    folder = Path(os.environ.get("NAPARI_HER2_REAL_DATA", "")) / "her2_cores"
    if not folder.is_dir():
        print("Skipped: NAPARI_HER2_REAL_DATA names no folder with her2_cores.")
        return
    with LABELS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {n: described(next(folder.glob(f"{n}*")), [r for r in rows if r["core"] == n]) for n in _names(rows)}
    features, seen = (np.concatenate([found[name][k] for name in found]) for k in (0, 1))
    rows = [row for name in found for row in rows if row["core"] == name]
    core, label, drawn = (np.array([row[k] for row in rows]) for k in ("core", "label", "drawn"))
    known, tumour = (drawn != "field") & ~np.isin(label, LEFT_OUT), label == "tumour"
    likeness = np.empty(len(rows))
    for name in found:
        b = fitted(features[known & (core != name)], tumour[known & (core != name)], core[known & (core != name)])
        likeness[core == name] = features[core == name] @ b[:-1] + b[-1]
    print("weights on all:", fitted(features[known], tumour[known], core[known]).round(2))
    params = MeasureParams().epithelium
    ways = {"likeness alone": likeness > params.least, "in the network's tumour": seen & (likeness > params.least_seen)}
    random, told = known & (drawn == "random"), (drawn == "field") & (label != "unknown")
    of_tumour = tumour | np.isin(label, LEFT_OUT)
    for way, counted in ways.items():
        hit = int((random & counted & tumour).sum())
        print(f"{way}: of random outlines, {hit} of {int((random & counted).sum())} counted are tumour,", end=" ")
        print(f"{hit} of {int((random & tumour).sum())} tumour nuclei are counted;", end=" ")
        print(f"in the fields {int((told & counted & ~of_tumour).sum())} of {int((told & counted).sum())} are none")
        for name in found:
            one = random & (core == name)
            hit = int((one & counted & tumour).sum())
            print(f"  {name}: {hit} of {int((one & counted).sum())}, of {int((one & tumour).sum())} tumour nuclei")


def _names(rows: list[dict[str, str]]) -> list[str]:
    return sorted({row["core"] for row in rows})


if __name__ == "__main__":
    main()
