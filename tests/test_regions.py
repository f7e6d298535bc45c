from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_her2.cores import Core
from napari_her2.regions import Region, region_masks, regions_on

CORE = Core("A-1", 0, 0, 500.0, 300.0, 200.0)


def square(y: float, x: float, side: float, kind="count here") -> Region:
    h = side / 2
    return Region(kind, ((y - h, x - h), (y - h, x + h), (y + h, x + h), (y + h, x - h)))


@pytest.mark.parametrize(
    ("region", "touches"),
    [
        (square(500, 300, 10), True),  # inside
        (square(500, 300, 900), True),  # around
        (square(500, 420, 50), True),  # over the edge
        (square(500, 500, 50), False),
        (square(595, 395, 20), False),  # in the box, not in the disc
        (Region("count here", ((500, 0), (500, 300), (480, 0))), True),
        (Region("count here", ((500, 300), (500, 320))), False),  # a line has no inside
    ],
)
def test_a_region_is_of_the_cores_whose_disc_it_touches(region, touches):
    assert region.touches(CORE) == touches


@settings(deadline=None, max_examples=60)
@given(st.floats(0, 2 * np.pi), st.floats(0, 250), st.floats(5, 120), st.integers(3, 9), st.sampled_from((1.0, -1.0)))
def test_touching_is_sharing_a_place_with_the_disc(turn, away, radius, n, way):
    angles = turn + way * np.arange(n) * 2 * np.pi / n
    outline = np.column_stack((500 + away + radius * np.sin(angles), 300 + radius * np.cos(angles)))
    region = Region("leave out", tuple(map(tuple, outline.tolist())))
    _, mask = region_masks([region], (250, 50, 750, 550), (250, 250))
    y, x = 2 * np.mgrid[:250, :250] + 1
    gap = np.hypot(y - 250, x - 250)[mask].min(initial=np.inf) - 100
    if abs(gap) > 4:  # squares of two pixels tell no closer
        assert region.touches(CORE) == (gap < 0) or not mask.any()


def test_masks_hold_what_the_regions_hold():
    out = square(460, 300, 40, "leave out")
    count, leave = region_masks([square(500, 250, 100), square(500, 350, 100), out], (400, 200, 600, 400), (50, 50))
    assert count[13:37].all()  # the middle half, from side to side
    assert not count[:12].any()
    assert not count[38:].any()
    assert (leave.sum(), leave[15, 25]) == (100, True)
    assert region_masks([out], (400, 200, 600, 400), (50, 50))[0] is None
    assert region_masks([], (0, 0, 9, 9), (3, 3)) == (None, None)


def test_the_order_of_drawing_changes_nothing():
    a, b, elsewhere = square(500, 300, 30), square(510, 310, 30, "leave out"), square(5, 5, 3)
    assert regions_on(CORE, [a, elsewhere, b]) == regions_on(CORE, [b, a]) == (a, b)
    assert a.to_dict() == {
        "kind": "count here",
        "outline_xy": [[285.0, 485.0], [315.0, 485.0], [315.0, 515.0], [285.0, 515.0]],
    }
