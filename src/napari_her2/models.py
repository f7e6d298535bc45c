"""A scoring model as one folder: weights, pyramid, calibration and card; and the list of installed models.

``model.safetensors`` holds the weights; its JSON header, under the key ``napari_her2``, holds everything else.
``model.onnx`` beside it is the same network for the compiled engine. Pickles are refused: they can run code.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from napari_her2.errors import ModelError
from napari_her2.pyramid import LevelSpec, PyramidSpec
from napari_her2.stain import MODEL_REFERENCE, Stains

__all__ = [
    "DEFAULT_MODEL",
    "Calibration",
    "ScoringModel",
    "installed_models",
    "is_shipped",
    "load_model",
    "model_header",
    "user_folder",
]

DEFAULT_MODEL = "her2-places-3"
FORMAT = 1
_SHIPPED = Path(__file__).parent / "weights"
_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib")


@dataclass(frozen=True)
class Calibration:
    """How the judgements of places become the score of a core: few numbers, fitted, explicit.

    The ASCO/CAP rule asks what "more than 10 % of the tumour cells" show, which is the grade at the strongest tenth.
    So the places of each magnification are put in order of their grade, and r is the share of the tumour, counted as
    ``t ** sharpness`` with the tumour share t of a place, that is graded higher. A place counts as
    ``a = t ** sharpness * exp(-0.5 * (log(r / reach) / width) ** 2)``, normalised to sum to the weight of its
    magnification; these sum to 1. The core's value is ``S = sum(a * grade)`` and
    ``P(score > k) = sigmoid(slope * (S - cuts[k]))``.

    Brown that all the tumour shares (cytoplasm, background) is no membrane: a part of the grade that is read in the
    same way at the weaker half of the tumour is taken off every place first; see `pooling.weighed`.

    Attributes
    ----------
    reach, width : float
        Where among the tumour, strongest first, the score is read, 0..1; and over how wide a stretch, in log units.
    haze : float
        Which part of the grade at the weaker half is taken off, 0..1; 0 for none.
    sharpness, slope : float
    level_weights : tuple of float
        One for each magnification.
    cuts : tuple of 3 float
        Ascending.
    indeterminate_below : float
        Confidence under which a core is called indeterminate.
    min_tumour_mm2 : float
        Tumour area, seen on the patches, under which a core is called indeterminate.
    """

    reach: float = 0.1
    width: float = 0.4
    haze: float = 0.0
    sharpness: float = 1.0
    slope: float = 6.0
    level_weights: tuple[float, ...] = (1.0, 1.0, 1.0)
    cuts: tuple[float, float, float] = (0.5, 1.3, 2.2)
    indeterminate_below: float = 0.5
    min_tumour_mm2: float = 0.01


@dataclass(frozen=True)
class ScoringModel:
    """All of a model but its weights.

    Attributes
    ----------
    name, version, licence : str
    spec : PyramidSpec
        What it looks at, and at which µm per pixel.
    calibration : Calibration
    network : dict
        Arguments of `networks.build_network`.
    card : dict
        What it learned from, what it was measured on, and what it must not be used for.
    onnx_sha256, weights_sha256 : str
        Checksums of ``model.onnx`` and of the tensors, hexadecimal.
    recalibration : dict
        The batch whose control cores the cut points were refitted on, see `recalibrate`; empty for the model's own.
    familiar : dict
        What the training tissue looks like, see `familiar.fit_familiar`; empty for a model that cannot tell.
    stain_range : dict
        How strongly the training laboratories stain, see `stain_range.fit_range`; empty for a model that cannot tell.
    reference : dict
        `Stains` whose colours pictures are given when they are normalised; empty for `stain.MODEL_REFERENCE`.
    folder : Path or None
        Where the files lie; None for a model that is not on disk.
    """

    name: str
    version: str
    spec: PyramidSpec = field(default_factory=PyramidSpec)
    calibration: Calibration = field(default_factory=Calibration)
    network: dict[str, Any] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    licence: str = "BSD-3-Clause"
    onnx_sha256: str = ""
    weights_sha256: str = ""
    recalibration: dict[str, Any] = field(default_factory=dict)
    familiar: dict[str, Any] = field(default_factory=dict)
    stain_range: dict[str, Any] = field(default_factory=dict)
    reference: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def stacked(self) -> bool:
        """Whether it judges a core as one stack of patches, as the published design does: it then knows no places."""
        return self.network.get("design") == "stacked"

    @property
    def sha256(self) -> str:
        """Checksum that stands for the model in results: of its tensors."""
        return self.weights_sha256

    @property
    def indeterminate_below(self) -> float:
        """Confidence under which a core is called indeterminate."""
        return self.calibration.indeterminate_below

    @property
    def reference_stains(self) -> Stains:
        """Stains and glass that pictures are given when they are normalised."""
        return Stains.from_dict(self.reference) if self.reference else MODEL_REFERENCE

    def why_not_scored(self, normalised: bool) -> str:
        """A sentence where the cut points were fitted to cores that were seen the other way, else ""."""
        if normalised and "trained by" in self.card:  # of a laboratory, which trains on slides as they are
            return f"{self.name} was trained on slides in their own colours: score without normalising them."
        if not self.recalibration or bool(self.recalibration.get("normalised", False)) == normalised:
            return ""
        with_, without = ("without", "with") if normalised else ("with", "without")
        return (
            f"The calibration {self.recalibration.get('batch', '')} was made {with_} normalised colours and does not "
            f"hold for scores {without}: score as it was made, or calibrate again."
        )

    @property
    def weights_path(self) -> Path:
        """The safetensors file."""
        return self._file("model.safetensors")

    @property
    def onnx_path(self) -> Path:
        """The ONNX file for the compiled engine."""
        return self._file("model.onnx")

    def _file(self, name: str) -> Path:
        if self.folder is None or not (self.folder / name).is_file():
            raise ModelError(f"The model {self.name} has no {name}: install it again.")
        return self.folder / name

    def verify(self) -> None:
        """Compare both files with their checksums.

        Raises
        ------
        ModelError
            If a file is missing or was changed.
        """
        if tensors_sha256(self.weights_path) != self.weights_sha256:
            raise ModelError(f"The weights of {self.name} do not match their checksum: install the model again.")
        self.verify_onnx()

    def verify_onnx(self) -> None:
        """Compare the ONNX file with its checksum, before anything runs it; see `verify`."""
        if hashlib.sha256(self.onnx_path.read_bytes()).hexdigest() != self.onnx_sha256:
            raise ModelError(f"The ONNX file of {self.name} does not match its checksum: install the model again.")


def model_header(model: ScoringModel) -> dict[str, str]:
    """The safetensors metadata of a model: one JSON text under ``napari_her2``."""
    content = asdict(model) | {"format": FORMAT}
    del content["folder"]
    return {"napari_her2": json.dumps(content, sort_keys=True)}


def tensors_sha256(path: Path) -> str:
    """Checksum of the tensors of a safetensors file, hexadecimal; the header does not count."""
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
        file.seek(8 + header)
        return hashlib.file_digest(file, "sha256").hexdigest()


def user_folder() -> Path:
    """Where the user's own models are kept, a folder each; ``NAPARI_HER2_MODELS`` names another. It need not exist."""
    from platformdirs import user_data_dir

    named = os.environ.get("NAPARI_HER2_MODELS")
    return Path(named) if named else Path(user_data_dir("napari-her2", appauthor=False)) / "models"


