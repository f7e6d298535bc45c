"""How a laboratory's head is fitted in tests."""

from __future__ import annotations

from napari_her2.training.laboratory import (
    LabParams,
)

QUICK = LabParams(folds=3, steps=60, draws=40, pull=1.0)
