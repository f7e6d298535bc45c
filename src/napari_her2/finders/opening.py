"""open_finder: a finder by its name, from weights on disk, or one sentence that says why not."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from napari_her2.errors import ModelError
from napari_her2.membrane.finder import NucleusFinder

__all__ = ["FINDERS", "installed", "open_finder"]


def _cellpose(weights: Path, device: str) -> NucleusFinder:
    from napari_her2.finders.cellpose import CellposeFinder

    return CellposeFinder(weights, device)


def _stardist(weights: Path, device: str) -> NucleusFinder:
    from napari_her2.finders.stardist import StarDistFinder

    return StarDistFinder(weights, device)


def _instanseg(weights: Path, device: str) -> NucleusFinder:
    from napari_her2.finders.instanseg import InstanSegFinder

    return InstanSegFinder(weights, device)


#: How each finder is opened from its weights and a device of `napari_her2.engine.DEVICES`.
FINDERS: dict[str, Callable[[Path, str], NucleusFinder]] = {
    "cellpose": _cellpose,
    "stardist": _stardist,
    "instanseg": _instanseg,
}


def installed(name: str) -> bool:
    """Whether the package of a finder is there; its name is the finder's."""
    return find_spec(name) is not None


def open_finder(name: str, weights: str | Path, device: str = "auto") -> NucleusFinder:
    """A finder of nuclei, ready to work.

    Parameters
    ----------
    name : str
        One of `FINDERS`.
    weights : path
        Cellpose: a file of weights of Cellpose-SAM. StarDist: the folder of a model, with config.json. InstanSeg: a
        TorchScript archive, which holds code that is run: open none that you do not trust.
    device : str
        One of `napari_her2.engine.DEVICES`.

    Raises
    ------
    ModelError
        If there is no such finder or device, its package is not installed, or the weights are absent or not for it.
    """
    if name not in FINDERS:
        raise ModelError(f"There is no finder of nuclei called {name}: choose one of {', '.join(FINDERS)}.")
    path = Path(weights).expanduser()
    if not path.exists():
        raise ModelError(f"There are no weights {path}: download them yourself and name them; nothing is fetched here.")
    return FINDERS[name](path, device)
