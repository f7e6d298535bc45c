"""What many tests share: the folder of real data, when it is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real slides and cores; a test that needs it is skipped, with this reason, where it is absent."""
    default = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    folder = Path(os.environ.get("NAPARI_HER2_REAL_DATA", default)).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: set NAPARI_HER2_REAL_DATA to the folder that holds it")
    return folder
