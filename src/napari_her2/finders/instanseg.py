"""InstanSegFinder: nuclei by an InstanSeg model, from its TorchScript archive."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_her2.engine import choose_device
from napari_her2.errors import ModelError
from napari_her2.finders.packages import imported, packaged
from napari_her2.membrane.finder import Sight, Source, checksum
from napari_her2.membrane.measurement import MPP

__all__ = ["InstanSegFinder"]


class InstanSegFinder:
    """A model of three channels, such as brightfield_nuclei, is shown the colours, one of one the haematoxylin.

    Parameters
    ----------
    weights : Path
        The archive instanseg.pt, or the folder that holds it. TorchScript holds code, and it is run.
    device : str

    Raises
    ------
    ModelError
        If InstanSeg is not installed, or the file is no such archive.
    """

    def __init__(self, weights: Path, device: str) -> None:
        library = imported("instanseg", "instanseg")
        file = weights / "instanseg.pt" if weights.is_dir() else weights
        network, where = _network(file), choose_device(device)
        first = next((p.shape[1] for p in network.parameters() if p.ndim == 4), 0)
        if first not in (1, 3):
            raise ModelError(f"{file.name} is for pictures of {first} channels: 1 or 3 are needed.")
        self._model = library.InstanSeg(network, device=where, image_reader="skimage.io", verbosity=0)
        # rescaled by InstanSeg where the model was trained on other pixels; 0 or NaN where it does not say
        self._mpp = MPP if network.pixel_size > 0 else None
        self.sight = Sight(colours=first == 3, lowest=0.1, highest=99.9)
        self.source = Source("instanseg", packaged("instanseg-torch"), file.name, checksum([file]), where)

    def labels(self, picture: npt.NDArray[np.float32]) -> npt.NDArray[np.integer]:
        """See `NucleusFinder.labels`."""
        import torch

        with torch.no_grad():
            found = self._model.eval_small_image(
                picture, self._mpp, normalise=False, return_image_tensor=False, target="nuclei"
            )
        return np.asarray(found[0, 0].cpu().numpy().astype(np.int32))


def _network(file: Path) -> Any:
    """The archive of an InstanSeg model."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch would rather have another format than InstanSeg's
            network = torch.jit.load(str(file), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"{file.name} is no TorchScript archive: InstanSeg's models are called instanseg.pt."
        ) from error
    if not all(hasattr(network, name) for name in ("pixel_size", "cells_and_nuclei")):
        raise ModelError(f"{file.name} is a TorchScript archive, and none of InstanSeg.")
    return network
