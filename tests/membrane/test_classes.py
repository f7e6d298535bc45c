from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_her2.membrane.classes import Thresholds, classify
from napari_her2.membrane.features import described, outline_od, shipped_network
from napari_her2.membrane.polar import ANGLES
from napari_her2.membrane.rings import Rings


def cells(lines: np.ndarray, cytoplasm: float = 0.01, seed: int = 0) -> Rings:
    """Cells whose outline carries a line of that OD on each ray; shape (ANGLES, n)."""
    rng = np.random.default_rng(seed)
    noise = np.abs(rng.normal(0, 0.004, lines.shape)).astype(np.float32)
    border = np.full(lines.shape, 6, np.float32)
    brown = np.full(lines.shape[1], cytoplasm, np.float32)
    return Rings(border, lines + cytoplasm + noise, 0.6 * lines + noise, border > 9, brown, np.full_like(brown, 0.12))


def outlined(od: float, share: float, n: int) -> np.ndarray:
    """Lines of that OD on that share of the outline of n cells."""
    return np.where(np.arange(ANGLES) < share * ANGLES, od, 0.0)[:, None].repeat(n, 1).astype(np.float32)


MIXED = np.concatenate(
    [outlined(0, 0, 60), outlined(0.09, 0.4, 60), outlined(0.2, 0.85, 60), outlined(0.9, 1, 60)], axis=1
)


def test_more_brown_and_more_of_it_is_a_higher_class():
    found = classify(cells(MIXED), Thresholds())
    classes, completeness = ([part.mean() for part in np.split(a, 4)] for a in (found.cls, found.completeness))
    assert classes == sorted(classes)
    assert classes[0] < 0.1
    assert classes[3] > 2.9
    assert completeness == sorted(completeness)
    assert completeness[0] < 0.2
    assert completeness[3] > 0.9
    assert 0 <= found.completeness.min() <= found.completeness.max() <= 1
    assert np.all(np.diff([part.mean() for part in np.split(found.intensity, 4)]) > 0)


@given(st.floats(0.3, 3))
def test_a_batch_that_is_browner_by_a_factor_has_thresholds_higher_by_that_factor(factor: float):
    rings = cells(MIXED)
    browner = replace(
        rings, **{name: getattr(rings, name) * np.float32(factor) for name in ("peak", "line", "cytoplasm")}
    )
    same = classify(browner, Thresholds().scaled(factor))
    assert np.mean(same.cls == classify(rings, Thresholds()).cls) > 0.98  # but for rounding
    np.testing.assert_allclose(same.completeness, classify(rings, Thresholds()).completeness, atol=1e-3)


@given(st.integers(0, 1000))
def test_the_order_of_the_cells_is_nothing(seed: int):
    order = np.random.default_rng(seed).permutation(MIXED.shape[1])
    rings = cells(MIXED)
    assert (classify(rings[order], Thresholds()).cls == classify(rings, Thresholds()).cls[order]).all()


def test_where_a_third_of_the_outline_may_be_bare_it_is_as_brown_as_the_rest_of_it():
    most, whole = cells(outlined(0.3, 0.67, 50)), cells(outlined(0.3, 1, 50))
    np.testing.assert_allclose(outline_od(most, 2 / 3)[:, 1:5], outline_od(whole)[:, 1:5], rtol=0.1)
    gastric, breast = (classify(cells(MIXED), Thresholds(outline=share)) for share in (2 / 3, 1.0))
    assert (gastric.cls >= breast.cls).all()
    assert (gastric.completeness >= breast.completeness).all()


def test_one_cell_and_none():
    assert len(classify(cells(outlined(0.3, 1, 1)), Thresholds()).cls) == 1
    none = classify(cells(np.empty((ANGLES, 0), np.float32)), Thresholds())
    assert none.counts == (0, 0, 0, 0)


def test_the_network_fits_the_numbers_and_what_is_far_out_counts_no_further():
    network, numbers = shipped_network(), described(outline_od(cells(MIXED)))
    assert network.mean.shape == network.scale.shape == (numbers.shape[1],)
    assert network(numbers).shape == (MIXED.shape[1], 4)
    np.testing.assert_allclose(network(numbers + 1e6), network(numbers + 1e9))
