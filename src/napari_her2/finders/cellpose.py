"""CellposeFinder: nuclei by Cellpose-SAM on the haematoxylin alone, from a file of weights."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_her2.engine import choose_device
from napari_her2.errors import ModelError
from napari_her2.finders.packages import imported, packaged, said
from napari_her2.membrane.finder import Sight, Source, checksum

__all__ = ["CellposeFinder"]


class CellposeFinder:
    """Cellpose 4. Shown in colours, a brown membrane would make it draw cells; the measurement needs nuclei.

    Parameters
    ----------
    weights : Path
        Of Cellpose-SAM, as published or trained further with Cellpose 4. Only tensors are read, no pickled code.
    device : str

    Raises
    ------
    ModelError
        If Cellpose is not installed, or the file is no such weights.
    """

    sight = Sight(colours=False, lowest=1, highest=99)

    def __init__(self, weights: Path, device: str) -> None:
        import torch

        tf32 = torch.backends.cuda.matmul.allow_tf32
        models = imported("cellpose.models", "cellpose")
        # Cellpose coarsens all products on CUDA when it is imported: the scoring network keeps its own precision
        torch.backends.cuda.matmul.allow_tf32 = tf32
        names, where = _names(weights), choose_device(device)
        try:
            self._model = models.CellposeModel(
                pretrained_model=str(weights), device=torch.device(where), use_bfloat16=where == "cuda"
            )
        except (RuntimeError, ValueError, KeyError) as error:
            raise ModelError(f"{weights.name} holds no weights that this Cellpose can load: {said(error)}.") from error
        # Cellpose leaves what it does not find as it is: at random
        if lacking := set(self._model.net.state_dict()) - names:
            raise ModelError(f"{weights.name} is incomplete: {len(lacking)} tensors of Cellpose-SAM are not in it.")
        self.source = Source("cellpose", packaged("cellpose"), weights.name, checksum([weights]), where)

    def labels(self, picture: npt.NDArray[np.float32]) -> npt.NDArray[np.integer]:
        """See `NucleusFinder.labels`."""
        found: npt.NDArray[np.integer] = self._model.eval(picture, channel_axis=-1, normalize=False)[0]
        return found


def _names(weights: Path) -> set[str]:
    """Names of the tensors in a file of weights."""
    import torch

    try:
        found: Any = torch.load(weights, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise ModelError(f"{weights.name} holds no weights of Cellpose 4 (or holds more than tensors).") from error
    names = {name.removeprefix("module.") for name in found} if isinstance(found, dict) else set()
    if "encoder.cls_token" in names:
        raise ModelError(f"{weights.name} is for Cellpose with DINOv3, which is not supported: name Cellpose-SAM's.")
    if "W2" not in names:
        raise ModelError(f"{weights.name} holds no weights of Cellpose 4; those of Cellpose 3 and older do not do.")
    return names
