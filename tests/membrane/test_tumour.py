from __future__ import annotations

import numpy as np

from napari_her2.membrane.tumour import tumour_of_places
from napari_her2.scores import Places


def places(y: list[float], x: list[float], size: list[float], tumour: list[float]) -> Places:
    none = np.zeros(len(y))
    return Places(np.array(y), np.array(x), np.array(size), none, np.array(tumour, np.float32), none)


def test_a_place_covers_its_squares_and_no_others() -> None:
    # 16 wide about (108, 208): squares of 8 in a box that begins at (100, 200)
    found = tumour_of_places(places([108.0], [208.0], [16.0], [0.9]), (100, 200, 140, 240), 8.0)
    expected = np.zeros((5, 5), bool)
    expected[:2, :2] = True
    np.testing.assert_array_equal(found, expected)


def test_fine_places_outweigh_coarse_ones_and_what_nobody_judged_is_not_tumour() -> None:
    fine, coarse = ([4.0], [4.0], [8.0], [0.0]), ([16.0], [16.0], [32.0], [1.0])
    both = places(*(a + b for a, b in zip(fine, coarse, strict=True)))
    found = tumour_of_places(both, (0, 0, 40, 40), 8.0)
    assert not found[0, 0]
    assert found[:4, :4].sum() == 15
    assert not found[4].any()
    assert not found[:, 4].any()


def test_places_beyond_the_core_are_left_out_and_the_squares_fill_it() -> None:
    far = places([-50.0, 500.0, 10.0], [10.0, 10.0, 900.0], [8.0, 8.0, 8.0], [1.0, 1.0, 1.0])
    assert not tumour_of_places(far, (0, 0, 100, 100), 8.0).any()
    everywhere = places([50.0], [50.0], [100.0], [1.0])
    assert tumour_of_places(everywhere, (0, 0, 100, 100), 8.0).all()
