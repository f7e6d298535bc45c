from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import tifffile
from napari.layers import Image, Layer

from napari_her2.errors import SlideError
from napari_her2.slide import Slide
from napari_her2.slide_files import SLIDE_SUFFIXES
from napari_her2.viewer.reader import get_reader, layer_of_slide, read_slides
from napari_her2.viewer.sample_data import open_sample
from napari_her2.viewer.slide_layer import slide_of_layer


def layer_of(path) -> Image:
    (data,) = read_slides(str(path))
    layer = Layer.create(*data)
    assert isinstance(layer, Image)
    return layer


def test_it_reads_what_ends_like_a_slide():
    assert all(get_reader(f"slide{suffix.upper()}") is read_slides for suffix in SLIDE_SUFFIXES)
    assert get_reader("cells.csv") is None
    assert get_reader(["a.svs", "b.csv"]) is None
    assert get_reader(["a.svs", "b.ome.tif"]) is read_slides


def test_the_manifest_names_every_ending():
    from npe2 import PluginManifest

    manifest = PluginManifest.from_distribution("napari-her2")
    reader = next(r for r in manifest.contributions.readers if r.command == "napari-her2.read")
    assert {p.removeprefix("*") for p in reader.filename_patterns} == set(SLIDE_SUFFIXES)


@pytest.mark.parametrize(
    ("name", "shape", "mpp", "levels"),
    [
        ("her2_tma_12.ome.tif", (18362, 24012), 0.25, None),
        ("cmu_small_region.svs", (2967, 2220), 0.499, 1),
        ("tcga_small.svs", None, None, 2),
    ],
)
def test_real_slides_open_lazily_with_their_pixel_size(real_data, name, shape, mpp, levels):
    layer = layer_of(real_data / "slides" / name)
    finest = layer.data[0] if layer.multiscale else layer.data
    assert isinstance(finest, da.Array)
    assert layer.rgb
    assert layer.ndim == 2
    assert shape is None or finest.shape[:2] == shape
    assert levels is None or (len(layer.data) if layer.multiscale else 1) == levels
    slide = slide_of_layer(layer)
    if mpp is None:
        assert slide.mpp is None
        assert layer.scale.tolist() == [1, 1]
    else:
        assert slide.mpp == pytest.approx(mpp, rel=1e-3)
        assert [str(unit) for unit in layer.units] == ["micrometer"] * 2
    # pixels are those of the file, and the label and macro images are not among them
    h, w = (n // 2 for n in finest.shape[:2])
    expected = Slide.open(real_data / "slides" / name).read(0, h, w, 50, 60)
    assert np.array_equal(finest[h : h + 50, w : w + 60].compute(), expected)


def test_chunks_are_a_few_whole_tiles(real_data):
    layer = layer_of(real_data / "slides" / "her2_tma_12.ome.tif")
    tile = Slide.open(real_data / "slides" / "her2_tma_12.ome.tif").levels[0].chunks
    chunk = layer.data[0].chunks
    assert all(1024 <= chunk[k][0] <= 2048 and chunk[k][0] % tile[k] == 0 for k in (0, 1))


def test_a_large_flat_slide_gets_a_small_level():
    class Flat:
        shape, dtype, ndim = (9000, 12000, 3), np.dtype(np.uint8), 3

        def __getitem__(self, key):
            rows, columns = (range(*k.indices(n)) for k, n in zip(key[:2], self.shape, strict=False))
            return np.full((len(rows), len(columns), 3), 77, np.uint8)

    levels, arguments, _ = layer_of_slide(Slide("flat", (Flat(),)))
    assert arguments["multiscale"]
    assert [level.shape for level in levels] == [(9000, 12000, 3), (1500, 2000, 3)]
    assert levels[1].compute().shape == levels[1].shape
    assert np.unique(levels[1].compute()).tolist() == [77]


def test_the_sample_is_a_slide_with_a_pixel_size():
    (data,) = open_sample()
    slide = slide_of_layer(Layer.create(*data))
    assert slide.name == "sample_her2_tma"
    assert slide.mpp == 0.5


def test_bad_files_are_said_in_one_sentence(tmp_path):
    (tmp_path / "a.svs").write_bytes(b"this is no image" * 100)
    tifffile.imwrite(tmp_path / "grey.tif", np.zeros((64, 64), np.uint8))
    for name, words in (("a.svs", "not an image"), ("grey.tif", "not a brightfield RGB"), ("none.tif", "no file")):
        with pytest.raises(SlideError, match=words) as error:
            read_slides(str(tmp_path / name))
        assert "\n" not in str(error.value)
