"""What real slides do to cores: torn, folded, faint; dirt, pens and labels around them; and slides without any."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from drawn_slides import GLASS, Picture, check, drawn, found, lattice
from scipy import ndimage

from napari_her2.cores import CoreState
from napari_her2.errors import CoresError
from napari_her2.naming import core_name

# --- the cores ----------------------------------------------------------------------------------------------------


def around(picture: Picture, place: npt.NDArray[np.float64], radius: float = 14) -> npt.NDArray[np.bool_]:
    """The pixels of one disc."""
    yy, xx = np.ogrid[: picture.shape[0], : picture.shape[1]]
    inside: npt.NDArray[np.bool_] = (yy - place[0]) ** 2 + (xx - place[1]) ** 2 <= radius**2
    return inside


def test_a_crescent_keeps_the_centre_of_its_disc() -> None:
    places = lattice(4, 5)
    picture = drawn(places.reshape(-1, 2))
    y, x = places[1, 2]
    yy, xx = np.ogrid[: picture.shape[0], : picture.shape[1]]
    picture[(yy - y) ** 2 + (xx - x - 13) ** 2 <= 14**2] = GLASS
    core = found(picture)["B-3"]
    assert core.state is CoreState.TISSUE
    assert np.hypot(core.y - y, core.x - x) < 0.35 * 14


def test_a_torn_core_is_one_core() -> None:
    places = lattice(4, 5)
    picture = drawn(places.reshape(-1, 2))
    y, x = (int(n) for n in places[1, 2])
    picture[y - 2 : y + 3, x - 16 : x + 17] = GLASS
    picture[y - 16 : y + 17, x + 3 : x + 6] = GLASS
    check(found(picture), places, 14)


def test_a_folded_core_is_a_core() -> None:
    places = lattice(4, 5)
    picture = drawn(places.reshape(-1, 2))
    disc = around(picture, places[2, 3])
    left = np.arange(picture.shape[1])[None] < places[2, 3, 1]
    picture[disc & left] = GLASS
    picture[disc & ~left & np.roll(left, 7)] = (90, 75, 110)  # twice as dense where it lies on itself
    core = found(picture)["C-4"]
    assert core.state is CoreState.TISSUE
    assert np.hypot(core.y - places[2, 3, 0], core.x - places[2, 3, 1]) < 0.6 * 14


@pytest.mark.parametrize(
    ("tissue", "grain"),
    [((224, 221, 230), 2), ((205, 120, 180), 25), ((232, 205, 226), 8), ((150, 100, 60), 25)],
    ids=["nearly as pale as glass", "H&E", "pale H&E", "DAB"],
)
def test_stains(tissue: tuple[int, int, int], grain: float) -> None:
    places = lattice(4, 6)
    check(found(drawn(places.reshape(-1, 2), tissue=tissue, grain=grain)), places, 14)


def test_pale_and_dark_cores_on_one_slide() -> None:
    places = lattice(5, 6)
    pale = drawn(places.reshape(-1, 2), tissue=(224, 221, 230), grain=2)
    dark = drawn(places.reshape(-1, 2), tissue=(110, 70, 50), grain=20)
    picture = np.where((np.arange(pale.shape[1]) < places[0, 3, 1] - 17)[None, :, None], pale, dark)
    check(found(picture), places, 14)


# --- around them ---------------------------------------------------------------------------------------------------


def test_dust_and_pen_are_no_cores() -> None:
    places = lattice(6, 8, start=90)
    gone = {"B-2", "D-6"}
    picture = drawn(
        np.array([places[r, c] for r, c in np.ndindex(6, 8) if core_name(r, c) not in gone]), shape=(400, 500)
    )
    rng = np.random.default_rng(1)
    for y, x in rng.integers(5, 390, (60, 2)):
        picture[y, x : x + 2] = 60
    picture[20:24, 30:470] = (40, 40, 120)
    picture[20:380, 470:476] = (40, 40, 120)
    check(found(picture), places, 14, gone)


def test_a_pen_stroke_from_the_border_takes_no_core_away() -> None:
    places = lattice(5, 6)
    picture = drawn(places.reshape(-1, 2))
    y = int(places[2, 0, 0]) + 17  # between two rows, touching both
    picture[y - 4 : y + 4, :160] = (60, 60, 140)
    picture[y - 4 :, :8] = (60, 60, 140)
    check(found(picture), places, 14)


@pytest.mark.parametrize("paper", [(250, 250, 250), GLASS, (240, 220, 120)], ids=["white", "as glass", "yellow"])
def test_a_label_with_text_and_barcode_holds_no_cores(paper: tuple[int, int, int]) -> None:
    places = lattice(6, 8)
    places[..., 1] += 150
    picture = drawn(places.reshape(-1, 2))
    rng = np.random.default_rng(3)
    picture[:, :150], picture[:, 150:152] = paper, (120, 120, 120)
    for y in range(20, 150, 26):
        for x in range(12, 130, 11):
            picture[y : y + 12, x : x + 8][rng.random((12, 8)) < 0.55] = (30, 30, 30)
    for x in range(12, 136, 4):
        picture[170:220, x : x + int(rng.integers(1, 4))] = (20, 20, 20)
    check(found(picture), places, 14)


def test_black_and_white_areas_that_were_never_scanned() -> None:
    places = lattice(5, 6, start=140)
    picture = drawn(places.reshape(-1, 2), shape=(460, 500))
    picture[:90] = 0
    picture[:, :80] = 0
    picture[420:] = 255
    check(found(picture), places, 14)


def test_the_edge_of_the_slide_and_its_holder() -> None:
    places = lattice(5, 6)
    picture = drawn(places.reshape(-1, 2), shape=(270, 320))
    picture[250:] = (150, 150, 155)
    picture[253:256] = (250, 250, 250)
    picture[258:] = (40, 40, 45)
    check(found(picture), places, 14)


def test_cores_that_the_picture_cuts() -> None:
    places = lattice(5, 6)
    picture = drawn(places.reshape(-1, 2))[54:, 52:]
    grid = found(picture)
    assert [c.name for c in grid] == [core_name(r, c) for r, c in np.ndindex(5, 6)]
    assert all(c.state is CoreState.TISSUE for c in grid)


def test_light_that_fades_over_the_slide() -> None:
    places = lattice(6, 8)
    fade = np.linspace(1, 0.9, 400)[: drawn(places.reshape(-1, 2)).shape[1]]
    picture = (drawn(places.reshape(-1, 2)) * fade[None, :, None]).astype(np.uint8)
    check(found(picture), places, 14)


# --- no cores ------------------------------------------------------------------------------------------------------


def test_blank_slide() -> None:
    rng = np.random.default_rng(0)
    blank = (np.array(GLASS) + rng.normal(0, 0.7, (300, 400, 1))).astype(np.uint8)
    with pytest.raises(CoresError, match="drawn looks empty"):
        found(blank)
    with pytest.raises(CoresError, match="drawn looks empty"):
        found(np.full((300, 400, 3), 255, np.uint8))


def test_tissue_without_cores() -> None:
    picture = np.tile(np.array(GLASS, np.uint8), (300, 400, 1))
    picture[140:150] = (150, 130, 170)
    with pytest.raises(CoresError, match="No cores found on drawn"):
        found(picture)


def test_a_piece_of_a_section_is_no_core() -> None:
    rng = np.random.default_rng(0)
    picture = np.tile(np.array(GLASS, float), (300, 400, 1))
    picture[30:, 60:] = np.array((170, 150, 185)) + rng.normal(0, 15, (270, 340, 1))
    with pytest.raises(CoresError, match="No cores found on drawn"):
        found(picture.clip(0, 255).astype(np.uint8))


def section(tissue: npt.NDArray[np.bool_]) -> Picture:
    """Grainy tissue of any shape."""
    rng = np.random.default_rng(0)
    picture = np.tile(np.array(GLASS, float), (*tissue.shape, 1))
    picture[tissue] = np.array((170, 150, 185)) + rng.normal(0, 15, (int(tissue.sum()), 1))
    return np.clip(picture + rng.normal(0, 0.7, (*tissue.shape, 1)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("wave", [0, 30])
@pytest.mark.parametrize(("count", "width"), [(2, 100), (2, 45), (5, 18)])
def test_strips_and_biopsies_are_no_cores(count: int, width: int, wave: int) -> None:
    yy, xx = np.mgrid[:400, :600]
    middle = (np.arange(count) + 0.5) * 400 / count
    near = np.abs(yy[..., None] - middle - wave * np.sin(xx[..., None] / 90)).min(axis=2) < width / 2
    with pytest.raises(CoresError, match="No cores found on drawn"):
        found(section(near & (xx > 50) & (xx < 560)))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sections_and_fragments_are_no_cores(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rough = ndimage.gaussian_filter(rng.standard_normal((400, 600)), 8)
    yy, xx = np.mgrid[:400, :600]
    oval = ((yy - 200) / 150) ** 2 + ((xx - 300) / 250) ** 2 < 1
    for tissue in (oval, oval & (rough < 0.02), rough > 0.06):
        with pytest.raises(CoresError, match="No cores found on drawn"):
            found(section(tissue))


def test_round_pieces_that_are_too_large_for_a_punch_are_no_cores() -> None:
    picture = drawn(np.array([[220.0, 220.0], [220.0, 640.0]]), radius=190)
    assert len(found(picture)) == 2
    assert len(found(picture, mpp=10)) == 2  # 3.8 mm
    with pytest.raises(CoresError, match="No cores found on drawn"):
        found(picture, mpp=20)  # 7.6 mm
