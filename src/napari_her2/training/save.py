"""Writing a model folder: safetensors with its header, and the same network as ONNX."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from napari_her2.errors import ModelError
from napari_her2.files import writing
from napari_her2.models import ScoringModel, model_header, tensors_sha256

__all__ = ["check_exporter", "save_model", "strip_traces"]


def check_exporter() -> None:
    """See that what `save_model` needs beside the package is there, before any work is done.

    Raises
    ------
    ModelError
        If it is not.
    """
    lacking = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if lacking:
        raise ModelError(
            f"A new network cannot be written without {' and '.join(lacking)}: pip install 'napari-her2[train]'."
        )


def save_model(model: ScoringModel, network: nn.Module, folder: Path) -> ScoringModel:
    """Write ``model.safetensors`` and ``model.onnx`` into a folder, replacing what is there.

    Returns
    -------
    ScoringModel
        With its checksums and its folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network = network.eval().cpu()
    with writing(folder / "model.onnx", overwrite=True) as temporary:
        _export(network, model, temporary)
        onnx_sha256 = hashlib.sha256(temporary.read_bytes()).hexdigest()
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    # the checksum of the tensors stands in the header, which does not count in it: write twice
    with writing(folder / "model.safetensors", overwrite=True) as temporary:
        # not save_file, which makes files that only their owner can read
        temporary.write_bytes(save(state))
        model = replace(model, onnx_sha256=onnx_sha256, weights_sha256=tensors_sha256(temporary), folder=folder)
        temporary.write_bytes(save(state, metadata=model_header(model)))
    return model


def _export(network: nn.Module, model: ScoringModel, path: Path) -> None:
    patch, whole = model.spec.patch, sum(level.count for level in model.spec.levels)
    # a stacked network takes the patches of one core, no more and no less
    example = torch.zeros((whole if model.stacked else 2, patch, patch, 3), dtype=torch.uint8)
    shapes = None if model.stacked else {"pixels": {0: torch.export.Dim("n", min=1, max=1024)}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        torch.onnx.export(
            network,
            (example,),
            path,
            input_names=["pixels"],
            output_names=["shares", "features"],
            dynamic_shapes=shapes,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    strip_traces(path)


def strip_traces(path: Path) -> None:
    """Take out what the exporter notes of each node: traces with the folders of whoever exported it."""
    import onnx

    model = onnx.load(path)
    parts = [model, model.graph, *model.functions, *model.graph.node, *model.graph.value_info, *model.graph.initializer]
    parts += [*model.graph.input, *model.graph.output, *(node for f in model.functions for node in f.node)]
    for part in parts:
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    onnx.save(model, path)
