"""The folded encoder gives the numbers, and the gradients, of the encoder itself."""

from __future__ import annotations

import torch

from napari_her2.networks import PlaceNetwork
from napari_her2.training.folded import encode


def test_folded_encoder_equals_encoder() -> None:
    torch.manual_seed(0)
    network = PlaceNetwork().eval().double()  # in single precision a place at the edge of a ReLU6 tells them apart
    for module in network.encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    inputs = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    plain = network.encoder(inputs)
    folded = encode(network.encoder, inputs)
    torch.testing.assert_close(folded, plain, rtol=1e-9, atol=1e-9)
    weight = network.encoder[0].weight
    plain.square().mean().backward()
    wanted, weight.grad = weight.grad, None
    folded.square().mean().backward()
    torch.testing.assert_close(weight.grad, wanted, rtol=1e-9, atol=1e-12)
