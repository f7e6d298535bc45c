"""What control cores are worth: generated batches, each of one laboratory and scanner kept apart from training.

Of every batch some cores of known score calibrate the model's cut points and the thresholds of the measurement, as the
viewer does; the rest of the batch is scored and measured before and after. Errors are over those other cores alone; of
the H-score, the mean absolute difference from the truth in points. The measurement is also calibrated as if the brown
of the batch were half and twice as strong (what was measured of each cell is scaled): few laboratories that it was
fitted to are like that. Prints a line a batch; the last line is JSON.

python benchmarks/batches.py                                  # 12 batches of 8 controls and 16 others: 15 minutes
python benchmarks/batches.py --batches 4 --controls 4 --others 8
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace

import numpy as np

from napari_her2.engine import Engine, open_engine
from napari_her2.measure import Measurement, MeasureParams, measure_core
from napari_her2.membrane import BREAST, Thresholds, classify
from napari_her2.membrane.calibrate import calibrate
from napari_her2.models import ScoringModel, load_model
from napari_her2.pooling import score_probabilities
from napari_her2.recalibrate import recalibrate
from napari_her2.scores import SCORES, CoreScore
from napari_her2.scoring import score_cores
from napari_her2.slide import Slide
from napari_her2.stain import estimate_stains
from napari_her2.training.evaluate import whole_picture
from napari_her2.training.render import Scanner, render
from napari_her2.training.staining import Laboratory
from napari_her2.training.tissue import make_core

SEED = 2323


@dataclass(frozen=True)
class Known:
    """A core of known cells, as both opinions saw it."""

    truth: int
    percent: tuple[float, ...]
    score: CoreScore
    measured: Measurement


def cores_of(batch: int, count: int, model: ScoringModel, engine: Engine) -> list[Known]:
    """Cores of one laboratory and scanner, a fourth of each score."""
    state = np.random.default_rng((SEED, batch))
    lab, scanner = Laboratory.random(state, blind=True), Scanner.random(state, blind=True)
    found = []
    for number in range(count):
        rng = np.random.default_rng((SEED, batch, number))
        tissue = make_core(rng, diameter_um=520, score=number % 4, lab=lab, blind=True)
        slide = Slide.from_arrays(render(tissue, scanner, rng), name="generated", mpp=tissue.mpp)
        core = whole_picture(slide)
        score = next(iter(score_cores(slide, [core], model, engine=engine)))
        measured = measure_core(slide, core, estimate_stains(slide), MeasureParams(min_cells=1), places=score.places)
        if score.score and measured.count and tissue.score is not None:
            found.append(Known(tissue.score, tissue.percent, score, measured))
    return found


def network_right(cores: list[Known], model: ScoringModel) -> list[bool]:
    likely = [score_probabilities(core.score.value, model.calibration) for core in cores]
    return [int(p.argmax()) == core.truth for p, core in zip(likely, cores, strict=True)]


def measured_with(cores: list[Known], thresholds: Thresholds) -> tuple[list[bool], list[float]]:
    """Of each core, whether the measured score is right, and how far its H-score is off."""
    right, off = [], []
    for core in cores:
        counts = classify(core.measured.rings, thresholds).counts
        right.append(BREAST.score(counts)[0] == SCORES[core.truth])
        off.append(abs(float((100 * np.array(counts) / sum(counts) - core.percent) @ np.arange(4))))
    return right, off


def browner(cores: list[Known], times: float) -> list[Known]:
    """As if all brown of the batch were so many times as strong, for the measurement alone."""
    found = []
    for core in cores:
        rings = core.measured.rings
        brown = {name: np.float32(times) * getattr(rings, name) for name in ("peak", "line", "cytoplasm")}
        found.append(replace(core, measured=replace(core.measured, rings=replace(rings, **brown))))
    return found


def measurement(controls: list[Known], others: list[Known]) -> dict[str, list[float]]:
    """Right or not, and how far the H-score is off, before and after calibrating on the controls."""
    known = [SCORES[core.truth] for core in controls]
    found: dict[str, list[float]] = {}
    for times, name in ((1.0, ""), (0.5, "_half_the_brown"), (2.0, "_twice_the_brown")):
        some = browner(controls, times)
        thresholds, _ = calibrate([core.measured.rings for core in some], known)
        for when, used in (("before", Thresholds()), ("after", thresholds)):
            right, off = measured_with(browner(others, times), used)
            found[f"measured_right_{when}{name}"] = [float(r) for r in right]
            found[f"h_error_{when}{name}"] = off
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--controls", type=int, default=8, help="of each batch")
    parser.add_argument("--others", type=int, default=16, help="of each batch")
    options = parser.parse_args()
    model = load_model()
    engine = open_engine(model, "cpu")
    told: dict[str, list[float]] = {}
    for batch in range(options.batches):
        cores = cores_of(batch, options.controls + options.others, model, engine)
        controls, others = cores[: options.controls], cores[options.controls :]
        values, truth = ([core.score.value for core in controls], [core.truth for core in controls])
        figures = {
            "network_right_before": network_right(others, model),
            "network_right_after": network_right(others, recalibrate(model, values, truth, "batch")),
            **measurement(controls, others),
        }
        for name, several in figures.items():
            told.setdefault(name, []).extend(float(v) for v in several)
        line = ", ".join(f"{name.replace('_', ' ')} {np.mean(several):.2f}" for name, several in figures.items())
        print(f"batch {batch + 1} (n = {len(others)}): {line}", flush=True)
    result = {name: round(float(np.mean(several)), 3) for name, several in told.items()}
    print(
        json.dumps(
            result | {"n": len(told["network_right_after"]), "batches": options.batches, "controls": options.controls}
        )
    )


if __name__ == "__main__":
    main()
