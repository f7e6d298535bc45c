"""How sure a position is, and why not."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_slides import GLASS, drawn, found, lattice

from napari_her2.cores import CoreState
from napari_her2.dearray._fit import Spot
from napari_her2.dearray._positions import DOUBTFUL, lone_position, missing_position, tissue_position


def spot(fill: float, response: float, grain: float = 1.0) -> Spot:
    return Spot(50.0, 50.0, 14.0, response, fill, grain)


def test_the_doubtful_core_says_why_and_the_others_are_sure() -> None:
    places = lattice(5, 6)
    picture = drawn(places.reshape(-1, 2))
    y, x = (int(n) for n in places[2, 3])
    picture[y - 16 : y + 17, x - 16 : x + 17] = GLASS
    picture[y - 4 : y + 4, x - 4 : x + 4] = (150, 130, 170)
    grid = found(picture)
    assert all((c.found_confidence or 0) > 0.95 and not c.reason for c in grid if c.name != "C-4")
    core = grid["C-4"]
    assert core.state is CoreState.TISSUE
    assert core.found_confidence is not None
    assert core.found_confidence < DOUBTFUL
    assert "of the core only" in core.reason


def test_tissue_fraction_is_the_share_of_the_disc() -> None:
    places = lattice(4, 5)
    left = [places[r, c] for r, c in np.ndindex(4, 5) if (r, c) != (2, 2)]
    picture = drawn(np.array(left))
    y, x = places[1, 1]
    yy, xx = np.ogrid[: picture.shape[0], : picture.shape[1]]
    picture[((yy - y) ** 2 + (xx - x) ** 2 < 18**2) & (xx > x)] = GLASS
    grid = found(picture)
    assert 0.4 < (grid["B-2"].tissue_fraction or 0) < 0.7  # its disc may lie a little towards the tissue
    assert (grid["C-3"].tissue_fraction or 0) < 0.05
    assert all((c.tissue_fraction or 0) > 0.95 for c in grid if c.name not in ("B-2", "C-3"))


def test_the_less_there_is_and_the_further_off_the_less_sure() -> None:
    by_fill = [tissue_position(spot(f, f), 0.0).confidence for f in (0.08, 0.15, 0.25, 0.4, 1.0)]
    by_place = [tissue_position(spot(1, 0.9), away).confidence for away in (0.0, 0.2, 0.4, 0.6, 0.8)]
    by_dirt = [missing_position(spot(f, 0)).confidence for f in (0.4, 0.2, 0.1, 0.05, 0.0)]
    assert by_fill == sorted(by_fill)
    assert by_place == sorted(by_place, reverse=True)
    assert by_dirt == sorted(by_dirt)
    assert min(by_fill[-1], by_place[0], by_dirt[-1]) > 0.98
    assert max(by_fill[0], by_place[-1], by_dirt[0]) < 0.5


@pytest.mark.parametrize("fill", np.linspace(0, 1, 6))
@pytest.mark.parametrize("response", np.linspace(-0.2, 1, 6))
@pytest.mark.parametrize("away", [0.0, 0.3, 0.7])
def test_every_doubt_has_a_reason(fill: float, response: float, away: float) -> None:
    for grain in (0.2, 1.0):
        disc = spot(float(fill), float(response), grain)
        for position in (tissue_position(disc, away), missing_position(disc), missing_position(disc, "row")):
            assert 0 <= position.confidence <= 1
            assert (position.confidence < DOUBTFUL) == bool(position.reason)
        assert lone_position(disc).reason
