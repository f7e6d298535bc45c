"""How brown a cell's outline is, and what class that is: a small network on numbers, beside the other cells.

Brown that the cells of a core share, in the cytoplasm, as noise or as background, says little of a membrane; and a
faint membrane says more where the rest is clean. Fixed thresholds cannot know that.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_her2.membrane.rings import Rings

__all__ = ["CellNetwork", "Layers", "described", "outline_od", "shipped_network"]

FloatArray = npt.NDArray[np.float64]
Layers = tuple[tuple[FloatArray, FloatArray], ...]

#: Share of the outline, palest first, at which peak and line are read; and share of the core's cells.
_OUTLINE = np.array([0.15, 0.4, 0.6, 0.8, 0.95])
_CELLS = (0.1, 0.25, 0.5, 0.75, 0.9)
#: DAB (OD) that is nothing.
_FLOOR = 0.01
#: Standard deviations from the cells fitted to beyond which a number counts no further.
_FARTHEST = 4.0


def outline_od(rings: Rings, outline: float = 1.0) -> FloatArray:
    """OD of each cell: DAB of peak and line at five places of its outline, from pale to brown, and of its cytoplasm.

    Last the haematoxylin of the core's typical nucleus, which tells how strongly the laboratory stains.

    Parameters
    ----------
    rings : Rings
        Of n cells.
    outline : float
        Share of the outline that is looked at, the brownest; 1 is all of it.

    Returns
    -------
    ndarray of float64, shape (n, 12)
    """
    places = 1 - outline * (1 - _OUTLINE)
    peak, line = (np.quantile(rays, places, axis=0) for rays in (rings.peak, rings.line))
    return np.concatenate([peak, line, rings.cytoplasm[None], rings.nuclear[None]]).T.astype(np.float64)


def described(od: FloatArray, factor: float = 1.0) -> FloatArray:
    """What the network is shown: logarithms of `outline_od`, of the cell and of five cells from the core's palest up.

    Parameters
    ----------
    od : ndarray of float64, shape (n, 12)
        Of all counted cells of one core.
    factor : float
        By which this laboratory's brown is stronger.

    Returns
    -------
    ndarray of float64, shape (n, 67)
    """
    own = np.log(np.maximum(od[:, :-1], 0) / factor + _FLOOR)
    core = np.append(np.quantile(own, _CELLS, axis=0), np.log(od[:1, -1] + _FLOOR))
    return np.concatenate([own, np.broadcast_to(core, (len(own), len(core)))], axis=1)


@dataclass(frozen=True)
class CellNetwork:
    """Fitted to cells of known class by `benchmarks/cell_classes.py`: the mean of several networks of a few layers.

    Attributes
    ----------
    mean, scale : ndarray, shape (67,)
        Of the columns of `described` among the cells fitted to.
    members : tuple of tuples of (weights, constants)
        Layers of each network, with SiLU between them; shapes (k, m) and (m,).
    """

    mean: FloatArray
    scale: FloatArray
    members: tuple[Layers, ...]

    def __call__(self, numbers: FloatArray) -> FloatArray:
        """For each cell the logits of being at least 1+, 2+, 3+, and that of a stretch of its outline being stained.

        Parameters
        ----------
        numbers : ndarray of float64, shape (n, 67)
            From `described`.

        Returns
        -------
        ndarray of float64, shape (n, 4)
        """
        standard = self.standard(numbers)
        return np.asarray(np.mean([_run(layers, standard) for layers in self.members], axis=0))

    def standard(self, numbers: FloatArray) -> FloatArray:
        """Columns of `described` in standard deviations; what is far out counts as no farther than so many."""
        return np.clip((numbers - self.mean) / self.scale, -_FARTHEST, _FARTHEST)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> CellNetwork:
        """From what the fit has written."""
        members = tuple(
            tuple((np.array(weights), np.array(constants)) for weights, constants in layers)
            for layers in content["members"]
        )
        return cls(np.array(content["mean"]), np.array(content["scale"]), members)


def _run(layers: Layers, found: FloatArray) -> FloatArray:
    for k, (weights, constants) in enumerate(layers):
        if k:
            found = found / (1 + np.exp(-found))
        found = found @ weights + constants
    return found


@cache
def shipped_network() -> CellNetwork:
    """The network that comes with the package."""
    text = resources.files("napari_her2").joinpath("data", "cell_classes.json").read_text(encoding="utf-8")
    return CellNetwork.from_dict(json.loads(text))
