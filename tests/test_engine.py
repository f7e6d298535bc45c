from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from napari_her2.engine import CompiledEngine, TorchEngine, _keep, open_engine, start
from napari_her2.errors import ModelError
from napari_her2.models import ScoringModel, load_model


def patches() -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(90, 256, (3, 16, 16, 3), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, 32, 1), 32, 2)


def test_compiled_and_torch_agree():
    model = load_model()
    pixels = patches()
    (compiled, features), (torch_, plain) = CompiledEngine(model).run(pixels), TorchEngine(model, "cpu").run(pixels)
    assert features.shape == plain.shape
    assert features.dtype == np.float32
    assert np.abs(features - plain).max() < 1e-3
    assert np.ptp(features, axis=0).max() > 0.01
    assert compiled.shape == (3, 3, 5, 32, 32)
    assert compiled.dtype == np.float32
    assert np.abs(compiled - torch_).max() < 1e-3
    assert np.allclose(compiled.sum(axis=2), 1, atol=1e-4)


def test_a_batch_gives_what_its_patches_give_alone():
    engine = CompiledEngine(load_model())
    pixels = patches()
    for together, alone in zip(engine.run(pixels), engine.run(pixels[2:]), strict=True):
        assert np.array_equal(together[2], alone[0])


def test_cores_on_their_way_at_once_get_their_own_answers():
    engine, pixels = CompiledEngine(load_model()), patches()
    first, second = start(engine, pixels), start(engine, pixels[::-1])
    (turned, _), (straight, _) = second(), first()
    assert np.array_equal(turned, straight[::-1])
    assert np.array_equal(straight, engine.run(np.asfortranarray(pixels))[0])


def test_a_slow_patch_is_waited_for_while_another_stream_is_free():
    engine = CompiledEngine(load_model())
    pixels, kept = patches()[:1], []
    engine._queue.set_callback(lambda request, of: kept.append((request, of)))
    finish = engine.start(pixels)

    class Busy:
        def is_ready(self) -> bool:
            return True

        def wait_all(self) -> None:
            queue.wait_all()
            for request, of in kept:
                _keep(request, of)

    queue, engine._queue = engine._queue, Busy()
    assert finish()[0].shape == (1, 3, 5, 32, 32)


def test_a_network_that_stops_is_told_and_not_waited_for():
    engine = CompiledEngine(load_model())
    engine._queue.set_callback(lambda request, of: None)
    with pytest.raises(ModelError, match="stopped before"):
        engine.run(patches()[:1])


def test_python_ends_while_patches_are_on_their_way():
    code = """
import numpy as np
from napari_her2.engine import CompiledEngine
from napari_her2.models import load_model
engine = CompiledEngine(load_model())
engine.start(np.full((3, 512, 512, 3), 200, np.uint8))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_and_absent_devices(mock_model: ScoringModel):
    with pytest.raises(ModelError, match='no device "tpu"'):
        open_engine(mock_model, "tpu")
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="no cuda device"):
            open_engine(mock_model, "cuda")


def test_a_model_without_files(mock_model: ScoringModel):
    with pytest.raises(ModelError, match=r"no model\.onnx"):
        open_engine(mock_model, "cpu")


def test_scoring_imports_neither_torch_nor_openvino():
    code = "import sys, napari_her2.scoring; sys.exit(bool({'torch', 'openvino', 'timm'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
