from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_her2.errors import SlideError
from napari_her2.slide import Slide
from napari_her2.slide_files import image_stem

RGB = np.random.default_rng(1).integers(0, 255, (300, 400, 3), dtype=np.uint8)


def pyramid(path: Path, **options) -> Path:
    with tifffile.TiffWriter(path, ome=path.name.endswith((".ome.tif", ".ome.tiff"))) as tiff:
        tiff.write(RGB, tile=(64, 64), photometric="rgb", subifds=1, **options)
        tiff.write(RGB[::2, ::2], tile=(64, 64), photometric="rgb", subfiletype=1)
    return path


def test_ome_tiff_pyramid_with_pixel_size(tmp_path: Path):
    meta = {"axes": "YXS", "PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.25}
    slide = Slide.open(pyramid(tmp_path / "a.ome.tif", metadata=meta))
    assert (slide.name, slide.shape, slide.downsamples) == ("a", (300, 400), (1.0, 2.0))
    assert slide.mpp == pytest.approx(0.25)
    assert slide.mpp_source == "OME-XML"
    assert np.array_equal(slide.read(0, 10, 20, 100, 200), RGB[10:110, 20:220])
    assert np.array_equal(slide.read(1, 0, 0, 150, 200), RGB[::2, ::2])


def test_plain_tiff_with_resolution_and_without(tmp_path: Path):
    tifffile.imwrite(
        tmp_path / "cm.tif", RGB, photometric="rgb", resolution=(20000, 20000), resolutionunit="CENTIMETER"
    )
    assert Slide.open(tmp_path / "cm.tif").mpp == pytest.approx(0.5)
    tifffile.imwrite(tmp_path / "dpi.tif", RGB, photometric="rgb", resolution=(72, 72), resolutionunit="INCH")
    assert Slide.open(tmp_path / "dpi.tif").mpp is None


def test_planar_tiff(tmp_path: Path):
    planes = np.moveaxis(RGB, -1, 0).copy()
    tifffile.imwrite(tmp_path / "p.tif", planes, photometric="rgb", planarconfig="separate", tile=(64, 64))
    slide = Slide.open(tmp_path / "p.tif")
    assert slide.shape == (300, 400)
    assert np.array_equal(slide.read(0, 5, 6, 70, 80), RGB[5:75, 6:86])


def test_label_and_macro_stay_out(tmp_path: Path):
    with tifffile.TiffWriter(tmp_path / "s.tif") as tiff:
        tiff.write(RGB[:64, :64], photometric="rgb", description="label")
        tiff.write(RGB, photometric="rgb", tile=(64, 64))
    assert Slide.open(tmp_path / "s.tif").shape == (300, 400)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_ordinary_pictures(tmp_path: Path, suffix: str):
    path = tmp_path / f"picture{suffix}"
    Image.fromarray(RGB).save(path)
    slide = Slide.open(path)
    assert (slide.shape, slide.mpp) == ((300, 400), None)


def write_truncated(path: Path) -> None:
    tifffile.imwrite(path, RGB, photometric="rgb", tile=(64, 64))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_huge_claim(path: Path) -> None:
    tifffile.imwrite(path, RGB, photometric="rgb", tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for name in ("ImageWidth", "ImageLength"):
            tiff.pages[0].tags[name].overwrite(60_000)


BAD = {
    "no image.tif": (lambda p: p.write_bytes(b"hello" * 100), "not an image"),
    "text.png": (lambda p: p.write_bytes(b"hello" * 100), "not an image"),
    "empty.tif": (lambda p: p.write_bytes(b""), "0 bytes"),
    "cut.tif": (write_truncated, "truncated|damaged"),
    "huge.tif": (write_huge_claim, "damaged|truncated"),
    "grey.tif": (lambda p: tifffile.imwrite(p, RGB[..., 0]), "not a brightfield RGB image"),
    "fluorescence.ome.tif": (
        lambda p: tifffile.imwrite(p, np.zeros((5, 64, 64), np.uint16), metadata={"axes": "CYX"}),
        "not a brightfield RGB image",
    ),
    "deep.tif": (lambda p: tifffile.imwrite(p, RGB.astype(np.uint16), photometric="rgb"), "8-bit"),
    "grey.png": (lambda p: Image.fromarray(RGB[..., 0]).save(p), "grey image"),
    "cut.jpg": (lambda p: (Image.fromarray(RGB).save(p), p.write_bytes(p.read_bytes()[:2000])), "damaged|incomplete"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_get_one_sentence(tmp_path: Path, name: str):
    write, says = BAD[name]
    write(tmp_path / name)
    with pytest.raises(SlideError, match=says) as caught:
        Slide.open(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path):
    with pytest.raises(SlideError, match="no file"):
        Slide.open(tmp_path / "nothing.tif")
    with pytest.raises(SlideError, match="folder"):
        Slide.open(tmp_path)


def test_image_stem():
    assert image_stem("x/y.OME.TIFF") == "y"
    assert image_stem("a.b.svs") == "a.b"
    assert image_stem(".tif") == ".tif"


@pytest.mark.parametrize(
    ("name", "shape", "levels", "mpp"),
    [
        ("cmu_small_region.svs", (2967, 2220), 1, 0.499),
        ("tcga_small.svs", (3567, 4443), 2, None),
        ("her2_tma_12.ome.tif", (18362, 24012), 7, 0.25),
    ],
)
def test_real_slides(real_data: Path, name: str, shape: tuple[int, int], levels: int, mpp: float | None):
    slide = Slide.open(real_data / "slides" / name)
    assert (slide.shape, len(slide.levels), slide.mpp) == (shape, levels, mpp)
    assert slide.overview(512)[0].std() > 1
