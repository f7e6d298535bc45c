from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_her2.cores import Core, CoreState
from napari_her2.measure import Measurement, MeasureParams, measure_core, measure_cores, measure_pixels
from napari_her2.membrane import GASTRIC_RESECTION, EpitheliumParams, Thresholds
from napari_her2.membrane.calibrate import calibrate
from napari_her2.membrane.flags import FlagParams
from napari_her2.regions import Region
from napari_her2.scores import Places
from napari_her2.slide import Slide
from napari_her2.stain import QUPATH_STAINS, Stains, estimate_stains

PITCH = 26  # pixels of 0.5 µm: cells of 13 µm
STAINS = Stains((240.0, 240.0, 244.0), QUPATH_STAINS.hematoxylin, QUPATH_STAINS.dab)
PARAMS = MeasureParams(min_cells=50, threads=1)


def cells(
    brown: float, share: float = 1.0, *, stained: float = 1.0, side: int = 11, cytoplasm: float = 0.0
) -> np.ndarray:
    """Square cells with round nuclei on glass: a share of the outline, of a share of the cells, is brown."""
    rng = np.random.default_rng(1)
    n = side * PITCH
    y, x = np.mgrid[:n, :n]
    row, column = y // PITCH, x // PITCH
    v, u = y % PITCH - PITCH / 2 + 0.5, x % PITCH - PITCH / 2 + 0.5
    shift = rng.normal(0, 0.8, (2, side, side))
    h = 0.03 + 0.15 / (1 + np.exp((np.hypot(v - shift[0][row, column], u - shift[1][row, column]) - 8) / 0.7))
    turn = (np.arctan2(v, u) + np.pi) / (2 * np.pi)
    # the first columns are the stained ones: lines between two stained cells are drawn by both
    on = (turn < share) & (column < round(stained * side))
    line = brown * np.exp(-(((PITCH / 2 - np.maximum(abs(v), abs(u))) / 1.4) ** 2)) * on
    d = np.maximum(line, cytoplasm)
    h, d = (np.pad(a, 40) for a in (h, d))
    od = h[..., None] * np.array(STAINS.hematoxylin) + d[..., None] * np.array(STAINS.dab)
    light = np.array(STAINS.white) * 10**-od + rng.normal(0, 1, (*h.shape, 3))
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def measured(picture: np.ndarray, params: MeasureParams = PARAMS) -> Measurement:
    return measure_pixels(picture, STAINS, params)


@pytest.mark.parametrize(
    ("brown", "share", "score"), [(0.0, 1, "0"), (0.08, 0.4, "1+"), (0.25, 1, "2+"), (0.8, 1, "3+"), (0.015, 1, "0")]
)
def test_score_follows_intensity_and_completeness(brown: float, share: float, score: str):
    found = measured(cells(brown, share))
    assert found.score == score
    assert found.sentence.startswith(f"{score}: ")
    assert sum(found.percent) == pytest.approx(100)
    assert found.h_score == pytest.approx(sum(k * p for k, p in enumerate(found.percent)))


def test_every_nucleus_is_found_once_and_in_its_place():
    found = measured(cells(0.0))
    assert len(found.y) == pytest.approx(121, abs=4)
    row, column = (found.y - 40) % PITCH - PITCH / 2, (found.x - 40) % PITCH - PITCH / 2
    assert np.hypot(row, column).max() < 4
    area = found.nuclei[found.counted].area  # type: ignore[index]
    assert np.median(area) == pytest.approx(np.pi * 4**2, rel=0.25)


@pytest.mark.parametrize("share", [0.1, 0.25, 1.0])
def test_completeness_is_the_share_of_the_outline(share: float):
    found = measured(cells(0.12, share))
    inner = (found.y > 40 + PITCH) & (found.y < 40 + 10 * PITCH) & (found.x > 40 + PITCH) & (found.x < 40 + 10 * PITCH)
    # a line between two cells is seen from both: the opposite part is drawn by the neighbours
    both = min(1.0, 2 * share)
    assert found.cells.completeness[inner].mean() == pytest.approx(both, abs=0.2)


@pytest.mark.parametrize("stained", [3 / 11, 6 / 11])
def test_percent_is_the_share_of_cells(stained: float):
    found = measured(cells(0.8, stained=stained))
    assert found.percent[3] == pytest.approx(100 * stained, abs=6)
    assert found.score == "3+"


def test_brown_cytoplasm_is_no_membrane():
    assert measured(cells(0.0, cytoplasm=0.04)).percent[3] == 0
    assert measured(cells(0.0, cytoplasm=0.3)).score in ("", "0", "1+")


