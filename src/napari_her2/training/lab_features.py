"""What the network sees of labelled cores, once and for all: the inputs of its last layer, kept on disk.

The encoder and the 3 x 3 layer of the head cost seconds a core, and training a laboratory's head leaves them as they
are; so a sample of places of each core goes through them once, as it is and with the stain a little changed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from napari_her2.cores import Core, CoreState
from napari_her2.engine import choose_device
from napari_her2.errors import HER2Error, ModelError
from napari_her2.files import writing
from napari_her2.manifest import parse_score
from napari_her2.models import ScoringModel
from napari_her2.pyramid import LevelSpec, PyramidSample, PyramidSpec, core_rng, sample
from napari_her2.scoring import MIN_TISSUE
from napari_her2.slide import RGB, Slide
from napari_her2.stain import QUPATH_DAB, QUPATH_HEMATOXYLIN, QUPATH_STAINS, optical_density, white_point
from napari_her2.stain.vectors import Stains

__all__ = [
    "VERSIONS",
    "CoreFeatures",
    "Encoder",
    "collect",
    "default_cache",
    "image_identity",
    "open_encoder",
    "other_stain",
    "restained",
]

#: A core as it is, and with its stain changed twice.
VERSIONS = 3
#: Share of the patches of a pyramid-sampling set: places are pooled by their shares, so fewer give the same value.
_PATCHES = 0.3
#: Places kept of the finest magnification; of each coarser one half as many.
_PLACES = 512
#: Standard deviation of the log of the amount of blue and of brown, and of each component of a stain's vector.
_BLUE, _BROWN, _VECTOR = 0.15, 0.08, 0.015
#: Part of the key of a cache file: another number when what is kept changes.
_FORMAT = 1

Encoder = Callable[[RGB], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class CoreFeatures:
    """A core of known score as the last layer of the network sees it.

    Attributes
    ----------
    image, name : str
        Of the slide and of the core.
    score : int
        0 to 3.
    patient : str
        Or what stands for one.
    level : ndarray of int, shape (n,)
        Magnification of each place.
    hidden : ndarray of float16, shape (versions, n, channels)
        What the last layer of the head gets at each place; version 0 is the core as it is.
    line : int
        Row of the manifest; 0 where there is none.
    y, x, diameter : float
        Where the core lies, in level-0 pixels.
    """

    image: str
    name: str
    score: int
    patient: str
    level: npt.NDArray[np.intp]
    hidden: npt.NDArray[np.float16] = field(repr=False)
    line: int = 0
    y: float = float("nan")
    x: float = float("nan")
    diameter: float = float("nan")


def default_cache() -> Path:
    """Folder where features are kept: 0.5 MB a core. It may be deleted at any time."""
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("napari-her2", appauthor=False)) / "features"


def collect(
    slide: Slide,
    cores: Sequence[Core],
    model: ScoringModel,
    *,
    cache: Path | None = None,
    device: str = "auto",
    encoder: Encoder | None = None,
    versions: int = VERSIONS,
    seed: int = 0,
    remark: Callable[[str], None] = lambda sentence: None,
) -> Iterator[CoreFeatures]:
    """Read and encode labelled cores, each once in its life when a cache is given.

    Labels are `Core.reader_score`; patients `Core.patient_id`, where there is none the core stands for one of its own.
    Cores without a label, or that are not tissue, are passed over. Stopped and called again, what is cached is done.

    Parameters
    ----------
    slide : Slide
        With a known pixel size.
    cores : sequence of Core
    model : ScoringModel
        Whose encoder is used.
    cache : Path, optional
        Folder; made if need be. See `default_cache`.
    device : str
        See `open_encoder`.
    encoder : callable, optional
        From `open_encoder`, to open it once for several slides; opened when the first core needs it when not given.
    versions : int
        The core as it is and `versions` - 1 times with another stain.
    seed : int
        Another seed draws other patches, places and stains.
    remark : callable
        Gets a sentence for each labelled core that cannot be learned from, and why.

    Yields
    ------
    CoreFeatures

    Raises
    ------
    PixelSizeError
        If the pixel size of the slide is unknown.
    ModelError
        If the model cannot be trained on, or not here.
    """
    slide.require_mpp()
    reader = _Reader(slide, model, cache, device, encoder, versions, seed)
    for core in cores:
        score = parse_score(core.reader_score)
        if score is None or core.state is not CoreState.TISSUE:
            continue
        try:
            level, hidden = reader.read(core)
        except _LeftOutError as error:
            remark(f"{slide.name} {core.name} is not learned from: {error}")
            continue
        patient = core.patient_id or f"{slide.name} {core.name}"
        yield CoreFeatures(
            slide.name, core.name, score, patient, level, hidden, y=core.y, x=core.x, diameter=core.diameter
        )


class _LeftOutError(HER2Error):
    """One core cannot be learned from; the others may."""


@dataclass
class _Reader:
    """Encodes those cores of a slide that are not in the cache; encoder and glass are made ready for the first."""

    slide: Slide
    model: ScoringModel
    cache: Path | None
    device: str
    encoder: Encoder | None
    versions: int
    seed: int

    def read(self, core: Core) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float16]]:
        """Levels and hidden activations of the places kept of a core, as in `CoreFeatures`.

        Raises
        ------
        _LeftOutError
            If the core cannot be read, or hardly any of it is tissue.
        HER2Error
            If no core can be encoded, or kept.
        """
        path = None if self.cache is None else self.cache / f"{self._key(core)}.npz"
        kept = None if path is None else _read(path, self.versions)
        if kept is None:
            white = self._white
            self.encoder = self.encoder or open_encoder(self.model, self.device)
            try:
                kept = _encode(self.slide, core, self.model.spec, white, self.encoder, self.versions, self.seed)
            except HER2Error as error:
                raise _LeftOutError(str(error)) from error
            if path is not None:
                _write(path, *kept)
        if not len(kept[0]):
            raise _LeftOutError("hardly any of it is tissue.")
        return kept

    @cached_property
    def _white(self) -> npt.NDArray[np.float64]:
        return white_point(self.slide.overview()[0])

    @cached_property
    def _image(self) -> Any:
        return image_identity(self.slide)

    def _key(self, core: Core) -> str:
        """Name of the cache file: of all that the features depend on."""
        slide, model = self.slide, self.model
        spec = [model.spec.mpp, model.spec.patch, [[part.count, part.downsample] for part in model.spec.levels]]
        told = [_FORMAT, self._image, slide.shape, slide.mpp, core.box]
        told += [model.weights_sha256, spec, self.versions, self.seed]
        return hashlib.blake2b(json.dumps(told).encode(), digest_size=16).hexdigest()


def open_encoder(model: ScoringModel, device: str = "auto") -> Encoder:
    """The network up to its last layer, ready to run.

    Parameters
    ----------
    model : ScoringModel
    device : str
        One of `engine.DEVICES`. On the CPU it is compiled from ``model.onnx``, elsewhere torch runs it.

    Returns
    -------
    callable
        Of pixels uint8 (n, y, x, 3) gives float32 (n, channels, rows, columns).

    Raises
    ------
    ModelError
        If the design of the model has no such layer, or the device is not there.
    """
    check_design(model)
    found = choose_device(device)
    return _compiled(model) if found == "cpu" else _on_device(model, found)


def check_design(model: ScoringModel) -> None:
    """See that the model has a dense head to refit.

    Raises
    ------
    ModelError
        If it has none.
    """
    if model.network.get("design", "places") != "places":
        raise ModelError(f"{model.name} judges cores as a whole and has no head to train: choose another model.")


def _compiled(model: ScoringModel) -> Encoder:
    model.verify_onnx()
    import openvino

    core = openvino.Core()
    whole = core.read_model(model.onnx_path)
    last = [op for op in whole.get_ordered_ops() if op.get_type_name() == "Convolution"][-1]
    part = openvino.Model([last.input_value(0)], whole.get_parameters(), "hidden")
    run = core.compile_model(part, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"})

    def encode(pixels: RGB) -> npt.NDArray[np.float32]:
        return np.concatenate([np.array(run({0: pixels[k : k + 1]})[0]) for k in range(len(pixels))])

    return encode


def _on_device(model: ScoringModel, device: str) -> Encoder:
    import torch
    from safetensors.torch import load_file

    from napari_her2.networks import build_network

    network: Any = build_network(model.network)
    network.load_state_dict(load_file(model.weights_path))
    network = network.eval().to(device).to(memory_format=torch.channels_last)

    def encode(pixels: RGB) -> npt.NDArray[np.float32]:
        answers = []
        with torch.inference_mode():
            for start in range(0, len(pixels), 16):
                inputs = network.inputs(torch.from_numpy(pixels[start : start + 16]).to(device))
                answers.append(network.head[:-1](network.encoder(inputs)).float().cpu().numpy())
        return np.concatenate(answers)

    return encode


def _encode(
    slide: Slide, core: Core, spec: PyramidSpec, white: npt.ArrayLike, encoder: Encoder, versions: int, seed: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float16]]:
    """Levels and hidden activations of the places kept; none where there is too little tissue."""
    levels = tuple(LevelSpec(max(1, round(_PATCHES * part.count)), part.downsample) for part in spec.levels)
    patches = sample(slide, core, replace(spec, levels=levels), white=white, seed=seed)
    nothing = np.empty(0, np.intp), np.empty((versions, 0, 0), np.float16)
    if not len(patches.pixels) or patches.tissue_fraction < MIN_TISSUE:
        return nothing
    rng = core_rng(slide, core, seed + 1)
    first = encoder(patches.pixels)
    level, chosen = _choose(patches, first.shape[2], rng)
    if not len(level):
        return nothing
    hidden = [_places(first)[chosen]]
    for _ in range(versions - 1):
        matrix = other_stain(rng)
        changed = np.stack([restained(picture, matrix) for picture in patches.pixels])
        hidden.append(_places(encoder(changed))[chosen])
    return level, np.stack(hidden).astype(np.float16)


def _places(answer: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(n, channels, rows, columns) -> (n * rows * columns, channels)."""
    return np.moveaxis(answer, 1, -1).reshape(-1, answer.shape[1])


