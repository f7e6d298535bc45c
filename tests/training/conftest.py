"""A tiny model, how a head fitted to made cores compares with it, and a folder for the user's own models."""

from __future__ import annotations

from pathlib import Path

import pytest
from labs import QUICK

from napari_her2.models import ScoringModel
from napari_her2.training.laboratory import Comparison, cross_validate
from tiny_model import made_features, write_tiny_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ScoringModel:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAPARI_HER2_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture(scope="session")
def comparison(tiny: ScoringModel) -> Comparison:
    return cross_validate(made_features(), tiny, QUICK)
