"""The engine: how fast, how near to torch, how much memory. Prints a table; the last line is JSON.

network_ratio     patches a second, compiled over eager torch: same weights, same patches of 512 pixels, in turns, in
                  one process; ONNX Runtime beside them where it is installed
end_to_end_share  patches a second of scoring the cores of a real slide (NAPARI_HER2_REAL_DATA) over the network's own
                  rate on the same patches, measured just before and after; null without the slide
peak_gib          most memory of scoring that slide, beyond that of a bare interpreter, in a process of its own
first_score_s     seconds from the start of scoring to the first score in that process, which has not imported
                  OpenVINO or loaded the model before
class_agreement   share of generated blind cores that compiled and torch float32 give the same class
probability_difference   largest difference of a probability between the two

python benchmarks/engine.py
python benchmarks/engine.py --cores 1000 --sparse
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_her2.cores import Core
from napari_her2.models import ScoringModel, load_model
from napari_her2.sample import sample_slide
from napari_her2.slide import Slide

SEED = 523


def patches(count: int) -> np.ndarray:
    """Patches cut from the embedded sample slide, one beside the other."""
    slide = Slide.open(sample_slide())
    block = slide.read(0, 700, 700, 512 * 4, 512 * -(-count // 4))
    cut = [block[y : y + 512, x : x + 512] for y in range(0, 2048, 512) for x in range(0, block.shape[1], 512)]
    return np.stack(cut[:count])


def real_slide() -> tuple[Slide, list[Core]] | None:
    """The real slide and the cores of its truth table that hold tissue."""
    folder = Path(os.environ.get("NAPARI_HER2_REAL_DATA", "nowhere")) / "slides"
    if not (folder / "her2_tma_12.ome.tif").is_file():
        return None
    with (folder / "her2_tma_12.truth.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["state"] == "tissue"]
    cores = [
        Core(r["core"], int(r["row"]), int(r["column"]), *(float(r[k]) for k in ("y", "x", "diameter"))) for r in rows
    ]
    return Slide.open(folder / "her2_tma_12.ome.tif"), cores


def rates(model: ScoringModel, pixels: np.ndarray, rounds: int) -> float:
    """Print how many patches a second each way gives; our ratio to eager torch."""
    import torch

    from napari_her2.engine import CompiledEngine, TorchEngine

    eager, compiled = TorchEngine(model, "cpu"), CompiledEngine(model)
    runners: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "torch eager": lambda p: eager.run(p)[0],
        "compiled (ours)": lambda p: compiled.run(p)[0],
    }
    try:
        import onnxruntime
    except ImportError:
        print("onnxruntime is not installed: left out")
    else:
        session = onnxruntime.InferenceSession(model.onnx_path)
        runners["ONNX Runtime"] = lambda p: session.run(None, {"pixels": p})[0]
    reference = runners["torch eager"](pixels)
    found: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, run in runners.items():
            start = time.perf_counter()
            run(pixels)
            found[name].append(len(pixels) / (time.perf_counter() - start))
    print(f"{model.name}, {len(pixels)} patches of 512 px, {rounds} rounds, {torch.get_num_threads()} threads")
    for name, values in found.items():
        off = float(np.abs(runners[name](pixels) - reference).max())
        print(f"{name:16} {np.median(values):7.2f} patches/s   largest difference from torch {off:.1e}")
    return float(np.median(np.array(found["compiled (ours)"]) / np.array(found["torch eager"])))


def end_to_end(model: ScoringModel) -> dict[str, float]:
    """Score the real slide: rate over the network's own on the same patches, and seconds to the first score."""
    from napari_her2.scoring import score_cores

    slide, cores = real_slide() or (None, [])
    if slide is None:
        return {}
    start = time.perf_counter()
    next(iter(score_cores(slide, cores[:1], model, device="cpu")))
    first = time.perf_counter() - start
    from napari_her2.engine import CompiledEngine
    from napari_her2.pyramid import sample
    from napari_her2.stain import white_point

    engine = CompiledEngine(model)
    pixels = sample(slide, cores[0], model.spec, white=white_point(slide.overview()[0])).pixels

    def own() -> list[float]:
        found = []
        for _ in range(3):
            start = time.perf_counter()
            engine.run(pixels)
            found.append(len(pixels) / (time.perf_counter() - start))
        return found

    network = own()
    start = time.perf_counter()
    done = sum(bool(score.score) for score in score_cores(slide, cores, model, engine=engine))
    rate = done * len(pixels) / (time.perf_counter() - start)
    peak = (peak_kib() - bare_kib()) / 2**20
    alone = float(np.median(network + own()))
    print(f"{done} cores of {slide.name}: {rate:.2f} patches/s end to end, {alone:.2f} of the network alone")
    return {"end_to_end_share": round(rate / alone, 3), "peak_gib": round(peak, 3), "first_score_s": round(first, 2)}


def peak_kib() -> int:
    """Most memory of this process so far; the resource module would count what its parent held at the fork."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


def bare_kib() -> int:
    """Memory of a Python that has imported nothing of ours."""
    code = "import pathlib; print(pathlib.Path('/proc/self/status').read_text())"
    if not Path("/proc/self/status").exists():
        return 0
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return next(int(line.split()[1]) for line in told.splitlines() if line.startswith("VmHWM"))


def agreement(model: ScoringModel, count: int, sparse: bool) -> dict[str, float]:
    """Compiled against torch float32 on generated blind cores, 17 or 5 patches each."""
    from napari_her2.engine import CompiledEngine, TorchEngine
    from napari_her2.pyramid import LevelSpec
    from napari_her2.scoring import score_cores
    from napari_her2.training.evaluate import FEW, generated_slides, whole_picture

    levels = (LevelSpec(3, 1.0), LevelSpec(1, 2.0), LevelSpec(1, 0.0)) if sparse else FEW
    few = model if model.stacked else replace(model, spec=replace(model.spec, levels=levels))
    engines = CompiledEngine(model), TorchEngine(model, "cpu")
    same, off = 0, 0.0
    for _, _, make in generated_slides(count, SEED, blind=True):
        slide = make()
        a, b = (next(iter(score_cores(slide, [whole_picture(slide)], few, engine=e))) for e in engines)
        same += a.score == b.score
        off = max(off, float(np.abs(np.array(a.probabilities) - np.array(b.probabilities)).max()))
    return {"class_agreement": same / count, "probability_difference": float(f"{off:.2g}"), "agreement_cores": count}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="name or folder; the default model when not given")
    parser.add_argument("--patches", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=24, help="generated cores to compare the answers on")
    parser.add_argument("--sparse", action="store_true", help="5 patches of each instead of 17, for many cores")
    parser.add_argument("--slide-only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    model = load_model(options.model) if options.model else load_model()
    if options.slide_only:
        print(json.dumps(end_to_end(model)))
        return
    # memory and the first score can only be measured in a process that has done nothing else
    again = [sys.executable, __file__, "--slide-only", *(["--model", options.model] if options.model else [])]
    told = subprocess.run(again, capture_output=True, text=True, check=True).stdout.strip().splitlines()
    result = {"end_to_end_share": None, "peak_gib": None, "first_score_s": None} | json.loads(told[-1])
    result["network_ratio"] = round(rates(model, patches(options.patches), options.rounds), 2)
    print("\n".join(told[:-1]) or "no real slide: set NAPARI_HER2_REAL_DATA")
    result |= agreement(model, options.cores, options.sparse)
    for name, value in result.items():
        print(f"{name:24} {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
