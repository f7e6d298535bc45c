"""Patches a second of the shipped network: eager torch, ONNX Runtime (when installed) and our compiled engine.

All run the same weights on the same patches of 512 x 512 pixels, in turns, in one process. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch

from napari_her2.engine import CompiledEngine, TorchEngine
from napari_her2.models import load_model
from napari_her2.sample import sample_slide
from napari_her2.slide import Slide


def patches(count: int) -> np.ndarray:
    """Patches cut from the embedded sample slide, one beside the other."""
    slide = Slide.open(sample_slide())
    block = slide.read(0, 700, 700, 512 * 4, 512 * -(-count // 4))
    cut = [block[y : y + 512, x : x + 512] for y in range(0, 2048, 512) for x in range(0, block.shape[1], 512)]
    return np.stack(cut[:count])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    model, pixels = load_model(), patches(options.patches)
    runners: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "torch eager": TorchEngine(model, "cpu").run,
        "compiled (ours)": CompiledEngine(model).run,
    }
    try:
        import onnxruntime
    except ImportError:
        print("onnxruntime is not installed: left out")
    else:
        session = onnxruntime.InferenceSession(model.onnx_path)
        runners["ONNX Runtime"] = lambda p: session.run(None, {"pixels": p})[0]
    reference = runners["torch eager"](pixels)
    rates: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(options.rounds):
        for name, run in runners.items():
            start = time.perf_counter()
            run(pixels)
            rates[name].append(len(pixels) / (time.perf_counter() - start))
    print(f"{model.name}, {len(pixels)} patches of 512 px, {options.rounds} rounds, {torch.get_num_threads()} threads")
    for name, values in rates.items():
        off = float(np.abs(runners[name](pixels) - reference).max())
        print(f"{name:16} {np.median(values):7.2f} patches/s   largest difference from torch {off:.1e}")
    ratio = float(np.median(np.array(rates["compiled (ours)"]) / np.array(rates["torch eager"])))
    print(json.dumps({"network_ratio": round(ratio, 2)}))


if __name__ == "__main__":
    main()
