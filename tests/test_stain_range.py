from __future__ import annotations

import numpy as np
import pytest

from napari_her2.slide import Slide
from napari_her2.stain_range import Staining, fit_range, range_flag, slide_staining
from napari_her2.training.render import Scanner, render
from napari_her2.training.staining import Laboratory
from napari_her2.training.tissue import make_tile


def stained(blue: float, brown: float) -> Staining:
    rng = np.random.default_rng(4)
    tile = make_tile(rng, size=512, score=3, lab=Laboratory(blue, brown, dirt=0))
    tissue = render(tile, Scanner.reference(), rng)
    picture = np.full((700, 700, 3), Scanner.reference().white, np.uint8)
    picture[90:602, 90:602] = tissue
    return slide_staining(Slide.from_arrays(picture, name="x", mpp=0.5))


def test_stronger_stain_is_seen_as_stronger():
    plain, strong = stained(0.2, 1.0), stained(0.32, 1.6)
    assert strong.blue > 1.2 * plain.blue
    assert strong.brown > 1.2 * plain.brown


def test_the_range_holds_the_training_set_and_tells_what_lies_outside():
    rng = np.random.default_rng(0)
    cores = [
        Staining(float(b), float(d)) for b, d in zip(rng.uniform(0.2, 0.4, 100), rng.uniform(0, 1, 100), strict=True)
    ]
    limits = fit_range([*cores, Staining(float("nan"), 0.5)])
    assert range_flag(Staining(0.3, 0.5), limits) == ""
    assert "Haematoxylin is weaker" in range_flag(Staining(0.1, 0.5), limits)
    assert "Haematoxylin is stronger" in range_flag(Staining(0.6, 0.5), limits)
    assert "Brown is stronger" in range_flag(Staining(0.3, 1.5), limits)
    assert "calibrate on control cores" in range_flag(Staining(0.3, 1.5), limits)
    # a slide with no positive core is no weakly stained slide
    assert range_flag(Staining(0.3, 0.0), limits) == ""
    assert range_flag(Staining(9.0, 9.0), {}) == ""


def test_a_slide_without_tissue_says_nothing():
    glass = Slide.from_arrays(np.full((400, 400, 3), 245, np.uint8), mpp=0.5)
    staining = slide_staining(glass)
    assert np.isnan(staining.blue)
    assert range_flag(staining, {"blue": [0.1, 0.2], "brown": [0.0, 0.1]}) == ""


@pytest.mark.parametrize("side", [40, 400])
def test_flat_pictures_do_not_trip_it(side: int):
    slide_staining(Slide.from_arrays(np.full((side, side, 3), (180, 120, 80), np.uint8), mpp=0.5))
