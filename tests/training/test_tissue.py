from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_her2.training.architecture import ARCHITECTURES, COARSE_UM, make_layout, mixed_layout
from napari_her2.training.artefacts import IGNORE
from napari_her2.training.fields import smooth_noise, upsample
from napari_her2.training.staining import Laboratory, cell_levels, draw_percent, score_of_percent
from napari_her2.training.tissue import CLASSES, Tissue, make_core, make_tile

CLEAN = Laboratory(dirt=0.0)


def tile(seed: int, score: int | None, **options: object) -> Tissue:
    return make_tile(np.random.default_rng(seed), score=score, lab=CLEAN, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("percent", "score"),
    [
        ((100, 0, 0, 0), 0),
        ((90, 10, 0, 0), 0),
        ((89, 11, 0, 0), 1),
        ((80, 10, 10, 0), 1),
        ((60, 29, 11, 0), 2),
        ((95, 0, 0, 5), 2),
        ((90, 0, 0, 10), 2),
        ((89, 0, 0, 11), 3),
        ((0, 0, 0, 100), 3),
    ],
)
def test_score_follows_the_definition(percent: tuple[float, ...], score: int) -> None:
    assert score_of_percent(percent) == score


@pytest.mark.parametrize("score", range(4))
def test_drawn_percent_has_the_score_asked_for(score: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        percent = draw_percent(rng, score)
        assert sum(percent) == pytest.approx(100)
        assert min(percent) >= 0
        assert score_of_percent(percent) == score


def test_blind_laboratories_are_none_that_trains() -> None:
    rng = np.random.default_rng(0)
    trains, kept = ([Laboratory.random(rng, blind=b) for _ in range(100)] for b in (False, True))
    assert all(0.21 < lab.blue < 0.25 or 1.08 < lab.brown < 1.32 for lab in kept)
    assert not any(0.21 < lab.blue < 0.25 or 1.08 < lab.brown < 1.32 for lab in trains)


def test_drawing_an_unknown_score_is_refused() -> None:
    with pytest.raises(ValueError, match="not 4"):
        draw_percent(np.random.default_rng(0), 4)


def test_cells_get_exactly_their_shares_and_stain_with_their_region() -> None:
    rng = np.random.default_rng(1)
    regional = rng.standard_normal(1000)
    levels = cell_levels(rng, (40, 30, 20, 10), regional, 0.1)
    assert np.bincount(levels.astype(int)).tolist() == [400, 300, 200, 100]
    assert np.corrcoef(regional, levels)[0, 1] > 0.8


@pytest.mark.parametrize("score", range(4))
def test_a_core_has_the_score_asked_for_and_glass_around(score: int) -> None:
    core = make_core(np.random.default_rng(score), score=score, diameter_um=300, mpp=1.0, lab=CLEAN)
    assert core.score == score
    assert sum(core.percent) == pytest.approx(100)
    assert core.dab.shape == (330, 330)
    for corner in (core.hematoxylin, core.dab, core.classes):
        assert not corner[:25, :25].any()
    tissue = (core.hematoxylin + core.dab) > 0.01
    assert 0.4 < tissue.mean() / (np.pi / 4 * (300 / 330) ** 2) <= 1.1


def test_class_map_agrees_with_the_cells_counted() -> None:
    core = make_core(
        np.random.default_rng(3), score=3, diameter_um=400, mpp=1.0, percent=(30.0, 20.0, 20.0, 30.0), lab=CLEAN
    )
    counts = np.bincount(core.classes[core.classes != IGNORE], minlength=5)[1:]
    assert core.score == 3
    np.testing.assert_allclose(100 * counts / counts.sum(), core.percent, atol=9)


def test_a_damaged_core_has_lost_tissue() -> None:
    whole, torn = (
        make_core(np.random.default_rng(5), score=1, diameter_um=300, mpp=1.0, damaged=d, lab=CLEAN) for d in (0, 1)
    )
    share = [float(((c.hematoxylin + c.dab) > 0.01).mean()) for c in (whole, torn)]
    assert 0.1 * share[0] < share[1] < 0.8 * share[0]


def test_brown_of_membranes_grows_with_the_class() -> None:
    """Pooled over tiles: the 90th percentile of DAB in places of each class."""
    tiles = [tile(seed, score) for score in range(4) for seed in range(3)]
    strong = [
        float(np.percentile(np.concatenate([t.dab[t.classes == c] for t in tiles]), 90)) for c in range(1, len(CLASSES))
    ]
    assert strong[0] < 0.05
    assert strong[0] < 0.7 * strong[1] < 0.7**2 * strong[2] < 0.7**3 * strong[3]
    assert strong[3] > 0.4


def test_brown_is_in_lines_not_in_the_cells() -> None:
    t = tile(2, 3)
    sure = ndimage.binary_erosion(t.classes == 4, iterations=4)
    assert np.median(t.dab[sure]) < 0.5 * np.percentile(t.dab[sure], 95)


def test_same_seed_same_tile_other_seed_another() -> None:
    a, b, c = (make_tile(np.random.default_rng(s), size=128) for s in (7, 7, 8))
    for name in ("hematoxylin", "dab", "classes"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert a.percent == b.percent
    assert not np.array_equal(a.hematoxylin, c.hematoxylin)


def test_tiles_have_their_types_and_no_negative_stain() -> None:
    values: set[int] = set()
    bare = 0
    for seed in range(24):
        t = make_tile(np.random.default_rng(seed), size=192)
        assert t.hematoxylin.dtype == t.dab.dtype == np.float32
        assert t.classes.dtype == np.uint8
        assert t.dab.shape == t.hematoxylin.shape == t.classes.shape == (192, 192)
        assert np.isfinite(t.hematoxylin).all()
        assert t.hematoxylin.min() >= 0
        assert np.isfinite(t.dab).all()
        assert t.dab.min() >= 0
        values |= set(np.unique(t.classes).tolist())
        bare += not t.percent
        assert (t.score is None) == (not t.percent)
    assert values >= {0, 1, 2, 3, 4}
    assert bare >= 1


@pytest.mark.parametrize("mpp", [0.2, 0.25, 0.37, 0.5, 1.0])
def test_brown_lies_in_the_tumour_whatever_the_pixel(mpp: float) -> None:
    t = make_tile(np.random.default_rng(0), size=int(128 / mpp), mpp=mpp, score=3, lab=CLEAN)
    assert t.mpp == mpp
    assert t.score == 3
    tumour, other = t.dab[t.classes > 0].mean(), t.dab[t.classes == 0].mean()
    assert tumour > 0.08
    assert other < 0.1 * tumour


def test_a_scaled_layout_keeps_its_cells_where_they_were() -> None:
    layout = make_layout(np.random.default_rng(4), (60, 60), "glands", 10.0)
    larger = layout.scaled(1.1)
    np.testing.assert_allclose(larger.points, 1.1 * layout.points)
    np.testing.assert_allclose(larger.nuclei, 1.1 * layout.nuclei)
    np.testing.assert_allclose(larger.depth, 1.1 * layout.depth, rtol=1e-5)
    np.testing.assert_allclose(larger.lumen, 1.1 * layout.lumen, rtol=1e-5)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_tumour_cells_lie_in_epithelium(kind: str) -> None:
    layout = make_layout(np.random.default_rng(4), (150, 150), kind, 10.0)
    assert len(layout.points) > 20
    at = np.clip((layout.points / COARSE_UM).astype(int), 0, 149)
    inside = ((layout.points >= 0) & (layout.points < 300)).all(axis=1)
    depth = layout.depth[at[:, 0], at[:, 1]][inside]
    lumen = layout.lumen[at[:, 0], at[:, 1]][inside]
    assert np.mean((depth > 0) & (lumen < 1)) > 0.9


def test_mixed_architectures_lie_side_by_side() -> None:
    layout = mixed_layout(np.random.default_rng(2), (150, 150), ("glands", "sheet"), 10.0)
    assert len(layout.points) == len(layout.nuclei) == len(layout.axis) > 50
    assert np.isfinite(layout.axis).any()
    assert np.isnan(layout.axis).any()
    assert layout.depth.shape == layout.lumen.shape == (150, 150)


def test_stroma_has_no_tumour() -> None:
    assert not len(make_layout(np.random.default_rng(0), (64, 64), "stroma", 10.0).points)


def test_places_are_even() -> None:
    """Hardly any tumour pixel differs from the majority of its 4 µm neighbourhood."""
    t = tile(1, 2)
    odd = 0
    for value in np.unique(t.classes[t.classes > 0]):
        own = (t.classes == value).astype(np.float32)
        tumour = (t.classes > 0).astype(np.float32)
        share = ndimage.uniform_filter(own, 9) / np.maximum(ndimage.uniform_filter(tumour, 9), 1e-6)
        odd += int(((t.classes == value) & (share < 0.3)).sum())
    assert odd < 0.02 * np.count_nonzero(t.classes)


def test_noise_and_upsampling_are_unbiased() -> None:
    noise = smooth_noise(np.random.default_rng(0), (600, 500), 4.0)
    assert abs(float(noise.mean())) < 0.05
    assert 0.85 < float(noise.std()) < 1.15
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32)[:, None], (40, 30)).copy()
    fine = upsample(ramp, (160, 120), 4)
    np.testing.assert_allclose(fine[20:140, 60], (np.arange(20, 140) + 0.5) / 4 - 0.5, atol=1e-4)
