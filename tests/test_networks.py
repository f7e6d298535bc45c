from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from napari_her2.encoders import encoder_source
from napari_her2.errors import ModelError
from napari_her2.models import load_model
from napari_her2.networks import PlaceNetwork, StackedNetwork, build_network


def pixels(side: int = 64, n: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (n, side, side, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_features_are_the_means_of_every_stage():
    network = build_network({}).eval()
    with torch.inference_mode():
        shares, features = network(pixels())
        x = network.encoder[1](network.encoder[0](network.inputs(pixels())))
        means = [x.mean((2, 3))]
        for block in network.encoder[2:]:
            x = block(x)
            means.append(x.mean((2, 3)))
    assert shares.shape == (2, 3, 5, 4, 4)
    torch.testing.assert_close(shares.sum(2), torch.ones(2, 3, 4, 4))
    torch.testing.assert_close(features, torch.cat(means, 1))


def test_the_shipped_weights_fit_what_their_header_says():
    model = load_model()
    build_network(model.network).load_state_dict(load_file(model.weights_path))


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224", "vit_small_patch14_dinov2", "convnext_atto"])
def test_any_encoder_of_timm_gives_a_place_every_16_pixels(name: str):
    network = PlaceNetwork(name).eval()
    with torch.inference_mode():
        shares, features = network(pixels(224, 1))
    assert shares.shape == (1, 3, 5, 14, 14)
    assert features.shape == (1, sum(network.encoder.channels))


def test_an_encoder_of_a_local_folder(tmp_path: Path):
    torch.manual_seed(1)
    whole = timm.create_model("resnet10t", num_classes=7)
    save_file(whole.state_dict(), tmp_path / "model.safetensors")
    config = {"architecture": "resnet10t", "pretrained_cfg": {"license": "cc-by-nc-4.0", "mean": [0.5] * 3}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    source = encoder_source(tmp_path)
    assert source.licence == "cc-by-nc-4.0"
    network = PlaceNetwork.from_source(source)
    assert torch.equal(network.encoder.net.layer1[0].conv1.weight, whole.layer1[0].conv1.weight)
    assert network.mean.flatten().tolist() == [127.5] * 3
    again = build_network({"encoder": source.name, "encoder_args": source.args})
    again.load_state_dict(network.state_dict())


def test_what_cannot_serve_is_refused(tmp_path: Path):
    (tmp_path / "w.bin").write_bytes(b"x")
    for arguments, says in (
        (("no_such_net",), "timm knows no network"),
        ((tmp_path,), r"no config\.json"),
        (("resnet10t", tmp_path / "w.bin"), "can run code"),
        (("resnet10t", tmp_path / "w.safetensors"), "no weights"),
    ):
        with pytest.raises(ModelError, match=says):
            encoder_source(*arguments)
    with pytest.raises(ModelError, match="no network design"):
        build_network({"design": "round"})


def test_the_stack_is_of_one_core_after_the_other():
    network = StackedNetwork(patches=3).eval()
    with torch.inference_mode():
        both, features = network(pixels(64, 6))
        second, _ = network(pixels(64, 6)[3:])
    assert both.shape == (2, 4)
    assert features.shape == (2, 1920)
    torch.testing.assert_close(both[1:], second)
    torch.testing.assert_close(network.inputs(pixels(64, 6))[1, 3:6].permute(1, 2, 0), pixels(64, 6)[4] / 255 - 1)
