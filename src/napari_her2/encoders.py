"""Encoders of timm by name, with weights from the package or a file at hand; nothing is ever downloaded."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn
from torch.nn import functional

from napari_her2.errors import ModelError

__all__ = ["EncoderSource", "TimmStages", "encoder_source", "first_blocks"]

#: Pixels between two places of a patch.
STRIDE = 16
_CONFIG = "config.json"


@dataclass(frozen=True)
class EncoderSource:
    """Where an encoder comes from.

    Attributes
    ----------
    name : str
        Of the timm architecture.
    args : dict
        Further arguments of ``timm.create_model``.
    weights : Path or None
        Safetensors file; None for weights drawn at random (or those of `PlaceNetwork.start_from_imagenet`).
    licence : str
        Of the weights, as far as anyone said; shown to the user and kept in the model card.
    mean, std : tuple of 3 float
        Of the pictures that the weights were trained with, 0..1; empty for what timm says of the architecture.
    """

    name: str
    args: dict[str, Any] = field(default_factory=dict)
    weights: Path | None = None
    licence: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def network(self) -> dict[str, Any]:
        """Arguments of `networks.build_network` for a network with this encoder."""
        return {"encoder": self.name, **({"encoder_args": self.args} if self.args else {})}


def encoder_source(what: str | Path, weights: str | Path | None = None) -> EncoderSource:
    """Read what encoder a name or a folder stands for.

    Parameters
    ----------
    what : str or Path
        Name of a timm architecture; or a folder as timm and the Hugging Face hub write it, with ``config.json`` and
        ``model.safetensors`` (most pathology foundation models come so).
    weights : str or Path, optional
        Safetensors file with weights for a named architecture.

    Raises
    ------
    ModelError
        If timm knows no such architecture, or the weights are missing or a pickle.
    """
    folder, args, licence, seen = Path(what), dict[str, Any](), "", dict[str, Any]()
    name = str(what)
    if folder.is_dir():
        try:
            config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
            name, args = str(config["architecture"]), dict(config.get("model_args") or {})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{folder.name} holds no {_CONFIG} that names a timm architecture.") from error
        seen = config.get("pretrained_cfg") or {}
        licence = str(seen.get("license") or config.get("license") or "")
        weights = weights or folder / "model.safetensors"
    if not timm.is_model(name):
        raise ModelError(f'timm knows no network "{name}": timm.list_models() lists those it knows.')
    path = None if weights is None else Path(weights)
    if path is not None and path.suffix != ".safetensors":
        raise ModelError(f"{path.name} is not a safetensors file: weights of other kinds can run code and are refused.")
    if path is not None and not path.is_file():
        raise ModelError(f"There are no weights {path}.")
    if path is not None and not licence:
        licence = "not stated beside the weights: ask where they came from before you pass the model on"
    return EncoderSource(name, args, path, licence, tuple(seen.get("mean", ())), tuple(seen.get("std", ())))


def first_blocks(name: str, blocks: int, args: dict[str, Any], weights: Path | None) -> nn.Sequential | None:
    """Stem, normalisation and first blocks of a light network of the EfficientNet family; None for other networks."""
    if not name.startswith(("efficientnet_lite", "tf_efficientnet_lite", "mobilenetv2")):
        return None
    whole: Any = timm.create_model(name, **args, **_start(weights))
    # the later blocks see far and coarsely; a membrane is near and fine
    return nn.Sequential(whole.conv_stem, whole.bn1, *whole.blocks[:blocks])


class TimmStages(nn.Module):
    """Any timm network that gives feature maps, up to the last stage with a place every 16 pixels.

    Transformers with patches of another size see the picture resized, so that their patches are the places.

    Parameters
    ----------
    name : str
        Of the timm architecture.
    args : dict
        Further arguments of ``timm.create_model``.
    weights : Path, optional
        Safetensors file to start from.

    Raises
    ------
    ModelError
        If the network gives no maps of that kind, or the weights do not fit.
    """

    def __init__(self, name: str, args: dict[str, Any], weights: Path | None = None) -> None:
        super().__init__()
        self.net, self.zoom = _with_features(name, args, weights)
        info = self.net.feature_info
        self.channels: list[int] = info.channels()
        self._last = str(getattr(self.net, "output_fmt", "NCHW")).endswith("NHWC")

    def maps(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of inputs (n, 3, y, x), from near to far, as (n, channels, y, x) each."""
        if self.zoom != 1:
            inputs = functional.interpolate(inputs, scale_factor=self.zoom, mode="bilinear", antialias=True)
        found: list[torch.Tensor] = self.net(inputs)
        return [m.permute(0, 3, 1, 2) for m in found] if self._last else found

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The last of the `maps`, which has a place every 16 pixels."""
        return self.maps(inputs)[-1]


def _with_features(name: str, args: dict[str, Any], weights: Path | None) -> tuple[Any, float]:
    """The network cut behind its last map of stride 16, and by how much its inputs are to be resized."""
    # most transformers are made for pictures of one size and have to be told to take others
    sizes = {"dynamic_img_size": True} if name.startswith(("vit", "deit", "eva", "beit")) else {}
    sizes |= {"strict_img_size": False} if name.startswith("swin") else {}
    options, start = {**sizes, **{k: v for k, v in args.items() if k != "num_classes"}}, _start(weights)
    try:
        whole: Any = timm.create_model(name, features_only=True, **options)
        strides = whole.feature_info.reduction()
        if len(set(strides)) == 1:  # a plain transformer: all its maps are alike
            net = timm.create_model(name, features_only=True, **options, **start)
            return net, strides[0] / STRIDE
        if STRIDE not in strides:
            raise ModelError(f"{name} has no map with a place every {STRIDE} pixels: choose another encoder.")
        kept = [k for k, stride in enumerate(strides) if stride <= STRIDE]
        return timm.create_model(name, features_only=True, out_indices=kept, **options, **start), 1.0
    except (RuntimeError, TypeError, AttributeError, KeyError, ValueError) as error:
        raise ModelError(f"{name} cannot serve as encoder ({error}).") from error


def _start(weights: Path | None) -> dict[str, Any]:
    """Arguments of ``timm.create_model`` that load a file; without one the weights are random, never fetched."""
    return {} if weights is None else {"pretrained": True, "pretrained_cfg_overlay": {"file": str(weights)}}
