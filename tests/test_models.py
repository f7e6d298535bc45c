from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from napari_her2.errors import ModelError
from napari_her2.models import DEFAULT_MODEL, ScoringModel, installed_models, load_model, model_header, tensors_sha256


def write_model(folder: Path, model: ScoringModel) -> ScoringModel:
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(b"onnx")
    tensors = {"a": np.arange(6, dtype=np.float32)}
    save_file(tensors, folder / "model.safetensors")
    sums = {
        "weights_sha256": tensors_sha256(folder / "model.safetensors"),
    }
    sums["onnx_sha256"] = hashlib.sha256(b"onnx").hexdigest()
    model = replace(model, **sums)
    save_file(tensors, folder / "model.safetensors", metadata=model_header(model))
    return model


def test_a_model_is_read_as_it_was_written(tmp_path: Path, mock_model: ScoringModel):
    written = write_model(tmp_path / "m", mock_model)
    for path in (tmp_path / "m", tmp_path / "m" / "model.safetensors"):
        read = load_model(path)
        assert replace(read, folder=None) == written
        read.verify()


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors"])
def test_a_changed_file_is_noticed(tmp_path: Path, mock_model: ScoringModel, name: str):
    write_model(tmp_path, mock_model)
    content = bytearray((tmp_path / name).read_bytes())
    content[-1] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match="checksum"):
        load_model(tmp_path).verify()


@pytest.mark.parametrize("name", ["weights.pt", "weights.pth", "weights.safetensors"])
def test_pickles_are_refused_whatever_they_are_called(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ModelError, match="pickle, which can run any code"):
        load_model(tmp_path / name)


def test_zip_files_of_torch_are_refused(tmp_path: Path):
    (tmp_path / "x.weights").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(ModelError, match="pickle"):
        load_model(tmp_path / "x.weights")


def test_foreign_and_damaged_files(tmp_path: Path, mock_model: ScoringModel):
    save_file({"a": np.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ModelError, match="no model of napari-her2"):
        load_model(tmp_path / "foreign.safetensors")
    (tmp_path / "noise.safetensors").write_bytes(bytes(range(256)))
    with pytest.raises(ModelError, match="damaged"):
        load_model(tmp_path / "noise.safetensors")
    newer = json.loads(model_header(mock_model)["napari_her2"]) | {"format": 99}
    save_file({"a": np.zeros(3)}, tmp_path / "newer.safetensors", metadata={"napari_her2": json.dumps(newer)})
    with pytest.raises(ModelError, match="newer"):
        load_model(tmp_path / "newer.safetensors")


def test_an_unknown_name_lists_what_is_there(tmp_path: Path):
    with pytest.raises(ModelError, match=f'no model "her3".*{DEFAULT_MODEL}'):
        load_model("her3")
    with pytest.raises(ModelError, match=r"no model|not a model|no model\.safetensors"):
        load_model(tmp_path)


def test_a_laboratorys_model_is_for_colours_as_it_learned_them(mock_model: ScoringModel):
    own = replace(mock_model, card={"trained by": "A laboratory."})
    assert own.why_not_scored(True).startswith("mock was trained on slides in their own colours")
    assert own.why_not_scored(False) == mock_model.why_not_scored(True) == ""


def test_the_shipped_model_is_whole_and_says_what_it_is():
    assert DEFAULT_MODEL in [m.name for m in installed_models()]
    model = load_model()
    model.verify()
    text = json.dumps(model.card)
    assert "Research use only" in text
    assert model.card["measured on generated cores kept apart"]["n"] >= 40
    size = sum(f.stat().st_size for f in model.folder.iterdir())
    assert size < 25 * 2**20
    assert list(model.calibration.cuts) == sorted(model.calibration.cuts)


def test_the_shipped_network_tells_no_folders_of_whoever_exported_it() -> None:
    assert b'File "' not in load_model().onnx_path.read_bytes()
