from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from napari_her2.errors import OutputError, SlideError
from napari_her2.sample import TRUTH_COLUMNS, sample_slide, write_sample_slide
from napari_her2.slide import Slide

TINY = {"rows": 2, "columns": 3, "core_um": 110.0, "pitch_um": 150.0, "mpp": 1.0}


def pixels_of(path: Path, level: int = 0) -> npt.NDArray[np.uint8]:
    pixels: npt.NDArray[np.uint8] = tifffile.imread(path, series=0, level=level)
    return pixels


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample_slide(tmp_path_factory.mktemp("sample") / "tiny.ome.tif", **TINY)  # type: ignore[arg-type]


def test_the_slide_opens_with_its_pixel_size_and_truth(tiny: Path) -> None:
    with tifffile.TiffFile(tiny) as file:
        assert file.is_ome
        assert file.pages[0].is_tiled
        assert 'PhysicalSizeX="1.0" PhysicalSizeXUnit="µm"' in str(file.ome_metadata)
    assert pixels_of(tiny).shape == (360, 510, 3)
    truth = rows_of(tiny.with_name("tiny.truth.csv"))
    assert tuple(truth[0]) == TRUTH_COLUMNS
    assert [r["core"] for r in truth] == ["A-1", "A-2", "A-3", "B-1", "B-2", "B-3"]
    assert sum(r["state"] == "missing" for r in truth) == 1
    assert all(r["score"] in "0123" and r["score"] for r in truth if r["state"] == "tissue")
    assert sorted(p.name for p in tiny.parent.iterdir()) == ["tiny.ome.tif", "tiny.truth.csv"]


def test_tissue_lies_where_the_truth_says(tiny: Path) -> None:
    slide = Slide.from_arrays(pixels_of(tiny))
    for row in rows_of(tiny.with_name("tiny.truth.csv")):
        y, x, d = int(row["y"]), int(row["x"]), int(row["diameter"])
        box = slide.read(0, y - d // 2, x - d // 2, d, d).astype(float)
        tinted = float((box.mean(axis=2) < 236).mean())
        assert (tinted > 0.15) == (row["state"] == "tissue"), row


def test_same_seed_same_file_other_seed_another(tiny: Path, tmp_path: Path) -> None:
    again = write_sample_slide(tmp_path / "tiny.ome.tif", **TINY)  # type: ignore[arg-type]
    assert again.read_bytes() == tiny.read_bytes()
    other = write_sample_slide(tmp_path / "other.ome.tif", seed=1, **TINY)  # type: ignore[arg-type]
    assert not np.array_equal(pixels_of(other), pixels_of(tiny))


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    path.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists"):
        write_sample_slide(path, **TINY)  # type: ignore[arg-type]
    assert path.read_bytes() == b"mine"
    write_sample_slide(path, overwrite=True, **TINY)  # type: ignore[arg-type]
    assert pixels_of(path).shape == (360, 510, 3)


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("a.png", {}, "ends in .ome.tif"),
        ("a.ome.tif", {"mpp": 0.01}, "cannot be drawn"),
        ("a.ome.tif", {"core_um": 149.0}, "cannot be drawn"),
        ("a.ome.tif", {"rows": 0}, "cannot be drawn"),
        ("nowhere/a.ome.tif", {}, "cannot be written"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(tmp_path: Path, name: str, options: dict[str, float], match: str) -> None:
    with pytest.raises(OutputError, match=match):
        write_sample_slide(tmp_path / name, **(TINY | options))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_the_embedded_slide() -> None:
    path = sample_slide()
    assert path.stat().st_size <= 6.5e6
    with tifffile.TiffFile(path) as file:
        levels = file.series[0].levels
        assert [level.shape for level in levels] == [(7040, 8640, 3), (3520, 4320, 3), (1760, 2160, 3), (880, 1080, 3)]
        assert levels[0].keyframe.subifds
        assert 'PhysicalSizeX="0.5"' in str(file.ome_metadata)
    truth = rows_of(path.with_name("sample_her2_tma.truth.csv"))
    assert len(truth) == 20
    assert [r["state"] for r in truth].count("missing") == 1
    for score in "0123":
        assert sum(r["score"] == score for r in truth) >= 3
    overview = Slide.from_arrays(pixels_of(path, 3))
    for row in truth:  # where there is no tissue there is glass, and it is white, not tinted by a wrong colour space
        patch = overview.read(0, int(row["y"]) // 8 - 30, int(row["x"]) // 8 - 30, 60, 60).astype(float)
        assert (patch.std() > 4) == (row["state"] == "tissue"), row
    glass = overview.read(0, 2, 2, 20, 20).reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(glass, (242, 241, 248), atol=3)


def test_an_installation_without_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("napari_her2.sample.files", lambda _: tmp_path)
    with pytest.raises(SlideError, match="missing from this installation"):
        sample_slide()
