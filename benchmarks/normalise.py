"""Does it help to give pictures the colours that the model knows? Generated blind cores and the real ones.

Generated cores of the blind settings as their scanner shows them, and with both stain vectors turned: a little, as in
`blind.py`, and strongly, 11 to 12 degrees. Each is scored as it is; with its colours normalised by stains that are
estimated from the picture, as a user would have them; and, where it is turned strongly, by the stains that it was made
with, which nobody has: what is lost between the two is lost by estimating. Then the real cores in
NAPARI_HER2_REAL_DATA, without and with. Prints tables for the model card; the last line is JSON.

python benchmarks/normalise.py                                  # 60 cores, 17 patches each, the default model
python benchmarks/normalise.py --model runs/new --cores 120 --part done.jsonl
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from blind import SEED, slide_of, turned
from napari_her2.engine import Engine, open_engine
from napari_her2.models import ScoringModel, load_model
from napari_her2.pyramid import PyramidSpec, sample
from napari_her2.scores import CoreScore
from napari_her2.scoring import score_cores
from napari_her2.slide import Slide
from napari_her2.stain import Stains, estimate_stains, normaliser, on_white, white_point
from napari_her2.stain.vectors import angle
from napari_her2.training.evaluate import FEW, agreement, generated_core, real_cores, whole_picture
from napari_her2.training.render import Scanner, render
from napari_her2.training.tissue import Tissue

#: How far haematoxylin and DAB are turned, see `blind.turned`; the first two are those of `blind.py`.
TURNS = {
    "as it is": (0.0, 0.0),
    "redder": (0.05, 0.05),
    "bluer": (-0.05, 0.05),
    "much redder": (0.15, 0.15),
    "much bluer": (-0.15, -0.15),
}
STRONG = ("much redder", "much bluer")
WAYS = ("as seen", "normalised", "by known stains")

Vectors = tuple[tuple[float, float, float], tuple[float, float, float]]


def said(model: ScoringModel, engine: Engine, slide: Slide, stains: Stains | None) -> CoreScore:
    return next(iter(score_cores(slide, [whole_picture(slide)], model, engine=engine, normalise=stains)))


def pictures(tissue: Tissue, scanner: Scanner, rng: np.random.Generator) -> Iterator[tuple[str, Slide, Vectors]]:
    """A core under each turn: its slide, and the vectors of haematoxylin and DAB that it was made with."""
    state = rng.bit_generator.state
    for name, (blue, brown) in TURNS.items():
        rng.bit_generator.state = state
        made = scanner.h_vector, scanner.dab_vector
        if blue or brown:
            made = turned(made[0], blue), turned(made[1], brown)
        other = replace(scanner, h_vector=made[0], dab_vector=made[1])
        yield name, slide_of(render(tissue, other, rng)), made


def judged(model: ScoringModel, engine: Engine, number: int) -> dict:
    """What is said of one core under each turn and way, and how far its estimated stains are off in degrees."""
    tissue, scanner, rng = generated_core((SEED, number), number % 4, blind=True)
    found: dict = {"truth": tissue.score, "likely": {}, "off": {}}
    for turn, slide, made in pictures(tissue, scanner, rng):
        estimated = estimate_stains(slide)
        vectors = zip((estimated.hematoxylin, estimated.dab), made, strict=True)
        found["off"][turn] = [angle(ours, theirs) for ours, theirs in vectors]
        ways = {WAYS[0]: None, WAYS[1]: estimated}
        if turn in STRONG:
            # what looks alike cannot be told apart by any stains: then the picture stays as it is
            ways[WAYS[2]] = Stains(scanner.white, *made) if angle(*made) > 18 else None
        for way, stains in ways.items():
            found["likely"][f"{turn}, {way}"] = said(model, engine, slide, stains).probabilities
    return found


def generated(model: ScoringModel, engine: Engine, count: int, part: Path | None) -> list[dict]:
    """A row for each turn and way of scoring; tells what it has after every tenth core."""
    cores = [json.loads(line) for line in part.read_text().splitlines()][:count] if part and part.exists() else []
    for number in range(len(cores), count):
        cores.append(judged(model, engine, number))
        if part is not None:
            with part.open("a") as file:
                file.write(json.dumps(cores[-1]) + "\n")
        if number % 10 == 9 and number + 1 < count:
            print("\n".join(tables(summed_up(cores), [])), flush=True)
    return summed_up(cores)


def summed_up(cores: list[dict]) -> list[dict]:
    truth = [core["truth"] for core in cores]
    likely = {key: np.array([core["likely"][key] for core in cores]) for key in cores[0]["likely"]}
    classes = {key: p.argmax(axis=1) for key, p in likely.items()}
    rows = []
    for key, chosen in classes.items():
        turn, way = key.split(", ")
        figures = agreement(truth, likely[key])
        was, right = classes[f"{turn}, {WAYS[0]}"] == truth, chosen == truth
        # against the picture that is not turned, scored the same way
        plain = classes.get(f"as it is, {way}", classes[f"as it is, {WAYS[0]}"])
        rows.append(
            {
                "stain vectors": turn,
                "way": way,
                "n": len(truth),
                "accuracy": figures["accuracy"],
                "quadratic_kappa": figures["quadratic_kappa"],
                "class_changes": round(float((chosen != plain).mean()), 4),
                "put_right": int((right & ~was).sum()),
                "put_wrong": int((was & ~right).sum()),
                "degrees_off": [round(float(v), 2) for v in np.median([core["off"][turn] for core in cores], axis=0)],
            }
        )
    return rows


def real(model: ScoringModel, engine: Engine) -> list[dict]:
    """Value and class of each real core without and with; none where there are no real data."""
    folder = Path(os.environ.get("NAPARI_HER2_REAL_DATA", "")) / "her2_cores"
    rows: list[dict] = []
    for name, label, slide in real_cores(folder):
        stains = estimate_stains(slide)
        before, after = (said(model, engine, slide, s) for s in (None, stains))
        reference = model.reference_stains
        moved = angle(stains.hematoxylin, reference.hematoxylin), angle(stains.dab, reference.dab)
        rows.append(
            {
                "core": name,
                "label": label,
                "value": [round(s.value, 2) if s.score else None for s in (before, after)],
                "score": [s.score or "none" for s in (before, after)],
                "from_reference": [round(v, 1) for v in moved],
            }
        )
    return rows


def seconds(model: ScoringModel) -> dict[str, float]:
    """CPU seconds of this thread: stains of a slide once, and turning all patches of a core; medians of 5."""
    tissue, scanner, rng = generated_core((SEED, 0), 2, blind=True)
    slide = slide_of(render(tissue, scanner, rng))
    patches = sample(slide, whole_picture(slide), PyramidSpec(), white=white_point(slide.overview()[0])).pixels
    spent: dict[str, list[float]] = {"stains_of_a_slide": [], "patches_of_a_core": []}
    for _ in range(5):
        start = time.thread_time()
        stains = estimate_stains(slide)
        spent["stains_of_a_slide"].append(time.thread_time() - start)
        start = time.thread_time()
        change = normaliser(on_white(stains), model.reference_stains)
        for patch in patches:
            patch[...] = change(patch)
        spent["patches_of_a_core"].append(time.thread_time() - start)
    return {name: round(float(np.median(s)), 3) for name, s in spent.items()} | {"patches": len(patches)}


def tables(made: list[dict], cores: list[dict]) -> Iterator[str]:
    """Lines of the model card."""
    if made:
        yield "| stain vectors | scored | n | accuracy | quadratic kappa | class changes | put right, wrong |"
        yield "| --- " * 7 + "|"
    for r in made:
        put = "" if r["way"] == WAYS[0] else f"{r['put_right']}, {r['put_wrong']}"
        changes = "" if r["stain vectors"] == "as it is" else f"{100 * r['class_changes']:.0f} %"
        kappa = f"{r['quadratic_kappa']:.3f}"
        yield f"| {r['stain vectors']} | {r['way']} | {r['n']} | {r['accuracy']:.3f} | {kappa} | {changes} | {put} |"
    off = {r["stain vectors"]: r["degrees_off"] for r in made}
    if off:
        yield "\nEstimated stains off by (median, haematoxylin and DAB): " + "; ".join(
            f"{turn} {h:.1f}°, {d:.1f}°" for turn, (h, d) in off.items()
        )
    if cores:
        yield "\n| core | label | value as seen, normalised | score | stains from the reference |"
        yield "| --- " * 5 + "|"
    for r in cores:
        value = " -> ".join("none" if v is None else f"{v:.2f}" for v in r["value"])
        far = ", ".join(f"{v:.0f}°" for v in r["from_reference"])
        yield f"| {r['core']} | {r['label']} | {value} | {' -> '.join(r['score'])} | {far} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, default=60)
    parser.add_argument("--model", default=None, help="name or folder; the default model when not given")
    parser.add_argument("--part", type=Path, default=None, help="file of what is done, to go on from; of one model")
    options = parser.parse_args()
    model = load_model(options.model) if options.model else load_model()
    engine = open_engine(model, "cpu")
    few = model if model.stacked else replace(model, spec=replace(model.spec, levels=FEW))
    spent = seconds(model)
    cores = real(few, engine)
    print("\n".join(tables([], cores)), flush=True)
    made = generated(few, engine, options.cores, options.part)
    print("\n".join(tables(made, cores)))
    print(json.dumps({"model": model.name, "cpu_seconds": spent, "generated": made, "real": cores}))


if __name__ == "__main__":
    main()
