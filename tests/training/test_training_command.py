"""``python -m napari_her2.training``: what one stage hands to the next."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from napari_her2.encoders import encoder_source
from napari_her2.models import load_model
from napari_her2.training import __main__ as command


def options(*given: str) -> object:
    return command._options(["run", "-o", "model", "--tiles", "2", *given])


def test_goes_on_from_a_model(tmp_path: Path) -> None:
    source = encoder_source("efficientnet_lite0", None)
    chosen = options("--start", load_model().name, "--further-steps", "0")
    network, history = command.train(tmp_path, None, chosen, source)  # type: ignore[arg-type]
    saved = load_file(load_model().weights_path)
    assert history == []
    assert all(torch.equal(value, saved[name]) for name, value in network.state_dict().items())


def test_further_steps_change_it(tmp_path: Path) -> None:
    source = encoder_source("efficientnet_lite0", None)
    chosen = options("--start", load_model().name, "--further-steps", "1")
    network, history = command.train(tmp_path, None, chosen, source)  # type: ignore[arg-type]
    saved = load_file(load_model().weights_path)
    assert len(history) == 1
    assert any(not torch.equal(value, saved[name]) for name, value in network.state_dict().items())
