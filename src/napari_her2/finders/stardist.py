"""StarDistFinder: nuclei by a StarDist model, from its folder."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_her2.errors import ModelError
from napari_her2.finders.packages import imported, packaged, said
from napari_her2.membrane.finder import Sight, Source, checksum

__all__ = ["StarDistFinder"]


class StarDistFinder:
    """A StarDist model of three channels is shown the colours, one of one channel the haematoxylin.

    Parameters
    ----------
    weights : Path
        Folder of the model: config.json, weights (.h5), and its thresholds.json if there is one.
    device : str
        TensorFlow has a GPU or not of its own: "auto" takes what it has.

    Raises
    ------
    ModelError
        If StarDist or TensorFlow is not installed, the folder is no such model, or TensorFlow lacks the device.
    """

    def __init__(self, weights: Path, device: str) -> None:
        folder = weights.resolve()
        config = _config(folder)
        files = sorted(file for file in folder.iterdir() if file.suffix in (".h5", ".hdf5", ".json"))
        tensorflow, models = imported("tensorflow", "stardist"), imported("stardist.models", "stardist")
        where = _device(tensorflow, device)
        try:
            with redirect_stdout(io.StringIO()):  # it tells what it loads
                self._model = models.StarDist2D(None, name=folder.name, basedir=str(folder.parent))
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise ModelError(f"{folder.name} is no StarDist model that can be loaded: {said(error)}.") from error
        self.sight = Sight(colours=config["n_channel_in"] == 3, lowest=1, highest=99.8, jointly=True)
        self.source = Source("stardist", packaged("stardist"), folder.name, checksum(files), where)

    def labels(self, picture: npt.NDArray[np.float32]) -> npt.NDArray[np.integer]:
        """See `NucleusFinder.labels`."""
        seen = picture if self.sight.colours else picture[..., 0]
        found: npt.NDArray[np.integer] = self._model.predict_instances(seen, show_tile_progress=False)[0]
        return found


def _config(folder: Path) -> dict[str, Any]:
    """The configuration of a model that can be used."""
    config, weights = folder / "config.json", [*folder.glob("*.h5"), *folder.glob("*.hdf5")]
    if not config.is_file() or not weights:  # without weights StarDist would go on at random
        raise ModelError(f"{folder.name} is no StarDist model: name the folder that holds config.json and weights.")
    try:
        known: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))
        dimensions, channels = known["n_dim"], known["n_channel_in"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{config.name} of {folder.name} is not that of a StarDist model.") from error
    if dimensions != 2 or channels not in (1, 3):
        raise ModelError(
            f"{folder.name} is for {dimensions}D pictures of {channels} channels: 2D and 1 or 3 are needed."
        )
    return known


def _device(tensorflow: Any, device: str) -> str:
    """Where TensorFlow will run, without taking all memory of a GPU that the scoring network needs, too."""
    cards = [] if device == "cpu" else tensorflow.config.list_physical_devices("GPU")
    if device in ("cuda", "mps") and not cards:
        raise ModelError(f"TensorFlow finds no GPU here, so StarDist has no {device}: choose --device auto or cpu.")
    with suppress(RuntimeError):  # TensorFlow is running already, set up by the model opened before
        for card in cards:
            tensorflow.config.experimental.set_memory_growth(card, True)
        if device == "cpu":
            tensorflow.config.set_visible_devices([], "GPU")
    return "gpu" if cards else "cpu"
