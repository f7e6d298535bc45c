"""Finding cores on real slides; skipped where they are not at hand."""

from __future__ import annotations

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.optimize import linear_sum_assignment

from napari_her2.cores import CoreState
from napari_her2.dearray import find_cores
from napari_her2.errors import CoresError
from napari_her2.slide import Slide


def test_real_overviews(real_data: Path) -> None:
    """Eight real DAB-stained slides, 1,081 marks, no parameter at all: F1 of centres within one radius."""
    scores = {}
    for path in sorted((real_data / "tma_overviews").glob("*.jpg")):
        marks = json.loads(path.with_suffix(".json").read_text())
        places = np.array([[m["y"], m["x"]] for m in marks])
        radius = marks[0]["radius"]
        grid = find_cores(Slide.from_arrays(np.asarray(Image.open(path).convert("RGB")), name=path.stem))
        cores = np.array([[c.y, c.x] for c in grid.scorable])
        distance = np.hypot(*np.moveaxis(cores[:, None] - places[None], -1, 0))
        pairs = linear_sum_assignment(np.minimum(distance, radius))
        near = distance[pairs] < radius
        assert np.median(distance[pairs][near]) < 0.1 * radius, path.stem
        scores[path.stem] = 2 * int(near.sum()) / (len(cores) + len(places))
    assert len(scores) == 8
    # on ABC_103 the marks leave out the two lowest rows, which are there
    assert scores.pop("ABC_103_1_009_1") > 0.9
    assert min(scores.values()) > 0.98, scores
    assert np.mean(list(scores.values())) > 0.99


def test_real_slide_with_everything(real_data: Path) -> None:
    """Names, states, centres within a tenth of a diameter: pale cores, an emptied punch, positions without a core."""
    with (real_data / "slides" / "her2_tma_12.truth.csv").open() as file:
        truth = list(csv.DictReader(file))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grid = find_cores(Slide.open(real_data / "slides" / "her2_tma_12.ome.tif"))
    assert [c.name for c in grid] == [t["core"] for t in truth]
    for core, true in zip(grid, truth, strict=True):
        assert core.state is (CoreState.TISSUE if true["state"] == "tissue" else CoreState.MISSING), core
        if true["state"] == "tissue":
            away = np.hypot(core.y - float(true["y"]), core.x - float(true["x"]))
            assert away < 0.1 * float(true["diameter"]), core
            assert 0.8 < core.diameter / float(true["diameter"]) < 1.25
            assert (core.found_confidence or 0) > 0.9


@pytest.mark.parametrize("name", ["cmu_small_region.svs", "tcga_small.svs"])
def test_real_whole_sections_hold_no_cores(real_data: Path, name: str) -> None:
    with pytest.raises(CoresError, match="No cores found on"):
        find_cores(Slide.open(real_data / "slides" / name))
