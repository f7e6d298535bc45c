"""NucleusFinder: what a finder of nuclei has to offer to the measurement, and what is recorded of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["BUILT_IN", "NucleusFinder", "Sight", "Source", "checksum", "source_of"]

#: What is recorded, and chosen on the command line, where `membrane.nuclei.find_nuclei` finds the nuclei.
BUILT_IN = "built-in"


@dataclass(frozen=True)
class Sight:
    """What a finder is shown of a core.

    Attributes
    ----------
    colours : bool
        True: RGB. False: haematoxylin alone (OD, bright nuclei on a dark ground), without what brown does to colours.
    lowest, highest : float
        Percentiles of the whole core that become 0 and 1, as the finder's own package does.
    jointly : bool
        One pair of percentiles for red, green and blue together, not one for each.
    """

    colours: bool
    lowest: float
    highest: float
    jointly: bool = False


@dataclass(frozen=True)
class Source:
    """Which finder found nuclei, and with what.

    Attributes
    ----------
    finder : str
        Its name in `finders.FINDERS`.
    package : str
        The package and its version, such as "cellpose 4.2.1".
    weights : str
        Name of the file or folder.
    sha256 : str
        Of the weights: different weights often have the same name.
    device : str
        "cpu", "cuda" or "mps".
    """

    finder: str
    package: str = ""
    weights: str = ""
    sha256: str = ""
    device: str = ""

    def __str__(self) -> str:
        return f"{self.finder} {self.weights} {self.sha256[:12]}".rstrip()

    def record(self) -> dict[str, str]:
        """What ``run.json`` says of it."""
        return {key: value for key, value in asdict(self).items() if value}


class NucleusFinder(Protocol):
    """Something that tells the nuclei of a picture apart."""

    source: Source
    sight: Sight

    def labels(self, picture: npt.NDArray[np.float32]) -> npt.NDArray[np.integer]:
        """Number the nuclei of a picture of 0.5 µm per pixel.

        Parameters
        ----------
        picture : ndarray of float32, shape (rows, columns, channels)
            As `sight` asks for it: three channels or one, about 0..1.

        Returns
        -------
        ndarray of int, shape (rows, columns)
            0 where there is no nucleus, a number of its own on each.
        """
        ...


def source_of(finder: NucleusFinder | None) -> Source:
    """What is recorded of a finder; None is the built-in one."""
    return Source(BUILT_IN) if finder is None else finder.source


def checksum(paths: Iterable[Path]) -> str:
    """SHA-256 of the content of files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