def is_shipped(name: str) -> bool:
    """Whether a model of that name comes with the package."""
    return name == Path(name).name and (_SHIPPED / name / "model.safetensors").is_file()


def installed_models() -> list[ScoringModel]:
    """The models that come with the package, by name, then the user's own; reads headers only.

    A folder among the user's own that holds no model, or a damaged one, is passed over: `load_model` says why.
    """
    shipped = [_read(path) for path in sorted(_SHIPPED.glob("*/model.safetensors"))]
    own = []
    for path in sorted(user_folder().glob("*/model.safetensors")):
        try:
            own.append(_read(path))
        except ModelError:
            continue
    return shipped + [model for model in own if not is_shipped(model.name)]


def load_model(name_or_path: str | Path = DEFAULT_MODEL) -> ScoringModel:
    """Find a model by name, or read one from a folder or a safetensors file.

    Raises
    ------
    ModelError
        If there is no such model, or the file is a pickle, foreign, or damaged.
    """
    path = Path(name_or_path)
    if path.name == str(name_or_path):
        for folder in (_SHIPPED, user_folder()):
            if (folder / path.name / "model.safetensors").is_file():
                return _read(folder / path.name / "model.safetensors")
    if path.is_dir():
        path = path / "model.safetensors"
    if path.suffix.lower() in _PICKLES or _is_pickle(path):
        raise ModelError(
            f"{path.name} is a Python pickle, which can run any code when it is opened: "
            "use a model saved as safetensors (napari-her2 models lists those installed)."
        )
    if not path.is_file():
        known = ", ".join(m.name for m in installed_models()) or "none"
        raise ModelError(f'There is no model "{name_or_path}": installed are {known}; or name a model folder.')
    return _read(path)


def _is_pickle(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(4)
    # protocol 2+ pickles, and the zip files and tars that torch.save writes
    return (start[:1] == b"\x80" and start[1:2] <= b"\x05") or start == b"PK\x03\x04"


def _read(path: Path) -> ScoringModel:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path.name} is not a model of napari-her2, or is damaged: choose another file.") from error
    try:
        content = json.loads(metadata["napari_her2"])
        if content.pop("format") != FORMAT:
            raise ModelError(f"{path.name} was written by a newer napari-her2: update the plugin.")
        spec = content.pop("spec")
        spec["levels"] = tuple(LevelSpec(**level) for level in spec["levels"])
        calibration: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in content.pop("calibration").items()
        }
        return ScoringModel(
            spec=PyramidSpec(**spec), calibration=Calibration(**calibration), folder=path.parent, **content
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path.name} is a safetensors file but no model of napari-her2: choose another.") from error
