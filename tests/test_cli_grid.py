"""The grid options of the command line, on a slide of a few discs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from cli_slides import draw, write_slide
from napari_her2.cli import app
from napari_her2.cores import CoreState
from napari_her2.export import read_cores

NAMES = ["A-1", "A-2", "A-3", "B-1", "B-2", "B-3"]


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    return write_slide(tmp_path / "tma.ome.tif")


def dearray(slide: Path, *options: object, ok: bool = True) -> Result:
    result = CliRunner().invoke(app, ["dearray", str(slide), "-o", str(slide.parent / "out"), *map(str, options)])
    assert (result.exit_code == 0) == ok, result.output
    return result


def table(slide: Path) -> pd.DataFrame:
    return pd.read_csv(slide.parent / "out" / "tma.cores.csv", dtype=str, keep_default_na=False)


def test_names_after_labels_order_and_corner(slide: Path) -> None:
    dearray(slide, "--row-labels", "H-G", "--column-labels", "01-03", "--column-first")
    assert list(table(slide)["core"]) == ["01-H", "02-H", "03-H", "01-G", "02-G", "03-G"]
    dearray(slide, "--count-from", "bottom-right", "--overwrite")
    rows = table(slide).set_index("core")
    assert float(rows["x"]["A-1"]) > float(rows["x"]["A-3"])
    assert float(rows["y"]["A-1"]) > float(rows["y"]["B-1"])
    assert rows["state"]["A-2"] == "missing"


def test_labels_and_corners_that_are_none_are_refused(slide: Path) -> None:
    assert "A-C-" in dearray(slide, "--row-labels", "A-C-", ok=False).output
    result = dearray(slide, "--count-from", "middle", ok=False)
    assert result.exit_code == 2
    assert "top-left" in result.output


def test_patients_come_from_a_map_and_what_fits_no_core_is_told(slide: Path) -> None:
    path = slide.parent / "map.csv"
    path.write_text("core,patient,ER\nA1,P1,pos\nB-3,P1,neg\nZ-9,P3,\n")
    result = dearray(slide, "--map", path)
    assert "map.csv: " in result.output
    assert "line 4" in result.output
    rows = table(slide).set_index("core")
    assert list(rows["patient_id"]) == ["P1", "", "", "", "", "P1"]
    assert list(rows["ER"]) == ["pos", "", "", "", "", "neg"]
    record = json.loads((slide.parent / "out" / "tma.run.json").read_text())
    assert record["parameters"]["tma_map"] == "map.csv"


def test_a_map_of_another_size_changes_nothing_and_says_so(slide: Path) -> None:
    path = slide.parent / "map.csv"
    path.write_text("P1,P2\nP3,P4\nP5,P6\n")
    result = dearray(slide, "--map", path, ok=False)
    assert "map.csv: " in result.output
    assert "would fit" in result.output
    assert not (slide.parent / "out" / "tma.cores.csv").exists()


def test_the_next_section_takes_names_and_patients(slide: Path) -> None:
    path = slide.parent / "map.csv"
    path.write_text("core,patient\n" + "\n".join(f"{name},P{i}" for i, name in enumerate(NAMES)))
    dearray(slide, "--row-labels", "K-L", "--map", path, ok=False)  # the map names rows A and B
    path.write_text(path.read_text().replace("A-", "K-").replace("B-", "L-"))
    dearray(slide, "--row-labels", "K-L", "--map", path)
    pixels = np.full((1000, 1400, 3), (240, 238, 242), np.uint8)
    first = draw()
    pixels[100 : 100 + first.shape[0], 70 : 70 + first.shape[1]] = first
    other = write_slide(slide.parent / "next.ome.tif", pixels)
    dearray(other, "--like", slide.parent / "out" / "tma.cores.geojson")
    grid = read_cores(slide.parent / "out" / "next.cores.csv")
    assert sorted(core.name for core in grid) == ["K-1", "K-2", "K-3", "L-1", "L-2", "L-3"]
    before = read_cores(slide.parent / "out" / "tma.cores.csv")
    for core in grid:
        assert core.patient_id == before[core.name].patient_id
        assert np.hypot(core.y - before[core.name].y - 100, core.x - before[core.name].x - 70) < 15
    assert grid["L-2"].state is CoreState.MISSING


def test_what_is_known_and_wrong_is_told(slide: Path) -> None:
    result = dearray(slide, "--core-diameter", 1200)
    assert "You said 1.2 mm" in result.output
    assert len(table(slide)) == 6


def test_a_qptma_is_written_and_read(slide: Path) -> None:
    dearray(slide)
    path = slide.parent / "out" / "tma.qptma"
    assert path.read_text(encoding="utf-8").splitlines()[3:5] == ["TMA grid width: 3", "TMA grid height: 2"]
    assert [core.name for core in read_cores(path)] == NAMES
