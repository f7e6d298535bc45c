"""Train the default model: ``python -m napari_her2.training RUN -o MODEL_FOLDER``; killed and called again, it goes on.

Tiles are drawn into RUN/bank, the network is fitted to them, judged on generated cores (and on the real ones, when
NAPARI_HER2_REAL_DATA names their folder), calibrated on those, and measured on generated cores kept apart.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from napari_her2.cores import Core
from napari_her2.engine import open_engine
from napari_her2.models import Calibration, ScoringModel, load_model
from napari_her2.networks import PlaceNetwork
from napari_her2.pyramid import PyramidSpec, sample
from napari_her2.scoring import judge_places, score_probabilities
from napari_her2.slide import Slide
from napari_her2.stain import white_point
from napari_her2.training.bank import TileBank
from napari_her2.training.calibrate import JudgedCore, calibrate, expected_values
from napari_her2.training.fit import FitParams, fit
from napari_her2.training.render import Scanner, render
from napari_her2.training.save import save_model
from napari_her2.training.tissue import make_core

#: Real cores whose label is evidently not what they show: no brown at all, and an emptied punch.
NOT_LABELLED = ("2_aeb277c9", "3_99b35026")
REAL_WEIGHT = 8.0
PLACES_KEPT = 6000


def main() -> None:
    """Run all the steps that are not done yet."""
    options = _options()
    real = Path(os.environ["NAPARI_HER2_REAL_DATA"]) if "NAPARI_HER2_REAL_DATA" in os.environ else None
    params = FitParams(steps=options.steps, seed=options.seed)
    run: Path = options.run
    bank = TileBank(run / "bank", real, seed=options.seed)
    bank.fill(options.tiles)
    torch.manual_seed(options.seed)
    network = PlaceNetwork()
    network.start_from_imagenet()

    def tell(step: int, loss: float, seconds: float) -> None:
        print(f"step {step} of {params.steps}: loss {loss:.4f}, {seconds:.0f} s", flush=True)

    history = fit(network, bank.paths()[: options.tiles], params, run / "checkpoint.pt", report=tell)
    model = ScoringModel(name=options.output.name, version="1", spec=PyramidSpec())
    model = save_model(model, network, options.output)
    learned = list(judged(model, generated_cores(options.cores, seed=1)))
    if real is not None:
        learned += list(judged(model, real_cores(real), weight=REAL_WEIGHT))
    calibration = calibrate(learned)
    apart = list(judged(model, generated_cores(options.cores, seed=2)))
    card = {
        "intended use": "Research use only. Not a medical device; not for diagnosis or treatment decisions.",
        "learned from": {
            "tiles": f"{options.tiles} of 512 x 512 pixels at 0.5 µm/px; "
            + ("one in three of real tissue with changed stain, the rest generated" if real else "all generated"),
            "steps": params.steps,
            "last loss (nats a place)": round(history[-1], 4),
        },
        "calibrated on": f"{options.cores} generated cores"
        + (f" and {len(learned) - options.cores} real cores of oesophageal adenocarcinoma" if real else ""),
        "measured on generated cores kept apart": measured(apart, calibration),
        "real cores (also learned from: a sanity check, no accuracy)": [
            describe(c, calibration) for c in learned[options.cores :]
        ],
        "limits": "Never compared with pathologists' scores of a series. 0 against 1+ is its weakest border; strong "
        "cytoplasmic brown can pass for membranes. Other scanners and stains need calibration on control cores.",
        "method": "After Selcuk et al. 2024, doi 10.34133/bmef.0048 (pyramid sampling); network and pooling differ.",
    }
    save_model(ScoringModel(model.name, "1", model.spec, calibration, card=card), network, options.output)
    load_model(options.output).verify()
    print(json.dumps(card, indent=1, ensure_ascii=False))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m napari_her2.training", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run: tiles and checkpoint")
    parser.add_argument("-o", "--output", type=Path, required=True, help="model folder; its name is the model's")
    parser.add_argument("--tiles", type=int, default=1500)
    parser.add_argument("--steps", type=int, default=FitParams.steps)
    parser.add_argument("--cores", type=int, default=80, help="generated cores to calibrate on, and to measure on")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


Labelled = tuple[str, int, Slide, Core]


def generated_cores(count: int, *, seed: int) -> Iterator[Labelled]:
    """Cores of 0.6 mm, the four scores in turn, each with a laboratory and a scanner of its own."""
    for number in range(count):
        rng = np.random.default_rng((seed, 7, number))
        score = number % 4
        picture = render(make_core(rng, diameter_um=600, score=score), Scanner.random(rng), rng)
        slide = Slide.from_arrays(picture, name=f"generated {number}", mpp=0.5)
        yield f"generated {number}", score, slide, whole(slide)


def real_cores(folder: Path) -> Iterator[Labelled]:
    """The real cores whose label can be seen on them (0.25 µm/px, as assumed of their source)."""
    for path in sorted((folder / "her2_cores").glob("[0-3]_*.jpg")):
        if not path.name.startswith(NOT_LABELLED):
            slide = Slide.open(path, mpp=0.25)
            yield path.name[:10], int(path.name[0]), slide, whole(slide)


def whole(slide: Slide) -> Core:
    """The picture as one core."""
    h, w = slide.shape
    return Core("A-1", 0, 0, h / 2, w / 2, min(h, w))


def judged(model: ScoringModel, cores: Iterator[Labelled], *, weight: float = 1.0) -> Iterator[JudgedCore]:
    """What the network says of cores of known score; `PLACES_KEPT` places of each, drawn evenly."""
    engine = open_engine(model, "cpu")
    for name, score, slide, core in cores:
        patches = sample(slide, core, model.spec, white=white_point(slide.overview()[0]))
        if not len(patches.pixels):
            continue
        places, patch = judge_places(patches, engine.run(patches.pixels), Calibration())
        chosen = np.linspace(0, len(places) - 1, min(PLACES_KEPT, len(places))).astype(int)
        level = patches.level[patch[chosen]]
        print(f"judged {name}: {score}", flush=True)
        yield JudgedCore(name, score, places.grade[chosen], places.tumour[chosen], level, weight)


def measured(cores: Sequence[JudgedCore], calibration: Calibration) -> dict[str, object]:
    """Agreement on cores of known score: n, accuracy, quadratic weighted kappa, share off by two or more, the table."""
    table = np.zeros((4, 4), int)
    for core, value in zip(cores, expected_values(cores, calibration), strict=True):
        table[core.score, int(np.argmax(score_probabilities(float(value), calibration)))] += 1
    n = table.sum()
    off = (np.arange(4)[:, None] - np.arange(4)) ** 2
    chance = table.sum(1)[:, None] * table.sum(0) / n
    return {
        "n": int(n),
        "accuracy": round(float(np.trace(table) / n), 3),
        "quadratic weighted kappa": round(float(1 - (off * table).sum() / (off * chance).sum()), 3),
        "off by two or more": round(float(table[off >= 4].sum() / n), 3),
        "table (rows: truth 0 to 3+)": table.tolist(),
    }


def describe(core: JudgedCore, calibration: Calibration) -> str:
    """A line about one core."""
    value = float(expected_values([core], calibration)[0])
    probabilities = score_probabilities(value, calibration)
    return f"{core.name}: labelled {core.score}, value {value:.2f}, P = {np.round(probabilities, 2).tolist()}"


if __name__ == "__main__":
    main()
