"""The commands `models`, `sample` and `demo`."""

# ruff: noqa: F401, F811 (fixtures)

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from safetensors.numpy import save_file

from cli_slides import check_sentence, cli, engine, slide
from discs import MockEngine
from napari_her2.errors import HER2Error
from napari_her2.models import ScoringModel, model_header, tensors_sha256


@pytest.fixture
def model_folder(tmp_path: Path, mock_model: ScoringModel) -> Path:
    folder = tmp_path / "mock"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"network")
    tensors = {"a": np.arange(4, dtype=np.float32)}
    save_file(tensors, folder / "model.safetensors")
    model = replace(
        mock_model,
        card={"intended_use": "Tests.", "measured_on": {"cores": 0}},
        weights_sha256=tensors_sha256(folder / "model.safetensors"),
        onnx_sha256=sha256(b"network").hexdigest(),
    )
    save_file(tensors, folder / "model.safetensors", model_header(model))
    return folder


def test_the_card_of_a_model_is_shown_once_its_files_are_checked(model_folder: Path) -> None:
    result = cli("models", model_folder)
    assert result.exit_code == 0, result.output
    assert "Tests." in result.stdout
    assert "measured on: cores" in result.stdout
    (model_folder / "model.onnx").write_bytes(b"netw0rk")
    result = cli("models", model_folder)
    assert result.exit_code == 1
    check_sentence(result, "checksum")


def test_installed_models_are_listed(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_her2.models._SHIPPED", model_folder.parent)
    result = cli("models")
    assert result.exit_code == 0
    assert "mock" in result.stdout
    result = cli("models", "nonsense")
    assert result.exit_code == 1
    check_sentence(result, "installed are mock")


def test_sample_writes_a_slide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_her2 import sample

    small = partial(sample.write_sample_slide, rows=1, columns=2, core_um=100.0, pitch_um=140.0)
    monkeypatch.setattr(sample, "write_sample_slide", small)
    path = tmp_path / "new" / "tma.ome.tif"
    result = cli("sample", "-o", path)
    assert result.exit_code == 0, result.output
    assert path.is_file()
    assert str(path) in result.stdout.replace("\n", "")
    result = cli("sample", "-o", path)
    assert isinstance(result.exception, SystemExit | HER2Error)
    assert result.exit_code == 1


def test_demo_without_a_display_writes_the_results(
    tmp_path: Path, slide: Path, engine: MockEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("napari_her2.sample.sample_slide", lambda: slide)
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    for _ in range(2):  # and again, over the first
        result = cli("demo")
        assert result.exit_code == 0, result.output
        last = result.stdout.strip().splitlines()[-1]
        assert last.startswith("No display: the sample slide was scored into napari-her2-demo; open ")
    assert (tmp_path / "napari-her2-demo" / "tma.report.html").is_file()


def test_demo_with_a_display_opens_the_viewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[bool] = []
    viewer = ModuleType("napari_her2.viewer.demo")
    viewer.open_demo = lambda: opened.append(True)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "napari_her2.viewer.demo", viewer)
    monkeypatch.setenv("DISPLAY", ":7")
    monkeypatch.chdir(tmp_path)
    assert cli("demo").exit_code == 0
    assert opened == [True]
    assert list(tmp_path.iterdir()) == []
