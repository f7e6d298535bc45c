"""in_strips: blocks of a network run strip by strip, so that what lies between their convolutions stays in the cache.

The widest maps of a light encoder are those inside its inverted bottlenecks: 96 channels of 256 x 256 floats are 25 MB,
written and read again within one block. A strip of a few rows goes through the whole block before the next begins. Each
number comes from the same products as before, so the answers do not change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["in_strips"]

#: Bytes of the widest map of a strip: of 0.7 to 6 MB on two cores of 1 MB second-level cache each, 4 was quickest.
STRIP_BYTES = 4_000_000

#: A node of OpenVINO, or one of its outputs: the package has no types of its own.
_Node = Any


def in_strips(network: _Node, strip_bytes: int = STRIP_BYTES) -> int:
    """Rewrite a network in place: each inverted bottleneck whose inner map is larger than a strip runs in strips.

    A bottleneck is a convolution of groups between two clamps, a 1 x 1 convolution behind it, and, if there is one, a
    1 x 1 convolution before it. What looks otherwise, or has no fixed height and width, stays as it is.

    Parameters
    ----------
    network : openvino.Model
    strip_bytes : int
        How large the widest float32 map of a strip may be, about.

    Returns
    -------
    int
        How many blocks were rewritten.
    """
    from openvino.passes import ConstantFolding, Manager

    folding = Manager()
    folding.register_pass(ConstantFolding())  # weights and biases stand behind shape arithmetic
    folding.run_passes(network)
    blocks = [block for node in network.get_ordered_ops() if (block := _bottleneck(node)) is not None]
    rewritten = [block for block in blocks if _rewrite(block, strip_bytes)]
    network.validate_nodes_and_infer_types()
    return len(rewritten)


@dataclass(frozen=True)
class _Unit:
    """A convolution and the bias added to what it gives; `end` is the output that others read."""

    conv: _Node
    bias: _Node
    end: _Node
    low: float = -np.inf
    high: float = np.inf

    def __call__(self, data: _Node, pads: tuple[int, int] | None = None) -> _Node:
        """The same unit on other data, with other padding above and below."""
        from openvino import opset13 as op

        given = self.conv.get_attributes()
        above, below = list(given["pads_begin"]), list(given["pads_end"])
        if pads is not None:
            above[0], below[0] = pads
        make = op.group_convolution if self.conv.get_type_name() == "GroupConvolution" else op.convolution
        out = make(data, self.conv.input_value(1), list(given["strides"]), above, below, list(given["dilations"]))
        # a constant of its own: OpenVINO joins a sum with its convolution only where nobody else reads the constant
        out = op.add(out, op.constant(self.bias.get_node().get_data()))
        return op.clamp(out, self.low, self.high) if np.isfinite(self.high) else out


@dataclass(frozen=True)
class _Bottleneck:
    expand: _Unit | None
    depthwise: _Unit
    project: _Unit

    @property
    def data(self) -> _Node:
        return (self.expand or self.depthwise).conv.input_value(0)


def _bottleneck(node: _Node) -> _Bottleneck | None:
    if node.get_type_name() != "GroupConvolution" or not node.output(0).partial_shape[1:].is_static:
        return None
    depthwise = _unit(node, clamped=True)
    follower = _only_reader(depthwise.end) if depthwise else None
    project = _unit(follower, clamped=False) if _is_pointwise(follower) else None
    if depthwise is None or project is None:
        return None
    return _Bottleneck(_expansion(node.input_value(0)), depthwise, project)


def _expansion(data: _Node) -> _Unit | None:
    """The 1 x 1 convolution whose clamped answer `data` is, when nobody else reads it."""
    conv: _Node | None = data.get_node()
    while conv is not None and conv.get_type_name() in ("Clamp", "Minimum", "Maximum", "Add"):
        conv = next((i.get_node() for i in conv.input_values() if not _is_constant(i)), None)
    unit = _unit(conv, clamped=True) if _is_pointwise(conv) else None
    return unit if unit is not None and unit.end == data and _only_reader(data) is not None else None


def _unit(conv: _Node, *, clamped: bool) -> _Unit | None:
    add = _only_reader(conv.output(0))
    if add is None or add.get_type_name() != "Add" or not _is_constant(conv.input_value(1)):
        return None
    bias = next((i for i in add.input_values() if _is_constant(i)), None)
    if bias is None:
        return None
    if not clamped:
        return _Unit(conv, bias, add.output(0))
    limits = _limits(add)
    return None if limits is None else _Unit(conv, bias, *limits)


def _limits(add: _Node) -> tuple[_Node, float, float] | None:
    """The end and the bounds of the clamp behind a sum: one node, or a maximum and a minimum."""
    first = _only_reader(add.output(0))
    if first is not None and first.get_type_name() == "Clamp":
        return first.output(0), float(first.get_attributes()["min"]), float(first.get_attributes()["max"])
    second = _only_reader(first.output(0)) if first is not None and first.get_type_name() == "Maximum" else None
    if first is None or second is None or second.get_type_name() != "Minimum":
        return None
    bounds = [next((i for i in n.input_values() if _is_constant(i)), None) for n in (first, second)]
    if any(bound is None or bound.get_node().get_data().size != 1 for bound in bounds):
        return None
    low, high = (float(bound.get_node().get_data()) for bound in bounds if bound is not None)
    return second.output(0), low, high


def _rewrite(block: _Bottleneck, strip_bytes: int) -> bool:
    from openvino import opset13 as op

    conv = block.depthwise.conv
    _, channels, height, width = (d.get_length() if d.is_static else 0 for d in conv.input_value(0).partial_shape)
    rows_out = conv.output(0).partial_shape[2].get_length()
    given = conv.get_attributes()
    step, above = given["strides"][0], given["pads_begin"][0]
    reach = (conv.input_value(1).partial_shape[-2].get_length() - 1) * given["dilations"][0] + 1
    rows = max(1, (strip_bytes // (4 * channels * width) - reach) // step + 1)
    count = -(-rows_out // rows)
    if count < 2:
        return False
    edges = np.linspace(0, rows_out, count + 1).round().astype(int)
    strips = []
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        # the rows that these answers look at; what lies beyond the picture is padding, as it was
        first, last = low * step - above, (high - 1) * step - above + reach
        part = op.slice(block.data, [max(0, first)], [min(height, last)], [1], [2])
        if block.expand is not None:
            part = block.expand(part)
        part = block.depthwise(part, (max(0, -first), max(0, last - height)))
        strips.append(block.project(part))
    whole = op.concat(strips, 2).output(0)
    for reader in block.project.end.get_target_inputs():
        reader.replace_source_output(whole)
    return True


def _only_reader(output: _Node) -> _Node | None:
    readers = list(output.get_target_inputs())
    return readers[0].get_node() if len(readers) == 1 else None


def _is_constant(output: _Node) -> bool:
    return bool(output.get_node().get_type_name() == "Constant")


def _is_pointwise(node: _Node | None) -> bool:
    if node is None or node.get_type_name() != "Convolution" or not _is_constant(node.input_value(1)):
        return False
    given = node.get_attributes()
    kernel = tuple(node.input_value(1).get_node().get_output_shape(0))[2:]
    return kernel == (1, 1) and list(given["strides"]) == [1, 1] and not any([*given["pads_begin"], *given["pads_end"]])
