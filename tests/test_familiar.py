"""What is familiar, on small pictures and with the limits of the shipped model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_her2.familiar import LOOKS, core_look, familiar_distance, familiar_flag, fit_familiar
from napari_her2.models import load_model
from napari_her2.stain import divide_white
from napari_her2.training.render import Scanner, render
from napari_her2.training.tissue import Tissue, make_tile


@pytest.fixture(scope="module")
def tissue() -> Tissue:
    return make_tile(np.random.default_rng(3), size=384, score=2)


def picture(tissue: Tissue) -> np.ndarray:
    scanner = Scanner.reference()
    return divide_white(render(tissue, scanner, np.random.default_rng(0)), scanner.white)


def test_generated_tissue_is_familiar_and_other_pictures_are_not(tissue: Tissue):
    from skimage.data import immunohistochemistry

    familiar = load_model().familiar
    plain = picture(tissue)
    assert familiar_flag(plain[None], familiar) == ""
    others = {
        "another stain": plain[..., [1, 2, 0]],
        "inverted": 255 - plain,
        "grey": plain.mean(axis=-1, keepdims=True).astype(np.uint8).repeat(3, -1),
        "cast": (plain * np.array([0.6, 0.8, 1.0])).astype(np.uint8),
        "noise": np.random.default_rng(0).integers(0, 256, plain.shape, dtype=np.uint8),
        "flat": np.full_like(plain, 128),
        "another marker": immunohistochemistry(),
    }
    for name, other in others.items():
        assert familiar_flag(other[None], familiar).startswith("Unfamiliar: unlike anything"), name


def test_brown_on_nuclei_is_of_another_marker(tissue: Tissue):
    nuclear = replace(tissue, dab=3 * np.maximum(tissue.hematoxylin - np.float32(0.1), 0))
    flag = familiar_flag(picture(nuclear)[None], load_model().familiar)
    assert flag.startswith("Unfamiliar: ")


def test_the_distance_is_mahalanobis_and_most_of_the_training_lies_inside():
    rng = np.random.default_rng(0)
    spread = np.linspace(0.1, 2, len(LOOKS))
    looks = list(rng.normal(5, spread, (200, len(LOOKS))))
    familiar = fit_familiar([*looks, np.full(len(LOOKS), np.nan)])
    assert familiar["n"] == 200
    distances = np.array([familiar_distance(look, familiar) for look in looks])
    assert np.mean(distances**2) == pytest.approx(1, abs=0.05)
    assert (distances < familiar["threshold"]).all()
    assert familiar_distance(np.full(len(LOOKS), 5.0) + 5 * spread, familiar) > familiar["threshold"]
    with pytest.raises(ValueError, match="too few"):
        fit_familiar(looks[:10])


def test_glass_has_no_look_and_no_flag():
    glass = np.full((2, 300, 300, 3), 255, np.uint8)
    assert np.isnan(core_look(glass)).all()
    assert familiar_flag(glass, load_model().familiar) == ""
    assert familiar_flag(glass[:0], load_model().familiar) == ""
