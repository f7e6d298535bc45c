from __future__ import annotations

import numpy as np
import pytest

from napari_her2.membrane.epithelium import EpitheliumParams, is_nucleus, tumour_features, tumour_likeness
from napari_her2.membrane.nuclei import Nuclei
from napari_her2.membrane.polar import ANGLES

SIDE = 200
THETA = np.arange(ANGLES) * (2 * np.pi / ANGLES)


def nuclei(aspect: float = 1.0, blue: float = 0.2, pitch: float = 14.0) -> Nuclei:
    """A square lattice of equal ellipses of 64 µm² on a picture of 200 µm."""
    at = np.arange(pitch / 2, SIDE, pitch)
    y, x = (v.ravel().astype(np.float32) for v in np.meshgrid(at, at, indexing="ij"))
    n, long, short = len(y), 4.5 * aspect**0.5, 4.5 * aspect**-0.5
    radius = long * short / np.hypot(long * np.sin(THETA), short * np.cos(THETA))
    ones = np.ones(n, np.float32)
    return Nuclei(
        y,
        x,
        np.repeat(radius[:, None], n, axis=1).astype(np.float32),
        0.2 * ones,
        np.float32(np.pi * long * short) * ones,
        np.float32(aspect) * ones,
        np.float32(blue) * ones,
        np.float32(0.05) * ones,
        0 * ones,
    )


def flat(od: float) -> np.ndarray:
    return np.full((SIDE, SIDE), od, np.float32)


def test_round_nuclei_in_dense_tissue_are_of_tumour_and_long_ones_in_pale_tissue_are_not():
    least = EpitheliumParams().least
    assert tumour_likeness(nuclei(), flat(0.12), flat(0), 1.0).min() > least
    assert tumour_likeness(nuclei(aspect=3), flat(0.04), flat(0), 1.0).max() < least


def test_the_features_are_what_they_say():
    found = tumour_features(nuclei(), flat(0.1), flat(0), 1.0)
    assert found.shape == (len(nuclei()), 4)
    np.testing.assert_allclose(found, np.tile([np.log(0.5), 0, 0, 1], (len(found), 1)), atol=0.01)
    gaps = flat(0.1)
    gaps[:, SIDE // 2 :] = 0
    share = tumour_features(nuclei(), gaps, flat(0), 1.0)[:, 2]
    x = nuclei().x
    assert share[x < 20].max() < 0.01
    assert share[x > 180].min() > 0.99
    ragged = nuclei()
    ragged.radius[::2] *= np.float32(0.7)
    assert tumour_features(ragged, flat(0.1), flat(0), 1.0)[:, 1].min() > 0.5


def test_likeness_is_relative_to_the_stain_of_the_core_and_more_brown_is_not_more_tumour():
    same = tumour_likeness(nuclei(blue=0.4), flat(0.2), flat(0), 1.0)
    np.testing.assert_allclose(tumour_likeness(nuclei(blue=0.2), flat(0.1), flat(0), 1.0), same, atol=1e-4)
    dense = tumour_likeness(nuclei(), flat(0.15), flat(0), 1.0)
    np.testing.assert_allclose(tumour_likeness(nuclei(), flat(0.15), flat(1.5), 1.0), dense, atol=1e-4)


@pytest.mark.parametrize("chosen", [slice(0, 0), slice(0, 1)])
def test_none_and_one(chosen: slice):
    few = nuclei()[np.arange(len(nuclei()))[chosen]]
    assert tumour_likeness(few, flat(0.1), flat(0), 1.0).shape == (len(few),)


def test_a_shadow_and_a_fragment_are_no_nuclei():
    some = nuclei()
    some.blue[0] = 0.05
    some.area[1] = 10
    np.testing.assert_array_equal(np.flatnonzero(~is_nucleus(some, EpitheliumParams())), [0, 1])
