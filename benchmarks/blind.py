"""The default model on 523 generated cores whose stain, scanner and tissue settings were never used in training.

Every core has the score that the ASCO/CAP definition gives its own cells. Beside the model stands a threshold on brown,
its cut points fitted to generated cores of the training settings. Prints a table; the last line is JSON.

python benchmarks/blind.py                          # all 523
python benchmarks/blind.py --cores 100 --robust 40  # fewer, and how many classes change when a picture is spoilt
python benchmarks/blind.py --levels                 # also its magnifications, one at a time, on the same cores
python benchmarks/blind.py --measure                # also the second opinion, and how often both agree and are right
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import imagecodecs
import numpy as np
from scipy import ndimage

from napari_her2.engine import Engine, open_engine
from napari_her2.measure import measure_core
from napari_her2.models import Calibration, ScoringModel, load_model
from napari_her2.pooling import score_probabilities
from napari_her2.pyramid import sample
from napari_her2.scores import SCORES, CoreScore
from napari_her2.scoring import score_cores
from napari_her2.slide import Slide
from napari_her2.stain import divide_white, estimate_stains, optical_density, tissue_mask, white_point
from napari_her2.training.calibrate import JudgedCore, calibrate, fit_cuts
from napari_her2.training.designs import alone
from napari_her2.training.evaluate import FEW, agreement, generated_core, judge, whole_picture
from napari_her2.training.render import Scanner, render
from napari_her2.training.tissue import Tissue

SEED = 523
#: Unit OD vectors that the threshold unmixes with: QuPath's defaults.
STAINS = np.array([[0.651, 0.701, 0.290], [0.269, 0.568, 0.778]])

Picture = np.ndarray


def slide_of(picture: Picture, mpp: float = 0.5) -> Slide:
    return Slide.from_arrays(picture, name="generated", mpp=mpp)


def scored(model: ScoringModel, engine: Engine, slide: Slide) -> CoreScore:
    """The only core of a slide, by the same way that the viewer goes."""
    return next(iter(score_cores(slide, [whole_picture(slide)], model, engine=engine)))


def said(model: ScoringModel, engine: Engine, slide: Slide) -> np.ndarray:
    """Probabilities of the four scores."""
    return np.array(scored(model, engine, slide).probabilities)


def measured(slide: Slide, score: CoreScore) -> int:
    """The measured score, in the tumour that the network saw; -1 where there is none."""
    found = measure_core(slide, whole_picture(slide), estimate_stains(slide), places=score.places)
    return ("", *SCORES).index(found.score) - 1


def both_opinions(truth: Sequence[int], network: Sequence[int], second: Sequence[int]) -> dict[str, object]:
    """How often both opinions agree where there are both, and how often each is right then and otherwise."""
    there = np.array(second) >= 0
    true, first, other = (np.array(one)[there] for one in (truth, network, second))
    alike = first == other
    differing = max(1, np.count_nonzero(~alike))
    shares = {
        "n": np.count_nonzero(there),
        "measured_right": (other == true).mean(),
        "measured_sensitivity": [round(float((other == k)[true == k].mean()), 3) for k in range(4)],
        "alike": alike.mean(),
        "right_when_alike": (first == true)[alike].mean(),
        "network_right_when_not": (first == true)[~alike].sum() / differing,
        "measured_right_when_not": (other == true)[~alike].sum() / differing,
        "two_classes_apart": (np.abs(first - other) > 1).mean(),
    }
    return {name: v if isinstance(v, list) else round(float(v), 3) for name, v in shares.items()}


def brown(picture: Picture) -> float:
    """DAB OD that a tenth of the tissue exceeds."""
    clear = divide_white(picture, white_point(picture))[::2, ::2]
    dab = (optical_density(clear).reshape(-1, 3) @ np.linalg.pinv(STAINS))[:, 1].reshape(clear.shape[:2])
    return float(np.quantile(dab[tissue_mask(clear, blur=3)], 0.9))


def one_level(model: ScoringModel, learned: list[JudgedCore], index: int) -> ScoringModel:
    """The model with one magnification alone, pooled and cut anew on generated cores of the training settings."""
    index %= len(model.spec.levels)
    own = [replace(c, **{k: getattr(c, k)[c.level == index] for k in ("grade", "tumour", "level")}) for c in learned]
    # one magnification has no weight to fit, and its places are all of level 0
    own = [replace(c, level=np.zeros_like(c.level)) for c in own if len(c.grade)]
    fitted = calibrate(own, levels=1)
    variant = alone(model, index)
    weights, least = variant.calibration.level_weights, model.calibration.min_tumour_mm2
    return replace(variant, calibration=replace(fitted, level_weights=weights, min_tumour_mm2=least))


def judged_core(model: ScoringModel, engine: Engine, number: int) -> JudgedCore | None:
    tissue, scanner, rng = generated_core((1, 7, number), number % 4)
    slide = slide_of(render(tissue, scanner, rng))
    few = replace(model, spec=replace(model.spec, levels=FEW))
    patches = sample(slide, whole_picture(slide), few.spec, white=white_point(slide.overview()[0]))
    return judge(few, engine, str(number), number % 4, patches) if len(patches.pixels) else None


def near_a_rule(percent: tuple[float, ...], margin: float = 2.0) -> bool:
    _, faint, moderate, intense = percent
    return any(abs(share - 10) < margin for share in (intense, moderate + intense, faint + moderate + intense))


def fit_threshold(count: int) -> Calibration:
    """Cut points on the brown of generated cores of the training settings."""
    cores = []
    for number in range(count):
        tissue, scanner, rng = generated_core((1, 7, number), number % 4)
        value = 3 * brown(render(tissue, scanner, rng))
        one = np.ones(1, np.float32)
        cores.append(JudgedCore(str(number), number % 4, value * one, one, np.zeros(1, int)))
    return fit_cuts(cores, Calibration(level_weights=(1.0,)))[0]


def blurred(picture: Picture) -> Picture:
    return ndimage.gaussian_filter(picture.astype(np.float32), (2, 2, 0)).round().astype(np.uint8)


def cast(picture: Picture) -> Picture:
    return np.clip(picture * np.array([1.0, 0.97, 0.90]), 0, 255).astype(np.uint8)


def jpeg(picture: Picture) -> Picture:
    return imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(np.ascontiguousarray(picture), level=50))


def turned(vector: tuple[float, float, float], by: float) -> tuple[float, float, float]:
    """A stain vector, redder by so much (bluer below 0)."""
    moved = np.array(vector) + np.array([by, 0, -by])
    moved /= np.linalg.norm(moved)
    return float(moved[0]), float(moved[1]), float(moved[2])


def spoilt(tissue: Tissue, scanner: Scanner, state: np.random.Generator) -> Iterator[tuple[str, Slide]]:
    """The core as another stain, another scanner or another hand would have shown it."""

    def taken(blue: float = 1, dab: float = 1, **vectors: tuple[float, float, float]) -> Picture:
        other = replace(tissue, hematoxylin=tissue.hematoxylin * np.float32(blue), dab=tissue.dab * np.float32(dab))
        rng = np.random.default_rng()
        rng.bit_generator.state = state.bit_generator.state
        return render(other, replace(scanner, **vectors), rng)

    plain = taken()
    yield "as it is", slide_of(plain)
    for sign, name in ((1, "redder"), (-1, "bluer")):
        vectors = {"h_vector": turned(scanner.h_vector, 0.05 * sign), "dab_vector": turned(scanner.dab_vector, 0.05)}
        yield f"stain vectors {name}", slide_of(taken(**vectors))
    yield "both stains -20 %", slide_of(taken(0.8, 0.8))
    yield "both stains +20 %", slide_of(taken(1.2, 1.2))
    yield "brown -20 %", slide_of(taken(1, 0.8))
    yield "brown +20 %", slide_of(taken(1, 1.2))
    changes: dict[str, Callable[[Picture], Picture]] = {
        "white point cast": cast,
        "blur 1 µm": blurred,
        "JPEG 50": jpeg,
        "mirrored": lambda p: np.ascontiguousarray(p[:, ::-1]),
        "turned by 90°": lambda p: np.ascontiguousarray(np.rot90(p)),
    }
    for name, change in changes.items():
        yield name, slide_of(change(plain))
    yield "pixel size -20 %", slide_of(plain, 0.4)
    yield "pixel size +20 %", slide_of(plain, 0.6)


def robustness(model: ScoringModel, engine: Engine, count: int) -> dict[str, list[float]]:
    """Share of cores whose class changes, and by two or more, for each way of spoiling them."""
    classes: dict[str, list[int]] = {}
    for number in range(count):
        for name, slide in spoilt(*generated_core((SEED, number), number % 4, blind=True)):
            classes.setdefault(name, []).append(int(said(model, engine, slide).argmax()))
    plain = np.array(classes.pop("as it is"))
    steps = {name: np.abs(np.array(found) - plain) for name, found in classes.items()}
    return {name: [float((s > 0).mean().round(3)), float((s > 1).mean().round(3))] for name, s in steps.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, default=523)
    parser.add_argument("--model", default=None, help="name or folder; the default model when not given")
    parser.add_argument("--levels", action="store_true", help="also the whole core only, and full resolution only")
    parser.add_argument("--measure", action="store_true", help="also the second opinion")
    parser.add_argument("--robust", type=int, default=0, help="cores to spoil")
    options = parser.parse_args()
    model = load_model(options.model) if options.model else load_model()
    engine = open_engine(model, "cpu")
    threshold = fit_threshold(min(100, max(12, options.cores // 4 * 4)))
    if not model.stacked and options.levels:
        count = max(24, min(120, options.cores // 4 * 4))
        learned = [c for c in (judged_core(model, engine, number) for number in range(count)) if c is not None]
        variants = {
            name: one_level(model, learned, k) for name, k in (("full resolution only", 0), ("whole core only", -1))
        }
    else:
        variants = {}
    others: dict[str, list[np.ndarray]] = {name: [] for name in variants}
    truth, ours, theirs, second, near = [], [], [], [], 0
    for number in range(options.cores):
        tissue, scanner, rng = generated_core((SEED, number), number % 4, blind=True)
        picture = render(tissue, scanner, rng)
        assert tissue.score is not None
        truth.append(tissue.score)
        near += near_a_rule(tissue.percent)
        slide = slide_of(picture)
        score = scored(model, engine, slide)
        ours.append(np.array(score.probabilities))
        if options.measure:
            second.append(measured(slide, score))
        for name, variant in variants.items():
            others[name].append(said(variant, engine, slide))
        theirs.append(score_probabilities(3 * brown(picture), threshold))
        if number % 50 == 49:
            print(f"{number + 1} cores", flush=True)
    kinds = {model.name: ours, **others, "threshold on brown": theirs}
    results = {name: agreement(truth, np.array(p)) for name, p in kinds.items()}
    for name, result in results.items():
        print(f"\n{name}")
        for key, value in result.items():
            print(f"  {key:16} {value}")
    print(f"\n{near} of {options.cores} cores lie within 2 percent points of a 10 % rule")
    result = results[model.name] | {"model": model.name, "near_a_rule": near, "baseline": results["threshold on brown"]}
    if options.measure:
        result["second_opinion"] = both_opinions(truth, [int(p.argmax()) for p in ours], second)
        print(f"second opinion: {result['second_opinion']}")
    result["variants"] = {name: results[name] for name in variants}
    if options.robust:
        result["class_changes"] = robustness(model, engine, options.robust)
        for name, (any_, two) in result["class_changes"].items():
            print(f"  {name:20} {100 * any_:5.1f} % change class, {100 * two:.1f} % by two   (n = {options.robust})")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