def _choose(
    patches: PyramidSample, rows: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Magnification and index of the places kept: those on the core's own tissue, drawn where there are too many."""
    n = len(patches.pixels)
    centre = (np.arange(rows) + 0.5) * patches.size[:, None] / rows
    y = np.broadcast_to((patches.y[:, None] + centre)[:, :, None], (n, rows, rows)).reshape(-1)
    x = np.broadcast_to((patches.x[:, None] + centre)[:, None, :], (n, rows, rows)).reshape(-1)
    there, level = patches.in_tissue(y, x), np.repeat(patches.level, rows * rows)
    chosen = []
    for index in np.unique(patches.level):
        own = np.nonzero(there & (level == index))[0]
        count = max(1, _PLACES >> int(index))
        chosen.append(np.sort(rng.permutation(own)[:count]))
    found = np.concatenate(chosen)
    return level[found], found


def other_stain(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Matrix that turns the optical density of a picture into that of the same core stained a little otherwise."""
    amounts = np.exp(np.clip(rng.normal(0, (_BLUE, _BROWN)), -0.3, 0.3))
    vectors = [np.array(v) + rng.normal(0, _VECTOR, 3) for v in (QUPATH_HEMATOXYLIN, QUPATH_DAB)]
    blue, brown = (cast(tuple[float, float, float], tuple(v / np.linalg.norm(v))) for v in vectors)
    other = Stains(hematoxylin=blue, dab=brown)
    return np.asarray(other.mixing @ np.diag([*amounts, 1.0]) @ np.linalg.inv(QUPATH_STAINS.mixing))


def restained(picture: RGB, matrix: npt.NDArray[np.float64]) -> RGB:
    """The picture with its optical density, as a column (R, G, B), multiplied by a matrix; glass stays glass."""
    density = optical_density(picture) @ matrix.T.astype(np.float32)
    light = np.float32(255) * np.exp(density * np.float32(-np.log(10)))
    return np.asarray(np.clip(np.rint(light), 0, 255), np.uint8)


def image_identity(slide: Slide) -> Any:
    """What tells this image from others: the file; of a layer of the viewer, what it shows at its coarsest."""
    if slide.path is not None and slide.path.is_file():
        stat = os.stat(slide.path)
        return [slide.path.name, stat.st_size, stat.st_mtime_ns]
    coarse = np.ascontiguousarray(slide.overview(512)[0])
    return hashlib.blake2b(coarse.tobytes(), digest_size=16).hexdigest()


def _read(path: Path, versions: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float16]] | None:
    """What `_write` kept; None where there is nothing, or it is damaged."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            level, hidden = kept["level"].astype(np.intp), kept["hidden"]
    except Exception:  # zipfile, zlib and numpy have errors of their own for a file cut short: it is made again
        return None
    fits = hidden.ndim == 3 and hidden.shape[:2] == (versions, len(level)) and hidden.dtype == np.float16
    return (level, hidden) if fits else None


def _write(path: Path, level: npt.NDArray[np.intp], hidden: npt.NDArray[np.float16]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path, overwrite=True) as temporary, temporary.open("wb") as file:
        np.savez(file, level=level.astype(np.int8), hidden=hidden)
