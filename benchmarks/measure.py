"""Measured membrane staining against generated cores of known cells: percent per class, H-score, completeness.

Cores of 520 µm, a fourth of them of each score, of seeds that no threshold was set on. Groups: the reference laboratory
and scanner; any laboratory and scanner; those kept for blind sets; any laboratory without brown where none belongs
(diffuse in the cytoplasm, in nuclei, in stroma); the first two again at 0.25 µm/px. Each is measured with the tumour
known, and in the tumour that the network sees. Correlations are over the cores of a group; errors are means of the
absolute difference. True completeness is what the generator asks of the classes of the cells, not what it drew.
Prints a table; the last line is JSON.

python benchmarks/measure.py                 # 24 cores a group, a quarter of an hour or more
python benchmarks/measure.py --cores 100     # more of them
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from napari_her2.engine import open_engine
from napari_her2.measure import Measurement, MeasureParams, _read_block, measure_core, measure_pixels
from napari_her2.models import load_model
from napari_her2.scoring import score_cores
from napari_her2.slide import Slide
from napari_her2.stain import Stains, estimate_stains
from napari_her2.training.evaluate import whole_picture
from napari_her2.training.render import Scanner, render
from napari_her2.training.staining import _COMPLETE, _LEVELS, Laboratory
from napari_her2.training.tissue import Tissue, make_core

SEED = 4242
#: µm per pixel of each group.
GROUPS = {"reference": 0.5, "any": 0.5, "blind": 0.5, "clean": 0.5, "reference 0.25": 0.25, "any 0.25": 0.25}
#: Share of the outline that the generator stains, of cells of each class.
COMPLETE = np.array([np.interp(k + np.linspace(0.15, 0.85, 50), _LEVELS, _COMPLETE).mean() for k in range(4)])


def core_of(group: str, number: int) -> tuple[Tissue, Slide]:
    """A core of a group, and its picture as a slide."""
    rng = np.random.default_rng((SEED, list(GROUPS).index(group), number))
    kind, mpp = group.split()[0], GROUPS[group]
    lab = Laboratory() if kind == "reference" else Laboratory.random(rng, blind=kind == "blind")
    lab = replace(lab, dirt=0.0) if kind == "clean" else lab
    tissue = make_core(rng, diameter_um=520, mpp=mpp, score=number % 4, lab=lab, blind=kind == "blind")
    scanner = Scanner.reference() if kind == "reference" else Scanner.random(rng, blind=kind == "blind")
    return tissue, Slide.from_arrays(render(tissue, scanner, rng), name="generated", mpp=mpp)


def known(tissue: Tissue, slide: Slide, stains: Stains, params: MeasureParams) -> Measurement:
    """Measured with the tumour known."""
    tumour = (tissue.classes > 0) & (tissue.classes < 5)
    return measure_pixels(_read_block(slide, whole_picture(slide)), stains, params, tumour=tumour, disc=True)


def measured(groups: list[str], cores: int) -> Iterator[tuple[str, int, Tissue, dict[str, Measurement]]]:
    """Every core: group, number, truth, and what is measured on it in each way."""
    model = load_model()
    engine = open_engine(model, "cpu")
    params = MeasureParams(min_cells=1)
    for group in groups:
        for number in range(cores):
            tissue, slide = core_of(group, number)
            if not tissue.percent:
                continue
            core, stains = whole_picture(slide), estimate_stains(slide)
            places = next(iter(score_cores(slide, [core], model, engine=engine))).places
            seen = measure_core(slide, core, stains, params, places=places)
            yield group, number, tissue, {"known": known(tissue, slide, stains, params), "network": seen}


def summary(truth: np.ndarray, found: np.ndarray, completeness: np.ndarray) -> dict[str, object]:
    """Correlations and errors; percent per class of shape (n, 4), completeness (n,)."""
    counted = np.isfinite(found[:, 0])
    truth, found, completeness = truth[counted], found[counted], completeness[counted]
    r = [np.corrcoef(truth[:, k], found[:, k])[0, 1] if found[:, k].std() > 0 else 0.0 for k in range(4)]
    return {
        "n": int(counted.sum()),
        "r": [round(float(v), 2) for v in r],
        "h_error": round(float(np.abs((found - truth) @ np.arange(4)).mean()), 1),
        "completeness_error": round(float(np.abs(completeness - truth @ COMPLETE / 100).mean()), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, default=24, help="of each group")
    parser.add_argument("--groups", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    options = parser.parse_args()
    rows: dict[tuple[str, str], list[tuple[tuple[float, ...], tuple[float, ...], float]]] = {}
    for group, _, tissue, ways in measured(options.groups, options.cores):
        for way, one in ways.items():
            rows.setdefault((group, way), []).append((tissue.percent, one.percent, one.completeness))
    print(f"{'laboratory':15} {'tumour':8} {'n':>4}   r of 0    1+    2+    3+   H-score error  completeness error")
    answer: dict[str, dict[str, object]] = {}
    for (group, way), cores in rows.items():
        one = summary(*(np.array(column, float) for column in zip(*cores, strict=True)))
        r = "  ".join(f"{v:4.2f}" for v in one["r"])  # type: ignore[attr-defined]
        print(f"{group:15} {way:8} {one['n']:4}     {r}   {one['h_error']:13.1f}  {one['completeness_error']:18.3f}")
        answer[f"{group}, {way}"] = one
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
