from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.export import Run
from napari_her2.heatmap import Heatmap
from napari_her2.models import ScoringModel
from napari_her2.scores import CoreScore, Places
from napari_her2.slide import Slide


def places_on(core: Core, grade: float) -> Places:
    step = np.linspace(-0.3, 0.3, 9) * core.diameter
    y, x = (a.ravel() for a in np.meshgrid(core.y + step, core.x + step, indexing="ij"))
    full = np.ones(y.size)
    return Places(y, x, 40 * full, np.float32(grade * full), np.float32(full), full / y.size)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A slide of 2 x 2 cores: two scored (one indeterminate), one missing, one that could not be read."""
    pixels = np.full((900, 900, 3), (236, 233, 240), np.uint8)
    yy, xx = np.mgrid[:900, :900]
    cores = []
    for row in range(2):
        for column in range(2):
            y, x = 220.0 + 440 * row, 220.25 + 440 * column
            cores.append(Core("AB"[row] + f"-{column + 1}", row, column, y=y, x=x, diameter=361.5))
            pixels[np.hypot(yy - y, xx - x) < 180] = (200 - 40 * row, 150 - 30 * column, 160)
    cores[0] = Core(**{**_fields(cores[0]), "patient_id": "=HYPERLINK(1)", "note": "Größe <b>&amp; 'µ'", "block": "-x"})
    cores[2] = Core(**{**_fields(cores[2]), "state": CoreState.MISSING, "reason": "No tissue."})
    slide = Slide.from_arrays(pixels, name="tma 1", mpp=0.5, mpp_source="given", path=tmp_path / "secret" / "tma 1.tif")
    scores = {
        "A-1": CoreScore(cores[0], "3+", (0.01, 0.04, 0.15, 0.8), 2.8, places=places_on(cores[0], 2.8)),
        "A-2": CoreScore(
            cores[1],
            "1+",
            (0.3, 0.4, 0.2, 0.1),
            0.9,
            indeterminate=True,
            reason="Between 1+ and 0: confidence 0.40.",
            places=places_on(cores[1], 0.9),
        ),
        "B-2": CoreScore(cores[3], reason="tma 1 cannot be read there."),
    }
    heatmap = Heatmap.of(slide)
    for score in scores.values():
        heatmap.add(score)
    card = {"intended_use": "Research use only.", "measured_on": {"cores": 12, "kappa": 0.81234}}
    model = ScoringModel("mock", "0.1", card=card, weights_sha256="ab" * 32)
    provenance = {"seed": 3, "parameters": {"select": "*"}, "seconds": {"finding": 0.5, "inference": 1.25}}
    return Run(slide, CoreGrid(tuple(cores)), scores, model, heatmap, provenance)


def _fields(core: Core) -> dict[str, object]:
    return {name: getattr(core, name) for name in core.__dataclass_fields__}
