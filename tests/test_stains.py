from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_her2.errors import StainError
from napari_her2.slide import Slide
from napari_her2.stain import QUPATH_STAINS, Stains, estimate_stains, normalise, normaliser, optical_density, unmix
from napari_her2.stain.vectors import angle, as_vector, unit

GLASS = (236.0, 233.0, 241.0)
BLUE, BROWN = as_vector(unit((0.70, 0.62, 0.36))), as_vector(unit((0.35, 0.58, 0.74)))
SCANNER = Stains(GLASS, BLUE, BROWN)


def picture_of(h: np.ndarray, d: np.ndarray, stains: Stains, noise: float = 1.0) -> np.ndarray:
    od = h[..., None] * np.array(stains.hematoxylin) + d[..., None] * np.array(stains.dab)
    light = np.array(stains.white) * 10**-od + np.random.default_rng(0).normal(0, noise, (*h.shape, 3))
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def nuclei_and_membranes(brown: float, side: int = 320) -> tuple[np.ndarray, np.ndarray]:
    """Nuclei on a lattice with pale cytoplasm and a line of brown between them; glass on the left."""
    y, x = np.mgrid[:side, :side].astype(float)
    v, u = (y % 24) - 12, (x % 24) - 12
    h = 0.03 + 0.22 / (1 + np.exp((np.hypot(v, u) - 6) / 0.6))
    d = brown * np.exp(-(((12 - np.maximum(abs(v), abs(u))) / 1.2) ** 2))
    tissue = x > 60
    return np.where(tissue, h, 0), np.where(tissue, d, 0)


@pytest.mark.parametrize("brown", [0.0, 0.6])
def test_vectors_are_found_where_they_can_be(brown: float):
    stains = estimate_stains(picture_of(*nuclei_and_membranes(brown), SCANNER))
    assert np.abs(np.array(stains.white) - GLASS).max() < 2
    assert angle(stains.hematoxylin, BLUE) < 2.5
    if brown:
        assert angle(stains.dab, BROWN) < 3
        assert not stains.warnings
    else:
        assert stains.dab == pytest.approx(QUPATH_STAINS.dab)
        assert stains.dab_sure == 0
        assert stains.warnings[0].startswith("DAB is scarce")


def test_a_slide_is_sampled_and_gives_what_its_picture_gives():
    picture = picture_of(*nuclei_and_membranes(0.6, 640), SCANNER)
    stains = estimate_stains(Slide.from_arrays(picture, mpp=0.5))
    assert angle(stains.hematoxylin, BLUE) < 2.5
    assert angle(stains.dab, BROWN) < 3


def test_glass_alone_gives_the_defaults_and_says_so():
    stains = estimate_stains(np.full((64, 64, 3), 235, np.uint8))
    assert stains.hematoxylin == pytest.approx(QUPATH_STAINS.hematoxylin)
    assert len(stains.warnings) == 2


def test_unmixing_gives_back_what_was_mixed():
    h, d = np.meshgrid(np.linspace(0, 0.6, 20), np.linspace(0, 0.6, 20))
    blue, brown = unmix(picture_of(h, d, SCANNER, noise=0), SCANNER)
    assert blue.dtype == brown.dtype == np.float32
    assert np.abs(blue - h).max() < 0.03
    assert np.abs(brown - d).max() < 0.03


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.integers(1, 255)] * 3))
def test_unmixing_is_least_squares(pixel: tuple[int, int, int]):
    picture = np.array([[pixel]], np.uint8)
    od = optical_density(picture, GLASS)[0, 0].astype(float)
    expected = np.linalg.lstsq(np.array([BLUE, BROWN]).T, od, rcond=None)[0]
    assert [a[0, 0] for a in unmix(picture, SCANNER)] == pytest.approx(expected, abs=1e-4)


def test_normalised_pixels_are_those_of_the_reference():
    h, d = nuclei_and_membranes(0.4)
    reference = Stains((245.0, 244.0, 248.0), QUPATH_STAINS.hematoxylin, QUPATH_STAINS.dab)
    wanted = picture_of(h, d, reference, noise=0).astype(int)
    moved = normalise(picture_of(h, d, SCANNER, noise=0), SCANNER, reference).astype(int)
    assert np.abs(moved - wanted).mean() < 0.8
    assert np.abs(moved - wanted).max() <= 4


def test_the_tables_of_a_slide_serve_all_its_pictures():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    turned = normaliser(SCANNER, QUPATH_STAINS)
    assert [turned(p).tolist() for p in pictures] == normalise(pictures, SCANNER, QUPATH_STAINS).tolist()


def test_a_picture_in_the_colours_of_the_reference_stays_as_it_is():
    picture = np.random.default_rng(0).integers(1, 256, (16, 16, 3)).astype(np.uint8)
    assert np.abs(normalise(picture, SCANNER, SCANNER).astype(int) - picture).max() <= 1


def test_a_region_corrects_its_colour_and_its_warning():
    stains = estimate_stains(picture_of(*nuclei_and_membranes(0.0), SCANNER))
    brown = picture_of(np.zeros((5, 5)), np.full((5, 5), 0.5), SCANNER, noise=0)
    corrected = stains.with_region(brown, "dab")
    assert angle(corrected.dab, BROWN) < 1.5
    assert corrected.source == "region"
    assert not corrected.warnings
    assert stains.with_region(np.full((5, 5, 3), 220, np.uint8), "white").white == (220, 220, 220)


@pytest.mark.parametrize(
    ("pixels", "role", "says"),
    [
        (np.full((5, 5, 3), 234, np.uint8), "dab", "as pale as glass"),
        (np.full((1, 2, 3), 90, np.uint8), "dab", "2 pixels"),
        (np.full((5, 5, 3), 90, np.uint8), "eosin", "not"),
    ],
)
def test_a_region_that_cannot_be_right_is_refused(pixels: np.ndarray, role: str, says: str):
    with pytest.raises(StainError, match=says):
        SCANNER.with_region(pixels, role)  # type: ignore[arg-type]


def test_blue_and_brown_must_differ():
    with pytest.raises(StainError, match="cannot be told apart"):
        Stains(dab=QUPATH_STAINS.hematoxylin)


def test_stains_are_stored_and_come_back():
    stains = estimate_stains(picture_of(*nuclei_and_membranes(0.0), SCANNER))
    back = Stains.from_dict(stains.to_dict())
    assert back.hematoxylin == pytest.approx(stains.hematoxylin, abs=1e-5)
    assert back.warnings == stains.warnings
    with pytest.raises(StainError, match="no stored stains"):
        Stains.from_dict({"white": [1, 2]})
    assert "from QuPath's default" in stains.compared
    assert stains.swatch("dab", 0.5)[2] < stains.swatch("dab", 0.5)[0]
