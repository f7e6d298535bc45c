"""Blocks in strips give the answers of blocks as a whole; what is no such block is left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino
from hypothesis import given, settings
from hypothesis import strategies as st
from openvino import opset13 as op

from napari_her2.strips import in_strips


def unit(data: Any, weights: np.ndarray, *, step: int = 1, pads: tuple[int, int] = (0, 0), clamp: bool = True) -> Any:
    above, below = ([p, p] for p in pads)
    grouped = weights.ndim == 5
    make = op.group_convolution if grouped else op.convolution
    out = make(data, op.constant(weights), [step, step], above, below, [1, 1])
    channels = weights.shape[0]
    out = op.add(out, op.constant(np.linspace(-1, 2, channels, dtype=np.float32).reshape(1, channels, 1, 1)))
    return op.clamp(out, 0.0, 6.0) if clamp else out


def network(
    rows: int, kernel: int = 3, step: int = 1, pads: tuple[int, int] = (1, 1), *, expand: bool = True, seed: int = 0
) -> openvino.Model:
    rng = np.random.default_rng(seed)
    data = op.parameter([-1, 4, rows, 20], np.float32)
    wide = 8 if expand else 4
    out = unit(data, rng.normal(size=(8, 4, 1, 1)).astype(np.float32)) if expand else data
    out = unit(out, rng.normal(size=(wide, 1, 1, kernel, kernel)).astype(np.float32), step=step, pads=pads)
    out = unit(out, rng.normal(size=(4, wide, 1, 1)).astype(np.float32), clamp=False)
    return openvino.Model([op.relu(out)], [data])


def answer(model: openvino.Model, rows: int) -> np.ndarray:
    data = np.random.default_rng(1).normal(size=(2, 4, rows, 20)).astype(np.float32)
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled({0: data})[0])


def groups(model: openvino.Model) -> int:
    return sum(node.get_type_name() == "GroupConvolution" for node in model.get_ordered_ops())


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(7, 41),
    kernel=st.sampled_from([3, 5]),
    step=st.integers(1, 3),
    pads=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    expand=st.booleans(),
    strip=st.integers(1, 20),
)
def test_strips_change_no_answer(
    rows: int, kernel: int, step: int, pads: tuple[int, int], expand: bool, strip: int
) -> None:
    whole, cut = (network(rows, kernel, step, pads, expand=expand) for _ in range(2))
    blocks = in_strips(cut, strip_bytes=strip * 4 * (8 if expand else 4) * 20)
    assert blocks == (groups(cut) > 1)
    np.testing.assert_allclose(answer(cut, rows), answer(whole, rows), rtol=1e-5, atol=1e-5)


def test_a_small_map_stays_whole() -> None:
    model = network(40)
    assert in_strips(model) == 0
    assert groups(model) == 1


def test_a_map_is_cut_into_strips_of_the_size_asked_for() -> None:
    model = network(40)
    assert in_strips(model, strip_bytes=10 * 4 * 8 * 20) == 1
    assert groups(model) == 5  # 8 rows of answers look at 10 rows
    assert openvino.Model.get_ordered_ops(model)[-1].output(0).partial_shape.to_string() == "[?,4,40,20]"


def test_a_map_that_others_read_too_is_made_as_a_whole() -> None:
    rng = np.random.default_rng(0)
    data = op.parameter([-1, 4, 40, 20], np.float32)
    wide = unit(data, rng.normal(size=(8, 4, 1, 1)).astype(np.float32))
    out = unit(wide, rng.normal(size=(8, 1, 1, 3, 3)).astype(np.float32), pads=(1, 1))
    out = unit(out, rng.normal(size=(4, 8, 1, 1)).astype(np.float32), clamp=False)
    model = openvino.Model([op.relu(out), op.reduce_mean(wide, [2, 3], False)], [data])
    before = answer(model, 40)
    assert in_strips(model, strip_bytes=4000) == 1
    pointwise = [n for n in model.get_ordered_ops() if n.get_type_name() == "Convolution"]
    assert len(pointwise) == 1 + groups(model)  # one expansion, and a projection for each strip
    np.testing.assert_allclose(answer(model, 40), before, rtol=1e-5, atol=1e-5)


def test_other_activations_and_open_sizes_are_left_alone() -> None:
    rng = np.random.default_rng(0)
    for shape, activation in (([-1, 4, 40, 20], op.swish), ([-1, 4, -1, -1], lambda x: op.clamp(x, 0.0, 6.0))):
        data = op.parameter(shape, np.float32)
        weights = op.constant(rng.normal(size=(4, 1, 1, 3, 3)).astype(np.float32))
        out = op.group_convolution(data, weights, [1, 1], [1, 1], [1, 1], [1, 1])
        out = activation(op.add(out, op.constant(np.ones((1, 4, 1, 1), np.float32))))
        out = unit(out, rng.normal(size=(4, 4, 1, 1)).astype(np.float32), clamp=False)
        model = openvino.Model([out], [data])
        assert in_strips(model, strip_bytes=100) == 0
        assert groups(model) == 1
