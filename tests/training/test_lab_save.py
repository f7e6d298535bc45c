"""A laboratory's model: saved without an ONNX library, with a card that says what it learned from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labs import QUICK

from napari_her2.engine import CompiledEngine, TorchEngine
from napari_her2.errors import ModelError, OutputError
from napari_her2.models import DEFAULT_MODEL, Calibration, ScoringModel, installed_models, load_model
from napari_her2.training.lab_head import Head, base_head
from napari_her2.training.laboratory import Comparison, check_name, fit_head, laboratory_card, save_laboratory_model
from tiny_model import made_features

Fitted = tuple[Head, Calibration, dict[str, Any]]


@pytest.fixture(scope="module")
def fitted(tiny: ScoringModel, comparison: Comparison) -> Fitted:
    cores = made_features()
    head, calibration, _ = fit_head(cores, tiny, QUICK, apart=comparison.values)
    return head, calibration, laboratory_card(tiny, cores, comparison, QUICK, "labels.csv")


def test_the_saved_model_is_installed_and_the_same_in_onnx_and_torch(
    tiny: ScoringModel, fitted: Fitted, own_models: Path
):
    head = fitted[0]
    model = save_laboratory_model("ours", tiny, *fitted)
    assert model.folder == own_models / "ours"
    assert "ours" in [m.name for m in installed_models()]
    read = load_model("ours")
    assert read == model
    read.verify()
    assert np.array_equal(base_head(read).weight, head.weight)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    compiled, plain, before = (
        e.run(pixels)[0] for e in (CompiledEngine(read), TorchEngine(read, "cpu"), CompiledEngine(tiny))
    )
    assert np.abs(compiled - plain).max() < 1e-4
    assert np.abs(compiled - before).max() > 0.01
    assert model.sha256 != tiny.sha256


def test_the_card_says_what_it_learned_from(tiny: ScoringModel, fitted: Fitted, own_models: Path):
    card = save_laboratory_model("ours", tiny, *fitted).card
    learned = card["learned from"]
    assert (learned["cores"], learned["patients"], learned["labels"]) == (40, 20, "labels.csv")
    assert learned["of each score"] == "10 of 0, 10 of 1+, 10 of 2+, 10 of 3+"
    assert card["base model"] == {"name": "tiny", "version": "1", "checksum": tiny.sha256}
    measured = card["cross-validated"]
    assert measured["on"] == "40 cores of 20 patients, 3 folds by patient"
    assert measured["new"].startswith("accuracy 1.000 (0.832 to 1.000)")
    assert {"recalibrated", "current"} <= set(measured)
    assert "p00" not in str(card)
    assert "Research use only" in card["intended use"]


def test_names_that_cannot_be_taken(tiny: ScoringModel, fitted: Fitted, own_models: Path):
    for name in ("", "../x", "a/b"):
        with pytest.raises(ModelError, match="cannot be called"):
            check_name(name)
    with pytest.raises(ModelError, match="came with the plugin"):
        check_name(DEFAULT_MODEL)
    save_laboratory_model("ours", tiny, *fitted)
    with pytest.raises(OutputError, match="a model ours already"):
        check_name("ours")
    assert check_name("ours", overwrite=True) == own_models / "ours"


def test_a_base_model_that_was_changed_is_not_copied(
    tiny: ScoringModel, fitted: Fitted, own_models: Path, tmp_path: Path
):
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in ("model.safetensors", "model.onnx"):
        (folder / file).write_bytes((tiny.folder / file).read_bytes())
    (folder / "model.onnx").write_bytes(b"x" + (folder / "model.onnx").read_bytes())
    with pytest.raises(ModelError, match="does not match its checksum"):
        save_laboratory_model("ours", load_model(folder), *fitted)
    assert not (own_models / "ours" / "model.safetensors").exists()


def test_numbers_that_stand_twice_are_not_exchanged():
    from napari_her2.training.lab_save import exchanged

    old, new = np.float32([1, 2]), np.float32([3, 4])
    assert exchanged(b"ab" + old.tobytes() + b"c", old, new, "m") == b"ab" + new.tobytes() + b"c"
    for file in (old.tobytes() * 2, b"nothing"):
        with pytest.raises(ModelError, match="last layer"):
            exchanged(file, old, new, "m")


def test_a_damaged_model_of_the_user_does_not_hide_the_others(tiny: ScoringModel, fitted: Fitted, own_models: Path):
    save_laboratory_model("ours", tiny, *fitted)
    (own_models / "bad").mkdir()
    (own_models / "bad" / "model.safetensors").write_bytes(b"no")
    assert [m.name for m in installed_models() if m.folder.parent == own_models] == ["ours"]
    with pytest.raises(ModelError, match="damaged"):
        load_model("bad")


def test_saving_needs_no_onnx_library():
    code = "import sys, napari_her2.training.laboratory; sys.exit(bool({'onnx', 'onnxscript'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