@pytest.mark.parametrize(("cytoplasm", "flagged"), [(0.1, False), (0.6, True)])
def test_cells_that_are_brown_all_over_are_flagged(cytoplasm: float, flagged: bool):
    found = measured(cells(1.0, cytoplasm=cytoplasm))
    assert found.percent[2] + found.percent[3] > 50
    assert any(f.startswith("Brown cytoplasm: ") for f in found.flags) is flagged


def test_too_little_is_not_scorable_and_says_why():
    empty = measured(np.full((300, 300, 3), 240, np.uint8))
    assert (empty.score, empty.columns["measured_score"]) == ("", "")
    assert "tissue" in empty.sentence
    few = measured(cells(0.0, side=5))
    assert few.score == ""
    assert "25 tumour-like cells (50 needed)" in few.sentence or "tumour-like cells" in few.sentence
    assert any(f.startswith("Little epithelium") for f in few.flags)


def test_brown_that_hides_its_nuclei_is_not_negative():
    picture = np.full((400, 400, 3), 240, np.uint8)
    picture[60:340, 60:340] = (90, 50, 25)
    found = measured(picture)
    assert found.score == ""
    assert "not a negative core" in found.sentence


def test_a_core_of_a_slide_has_its_cells_in_level_0_pixels():
    picture = cells(0.8)
    fine = np.repeat(np.repeat(picture, 2, 0), 2, 1)
    slide = Slide.from_arrays(fine, mpp=0.25)
    core = Core("A-1", 0, 0, fine.shape[0] / 2, fine.shape[1] / 2, fine.shape[0])
    found = measure_core(slide, core, STAINS, PARAMS)
    inside = (found.y - 80) % (2 * PITCH) - PITCH
    assert np.abs(inside).max() < 8
    assert found.core is core
    assert set(found.columns) == {
        "h_score",
        *(f"percent_{k}" for k in range(4)),
        "membrane_completeness",
        "measured_score",
        "measured_reason",
    }
    short = found.summed_up()
    assert (short.columns, short.count) == (found.columns, len(found.y))
    assert len(short.y) == short.rings.peak.size == 0
    labels = found.label_image()
    assert labels.shape == found.shape
    assert labels[int(found.y[0] / 2), int(found.x[0] / 2)] == found.cells.cls[0] + 1
    cores = [core, replace(core, name="A-2", state=CoreState.MISSING)]
    assert [m.score for m in measure_cores(slide, cores, STAINS, PARAMS)] == [found.score]


def test_a_painted_tumour_decides_which_cells_count():
    picture = cells(0.8, stained=0.5)
    region = np.zeros(picture.shape[:2], bool)
    region[:, : 40 + 5 * PITCH] = True
    found = measure_pixels(picture, STAINS, PARAMS, tumour=region)
    assert found.percent[3] > 90


def test_the_tumour_that_a_network_saw_decides_which_cells_count():
    picture = cells(0.8, stained=0.5)
    n = len(picture)
    slide = Slide.from_arrays(np.repeat(np.repeat(picture, 2, 0), 2, 1), mpp=0.25)
    core = Core("A-1", 0, 0, n, n, 2 * n)
    # one place over each half: the stained cells are tumour, the others are not
    side = 40 + 5 * PITCH + PITCH / 2
    none = np.zeros(2)
    halves = Places(np.full(2, float(n)), np.array([2 * side - n, 2 * side + n]), np.full(2, 2.0 * n), none, none, none)
    seen = replace(halves, tumour=np.array([0.9, 0.1], np.float32))
    found = measure_core(slide, core, STAINS, PARAMS, places=seen)
    assert found.percent[3] > 90
    assert found.x.max() < 2 * side + 8
    automatic = measure_core(slide, core, STAINS, PARAMS)
    assert automatic.percent[3] < 60
    # a score without places, as one that was read from a file, leaves it to the nuclei
    assert measure_core(slide, core, STAINS, PARAMS, places=Places(*(np.empty(0),) * 6)).percent == automatic.percent
    (again,) = measure_cores(slide, [core], STAINS, PARAMS, places={"A-1": seen})
    assert again.percent == found.percent


def test_in_the_tumour_that_a_network_saw_only_tumour_like_nuclei_count():
    picture = cells(0.8)
    seen = np.zeros((2, 2), bool)
    seen[:, 0] = True
    found = measure_pixels(picture, STAINS, PARAMS, seen=seen)
    assert 50 < found.count < 75
    assert found.x.max() < picture.shape[1] / 2
    strict = replace(PARAMS, epithelium=EpitheliumParams(least_seen=1e3))
    assert measure_pixels(picture, STAINS, strict, seen=seen).count == 0
    assert measure_pixels(picture, STAINS, strict, seen=seen, tumour=~seen).x.min() > picture.shape[1] / 2


