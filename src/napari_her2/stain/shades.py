"""How one stain alone is shown: the same densities in the same colours in the viewer and on paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from napari_her2.stain.vectors import Stains

__all__ = ["SHOWN_OD", "STAIN_NAMES", "StainRole", "paint_stain", "shades"]

StainRole = Literal["hematoxylin", "dab"]

#: What the user reads.
STAIN_NAMES: Mapping[StainRole, str] = {"hematoxylin": "haematoxylin", "dab": "DAB"}
#: OD that is shown in the full colour of a stain. The same on every slide: stretched to its own range, the noise of a
#: score-0 slide would look like staining.
SHOWN_OD: Mapping[StainRole, float] = {"hematoxylin": 0.4, "dab": 0.8}
#: OD that the full colour has: deeper than what it stands for, since one stain alone looks pale.
_DEEPEST = 1.2


def shades(stains: Stains, role: StainRole, count: int = 17) -> npt.NDArray[np.uint8]:
    """From the slide's glass to the colour of the stain, as light passes through more and more of it.

    Returns
    -------
    ndarray of uint8, shape (count, 3)
        R, G, B of even steps from 0 to `SHOWN_OD`.
    """
    return np.array([stains.swatch(role, float(d)) for d in np.linspace(0, _DEEPEST, count)], np.uint8)


def paint_stain(amount: npt.NDArray[np.floating], stains: Stains, role: StainRole) -> npt.NDArray[np.uint8]:
    """A picture of one stain.

    Parameters
    ----------
    amount : ndarray of float, shape (...)
        Optical density, from `unmix`.
    stains : Stains
    role : {"hematoxylin", "dab"}

    Returns
    -------
    ndarray of uint8, shape (..., 3)
    """
    step = np.clip(amount * (255 / SHOWN_OD[role]), 0, 255).astype(np.uint8)
    return np.asarray(shades(stains, role, 256)[step])
