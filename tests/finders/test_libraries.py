"""The real packages with models of random weights, where they are installed: what they take and what they give."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from napari_her2.errors import ModelError
from napari_her2.finders import NucleusFinder, open_finder
from napari_her2.finders.tiles import outlines_by
from napari_her2.membrane.polar import ANGLES
from napari_her2.stain import unmix
from test_measure import STAINS, cells


def library(name: str) -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, exc_type=ImportError)


def check(finder: NucleusFinder, name: str, weights: Path) -> None:
    """It labels a tile, and is led over a core."""
    picture = cells(0.3)[:300, :260]
    shown = np.random.default_rng(0).random((96, 130, 3 if finder.sight.colours else 1)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels = finder.labels(shown)
    assert labels.shape == (96, 130)
    assert np.issubdtype(labels.dtype, np.integer)
    y, _, radius = outlines_by(finder, picture, unmix(picture, STAINS)[0], np.ones((2, 2), bool))
    assert radius.shape == (ANGLES, len(y))
    record = finder.source.record()
    assert (record["finder"], record["weights"], record["device"]) == (name, weights.name, "cpu")
    assert len(record["sha256"]) == 64
    assert record["package"].split()[1][0].isdigit()


@pytest.fixture
def small_sam(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Cellpose-SAM with a transformer of one thin layer: as made, 1.2 GB."""
    vit = library("cellpose.vit")
    from segment_anything.build_sam import _build_sam

    def thin(checkpoint: str | None = None) -> object:
        return _build_sam(32, 1, 2, [0], checkpoint)

    monkeypatch.setattr(vit, "sam_model_registry", {"vit_l": thin})
    return vit


def test_cellpose(small_sam: ModuleType, tmp_path: Path):
    import torch

    weights = tmp_path / "cpsam_mine"
    small_sam.CPSAM().save_model(str(weights))
    before = torch.backends.cuda.matmul.allow_tf32
    finder = open_finder("cellpose", weights, "cpu")
    assert torch.backends.cuda.matmul.allow_tf32 == before
    assert not finder.sight.colours
    check(finder, "cellpose", weights)


def test_cellpose_refuses_what_is_not_its_own(small_sam: ModuleType, tmp_path: Path):
    import torch

    known, weights = small_sam.CPSAM().state_dict(), tmp_path / "weights"
    cases = [
        ({name: known[name] for name in list(known)[:5]}, "incomplete"),
        ({"downsample.0.weight": torch.ones(2)}, "those of Cellpose 3 and older do not do"),
        ({"encoder.cls_token": torch.ones(2)}, "DINOv3"),
        ({**known, "out.bias": torch.ones(7)}, "no weights that this Cellpose can load"),
        (Path("pickled"), "or holds more than tensors"),
    ]
    for content, sentence in cases:
        torch.save(content, weights)
        with pytest.raises(ModelError, match=sentence):
            open_finder("cellpose", weights, "cpu")
    weights.write_text("no weights at all")
    with pytest.raises(ModelError, match="holds no weights of Cellpose 4"):
        open_finder("cellpose", weights, "cpu")


@pytest.mark.parametrize("channels", [1, 3])
def test_stardist(channels: int, tmp_path: Path):
    library("tensorflow")
    models = library("stardist.models")
    config = models.Config2D(
        n_rays=16, grid=(2, 2), n_channel_in=channels, unet_n_depth=1, unet_n_filter_base=4, net_conv_after_unet=8
    )
    model = models.StarDist2D(config, name="mine", basedir=str(tmp_path))
    folder = tmp_path / "mine"
    model.keras_model.save_weights(str(folder / "weights_best.h5"))
    (folder / "thresholds.json").write_text(json.dumps({"prob": 0.4, "nms": 0.4}))
    finder = open_finder("stardist", folder, "cpu")
    assert finder.sight.colours == (channels == 3)
    check(finder, "stardist", folder)
    (folder / "weights_best.h5").write_bytes(b"no weights at all")
    with pytest.raises(ModelError, match="mine is no StarDist model that can be loaded"):
        open_finder("stardist", folder, "cpu")


@pytest.mark.parametrize(("channels", "cells_too"), [(1, False), (3, False), (3, True)])
def test_instanseg(channels: int, cells_too: bool, tmp_path: Path):
    library("instanseg")
    loss, loader = library("instanseg.utils.loss.instanseg_loss"), library("instanseg.utils.model_loader")
    import torch

    torch.manual_seed(0)
    design = {"model_str": "instanseg_unet", "dim_in": channels, "multihead": False, "cells_and_nuclei": cells_too}
    design |= {"dim_seeds": 1, "dim_coords": 2, "n_sigma": 2, "layers": [8, 4], "norm": "BATCH", "dropprob": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = loader.build_model_from_dict(design)
        network = loss.InstanSeg(n_sigma=2, device="cpu").initialize_pixel_classifier(network, MLP_width=4)
        whole = loss.InstanSeg_Torchscript(
            *(network, cells_too, 0.5), backbone_dim_in=channels, params={"seed_threshold": 0.4, "mask_threshold": 0.4}
        )
        torch.jit.save(torch.jit.script(whole), str(tmp_path / "instanseg.pt"))
        torch.jit.save(torch.jit.script(torch.nn.Conv2d(3, 1, 1)), str(tmp_path / "other.pt"))
    finder = open_finder("instanseg", tmp_path, "cpu")
    assert finder.sight.colours == (channels == 3)
    check(finder, "instanseg", tmp_path / "instanseg.pt")
    with pytest.raises(ModelError, match=r"other.pt is a TorchScript archive, and none of InstanSeg"):
        open_finder("instanseg", tmp_path / "other.pt", "cpu")
    (tmp_path / "other.pt").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"other.pt is no TorchScript archive"):
        open_finder("instanseg", tmp_path / "other.pt", "cpu")