def test_regions_that_the_user_drew_stand_above_everything():
    picture = cells(0.8, stained=0.5)
    n = 2 * len(picture)
    slide = Slide.from_arrays(np.repeat(np.repeat(picture, 2, 0), 2, 1), mpp=0.25)
    core = Core("A-1", 0, 0, n / 2, n / 2, n)
    side = 2 * (40 + 5 * PITCH)  # what is left of it is stained
    automatic = measure_core(slide, core, STAINS, PARAMS)
    left = Region("count here", ((0, 0), (0, side), (n, side), (n, 0)))
    everywhere = Places(*(np.array([v]) for v in (n / 2, n / 2, float(n), 0.0, 0.9, 1.0)))
    found = measure_core(slide, core, STAINS, PARAMS, places=everywhere, regions=[left])
    assert found.percent[3] > 90
    assert (found.x < side + 8).all()
    assert found.regions == found.summed_up().regions == (left,)
    out = replace(left, kind="leave out")
    without = measure_core(slide, core, STAINS, PARAMS, regions=[out])
    assert without.percent[3] < 20
    assert (without.x > side - 8).all()
    assert len(without.x) + len(found.x) == pytest.approx(len(automatic.x), rel=0.1)
    # in both, nothing is left; and a region elsewhere is none of this core's
    assert measure_core(slide, core, STAINS, PARAMS, regions=[left, out]).count == 0
    away = replace(out, outline=tuple((y + 3 * n, x) for y, x in out.outline))
    (same,) = measure_cores(slide, [core], STAINS, PARAMS, regions=[away])
    assert (same.percent, same.regions) == (automatic.percent, ())


def test_what_is_left_out_is_not_flagged():
    picture = cells(0.0)
    picture[50:140, 50:140] = (40, 160, 90)  # green ink
    pen = np.zeros((10, 10), bool)
    pen[1:5, 1:5] = True
    said = "Pen or foreign colour"
    assert any(f.startswith(said) for f in measured(picture).flags)
    assert not any(f.startswith(said) for f in measure_pixels(picture, STAINS, PARAMS, without=pen).flags)


def test_threads_change_nothing():
    one, two = (measured(cells(0.25), replace(PARAMS, threads=t)) for t in (1, 2))
    assert one.percent == two.percent
    assert (one.y == two.y).all()


def test_incomplete_membranes_count_in_gastric_tumours():
    rules = replace(PARAMS, rules=GASTRIC_RESECTION)
    picture = cells(0.4, 0.2)
    assert measured(picture).score in ("1+", "2+")
    assert measured(picture, rules).score >= "2+"
    assert measured(picture, rules).h_score > measured(picture).h_score


def test_controls_bring_the_thresholds_to_a_pale_batch():
    rings = [measured(cells(b, s)).rings for b, s in ((0.0, 1), (0.06, 0.3), (0.12, 1), (0.3, 1))]
    known = ["0", "1+", "2+", "3+"]
    thresholds, sentence = calibrate(rings, known)
    assert thresholds.intense < Thresholds().intense
    assert sentence.startswith("Thresholds times 0.")
    assert measured(cells(0.3), replace(PARAMS, thresholds=thresholds)).score == "3+"
    kept, _ = calibrate([measured(cells(0.8)).rings], ["3+"])
    assert kept == Thresholds()


@pytest.mark.parametrize(("core", "score"), [("0_9b0f", "0"), ("0_ccb6", "0"), ("2_0123", "2+"), ("3_a1f1", "3+")])
def test_real_cores_are_measured_as_labelled(real_data: Path, core: str, score: str):
    slide = Slide.open(next((real_data / "her2_cores").glob(f"{core}*.jpg")), mpp=0.25)
    rows, columns = slide.levels[0].shape[:2]
    whole = Core("A-1", 0, 0, rows / 2, columns / 2, float(min(rows, columns)))
    assert measure_core(slide, whole, estimate_stains(slide)).score == score


def test_unusual_haematoxylin_is_flagged():
    found = measured(cells(0.0), replace(PARAMS, nuclear_od=(0.4, 0.6)))
    assert any("calibrate" in f for f in found.flags)


def test_pen_and_bubble_are_flagged():
    picture = cells(0.0)
    assert not measured(picture).flags
    picture[50:140, 50:140] = (40, 160, 90)  # green ink
    assert any("Pen" in f for f in measured(picture).flags)
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    ringed = np.full_like(cells(0.0), 240)
    ringed[np.abs(np.hypot(y - 180, x - 180) - 120) < 8] = 120
    params = replace(PARAMS, min_tissue=0.001, flags=FlagParams())
    assert any("bubble" in f for f in measured(ringed, params).flags)
