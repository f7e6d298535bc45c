from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_her2.stain import MODEL_REFERENCE
from napari_her2.training.render import Scanner, render
from napari_her2.training.tissue import Tissue, make_tile

PLAIN = replace(Scanner.reference(), blur_um=0.0, sharpen=0.0, noise=0.0, shade=0.0, jpeg_quality=None)


def blank(size: int = 64) -> Tissue:
    empty = np.zeros((size, size), np.float32)
    return Tissue(empty, empty.copy(), np.zeros((size, size), np.uint8), 0.5)


def unmix(picture: np.ndarray, scanner: Scanner) -> np.ndarray:
    od = -np.log10(np.maximum(picture, 1) / np.array(scanner.white)) / scanner.gamma
    return od @ np.linalg.pinv(np.array([scanner.h_vector, scanner.dab_vector]))


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_unmixing_with_the_scanners_own_vectors_gives_the_stains_back(gamma: float) -> None:
    scanner = replace(PLAIN, gamma=gamma)
    tissue = make_tile(np.random.default_rng(0), size=128, score=2)
    stains = unmix(render(tissue, scanner, np.random.default_rng(0)), scanner)
    pale = (tissue.hematoxylin + tissue.dab) < 1.0  # darker pixels are rounded to too few grey values
    assert pale.mean() > 0.5
    assert np.abs(stains[..., 0] - tissue.hematoxylin)[pale].max() < 0.03
    assert np.abs(stains[..., 1] - tissue.dab)[pale].max() < 0.03


def test_glass_is_white_point() -> None:
    picture = render(blank(), PLAIN, np.random.default_rng(0))
    np.testing.assert_array_equal(picture, np.broadcast_to(np.array([242, 241, 248], np.uint8), picture.shape))


def test_models_know_the_colours_of_the_reference_scanner_best() -> None:
    scanner = Scanner.reference()
    assert (MODEL_REFERENCE.hematoxylin, MODEL_REFERENCE.dab) == (scanner.h_vector, scanner.dab_vector)


def test_every_setting_changes_the_picture_the_way_it_says() -> None:
    tissue = make_tile(np.random.default_rng(1), size=128, score=3)

    def take(**options: object) -> np.ndarray:
        scanner = replace(PLAIN, **options)  # type: ignore[arg-type]
        return render(tissue, scanner, np.random.default_rng(0)).astype(float)

    def detail(picture: np.ndarray) -> float:
        return float(np.abs(np.diff(picture, axis=0)).mean())

    plain = take()
    assert detail(take(blur_um=1.0)) < 0.8 * detail(plain) < 0.8 * detail(take(sharpen=1.0))
    assert np.std(take(noise=3.0) - plain) == pytest.approx(3.0, abs=0.6)
    assert 0 < np.abs(take(jpeg_quality=40) - plain).mean() < 12
    assert take(gamma=1.2).mean() < plain.mean() < take(gamma=0.8).mean()
    assert take(shade=4.0).mean(axis=(1, 2)).std() != plain.mean(axis=(1, 2)).std()


def test_random_scanners_stay_in_the_family() -> None:
    """Brown stays brown (blue absorbed most, red least); haematoxylin stays blue (blue absorbed least)."""
    for seed in range(200):
        scanner = Scanner.random(np.random.default_rng(seed))
        for vector in (scanner.h_vector, scanner.dab_vector):
            assert np.linalg.norm(vector) == pytest.approx(1)
        assert scanner.dab_vector[0] < scanner.dab_vector[1] < scanner.dab_vector[2]
        assert scanner.h_vector[2] < min(scanner.h_vector[:2])
        assert 185 < min(scanner.white) <= max(scanner.white) <= 255


def test_blind_scanners_are_none_that_trains() -> None:
    def glass(blind: bool) -> list[float]:
        return [Scanner.random(np.random.default_rng(seed), blind=blind).white[1] for seed in range(60)]

    low, high = min(glass(True)), max(glass(True))
    assert low > 220
    assert not any(low <= g <= high for g in glass(False))


def test_same_seed_same_picture() -> None:
    tissue = make_tile(np.random.default_rng(2), size=96)
    a, b, c = (render(tissue, Scanner.random(np.random.default_rng(s)), np.random.default_rng(s)) for s in (1, 1, 2))
    assert a.dtype == np.uint8
    assert a.shape == (96, 96, 3)
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
