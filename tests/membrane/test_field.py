from __future__ import annotations

import numpy as np
import pytest

from napari_her2.membrane.classes import CellClasses
from napari_her2.membrane.field import choose_field
from napari_her2.membrane.measurement import Measurement
from napari_her2.membrane.nuclei import Nuclei
from napari_her2.membrane.polar import ANGLES
from napari_her2.membrane.rings import Rings


def measured(places: list[tuple[float, float]], classes: list[int], score: str, side_um: float = 600) -> Measurement:
    """A core of 0.25 µm per pixel whose corner is at (1000, 2000): round cells of 8 µm at these places in µm."""
    y, x = np.array(places, np.float32).T
    flat = np.ones(len(y), np.float32)
    rays = np.full((ANGLES, len(y)), 4, np.float32)
    return Measurement(
        score=score,
        count=len(y),
        cells=CellClasses(np.array(classes, np.uint8), flat, flat),
        rings=Rings(rays, rays, rays, rays > 9, flat, flat),
        nuclei=Nuclei(y, x, rays / 2, *([flat] * 6)),
        counted=np.arange(len(y)),
        origin=(1000.0, 2000.0),
        pixel=4.0,
        shape=(round(side_um * 2), round(side_um * 2)),
    )


def crowd(y: float, x: float, n: int) -> list[tuple[float, float]]:
    """Places close by."""
    rng = np.random.default_rng(n)
    return [(y + a, x + b) for a, b in rng.uniform(-30, 30, (n, 2))]


@pytest.mark.parametrize(
    ("score", "there"), [("3+", (500, 120)), ("2+", (500, 120)), ("0", (100, 450)), ("", (100, 450))]
)
def test_the_square_lies_where_most_of_the_cells_are_that_the_score_rests_on(score, there):
    places = crowd(100, 450, 40) + crowd(500, 120, 9)
    found = choose_field(measured(places, [0] * 40 + [3] * 9, score))
    top, left = (found.y - 1000) / 4, (found.x - 2000) / 4
    assert top <= there[0] - 30 < there[0] + 30 <= top + 250
    assert left <= there[1] - 30 < there[1] + 30 <= left + 250
    assert (found.side, found.side_um) == (1000, 250)
    assert found.chosen == sum(found.counts[found.least :])
    assert (found.chosen, found.of) == ((9, 9) if found.least else (40, 49))


def test_outlines_lie_just_inside_the_borders_and_those_that_reach_in_come_along():
    places = [*crowd(300, 300, 30), (300.0, 300.0)]
    found = choose_field(measured(places, [1] * 31, "1+"))
    centre = found.outlines.mean(axis=1)
    rays = np.hypot(*(found.outlines - centre[:, None]).transpose(2, 0, 1))
    np.testing.assert_allclose(rays, 3.2, atol=0.01)
    corner = np.array((found.y - 1000, found.x - 2000)) / 4
    np.testing.assert_allclose(centre + corner, places, atol=0.01)
    # a neighbour whose centre lies outside is drawn, and not counted
    more = choose_field(measured([*places, (corner[0] - 2.0, corner[1] + 50.0)], [1] * 31 + [0], "1+"))
    assert (more.y, more.x) == (found.y, found.x)
    assert (len(more.cls), sum(more.counts)) == (32, 31)


def test_a_core_smaller_than_the_square_is_shown_whole_and_one_without_cells_not_at_all():
    found = choose_field(measured([(50, 60), (90, 20)], [2, 3], "2+", side_um=110))
    assert (found.y, found.x, found.side_um, found.counts) == (1000, 2000, 110, (0, 0, 1, 1))
    assert choose_field(Measurement()) is None
    assert choose_field(measured([(50, 60)], [2], "2+").summed_up()) is None
