"""Label images as outlines: on discs, ellipses and worse, whose area, centre and aspect are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import regionprops

from napari_her2.finders.outlines import outlines_of_labels
from napari_her2.membrane.nuclei import Nuclei, nuclei_of_outlines
from napari_her2.membrane.polar import ANGLES

MPP = 0.5


def ellipse(y: float, x: float, long: float, short: float, turn: float, side: int = 96) -> np.ndarray:
    """Labels of one ellipse; centre and half axes in pixels, the turn in radians."""
    v, u = np.mgrid[:side, :side] + 0.5
    along, across = (
        np.cos(turn) * (v - y) + np.sin(turn) * (u - x),
        np.cos(turn) * (u - x) - np.sin(turn) * (v - y),
    )
    return ((along / long) ** 2 + (across / short) ** 2 <= 1).astype(np.int32)


def nuclei(labels: np.ndarray) -> Nuclei:
    """As measured on even tissue."""
    flat = np.full((labels.shape[0] // 2, labels.shape[1] // 2), 0.2, np.float32)
    return nuclei_of_outlines(*outlines_of_labels(labels, MPP), flat, 0 * flat, 2 * MPP, 0.1)


@given(st.floats(40, 56), st.floats(40, 56), st.floats(7, 20), st.floats(1, 2.5), st.floats(0, np.pi))
def test_an_ellipse_keeps_its_area_centre_and_aspect(y: float, x: float, long: float, aspect: float, turn: float):
    labels = ellipse(y, x, long, max(5.0, long / aspect), turn)
    found, (known,) = nuclei(labels), regionprops(labels)
    assert len(found) == 1
    assert found.y[0] == pytest.approx(y * MPP, abs=0.2)
    assert found.x[0] == pytest.approx(x * MPP, abs=0.2)
    assert found.area[0] == pytest.approx(known.area * MPP**2, rel=0.05)
    assert found.aspect[0] == pytest.approx(known.axis_major_length / known.axis_minor_length, rel=0.08)


@given(st.floats(4, 20))
def test_the_rays_of_a_disc_are_its_radius(radius: float):
    disc = ellipse(48, 48, radius, radius, 0)
    _, _, rays = outlines_of_labels(disc, MPP)
    assert rays.shape == (ANGLES, 1)
    assert rays.mean() == pytest.approx(np.sqrt(disc.sum() / np.pi) * MPP, abs=0.2)
    assert np.abs(rays - radius * MPP).max() < MPP


def test_labels_may_leave_numbers_out_touch_each_other_and_the_border():
    labels = np.zeros((40, 60), np.uint16)
    labels[:, :20], labels[:, 20:40] = 900, 7
    y, x, radius = outlines_of_labels(labels, MPP)
    assert y.tolist() == [10, 10]
    assert x.tolist() == [15, 5]  # by number: 7, then 900
    # the first ray looks right: to the neighbour or the glass, never beyond
    assert radius[0].tolist() == [5, 5]


def test_a_sickle_is_seen_from_a_pixel_of_its_own_and_a_hole_ends_a_ray():
    ring = ellipse(48, 48, 20, 20, 0) - ellipse(48, 48, 14, 14, 0)
    y, x, radius = outlines_of_labels(ring, 1.0)
    assert ring[int(y[0]), int(x[0])] == 1
    assert radius.min() < 7
    assert (radius >= 0.5).all()


def test_what_reaches_too_far_is_cut_and_no_label_gives_no_nucleus():
    _, _, radius = outlines_of_labels(np.ones((300, 300), np.int32), MPP)
    assert radius.max() == pytest.approx(25, abs=0.2)
    none = nuclei(np.zeros((30, 30), np.int32))
    assert (len(none), none.radius.shape) == (0, (ANGLES, 0))


def test_blue_haze_brown_and_edge_are_those_of_the_picture():
    labels = ellipse(48, 48, 12, 12, 0)
    h = np.where(labels[::2, ::2] > 0, 0.3, 0.05).astype(np.float32)
    d = np.where(labels[::2, ::2] > 0, 0.02, 0.4).astype(np.float32)
    sharp = nuclei_of_outlines(*outlines_of_labels(labels, MPP), h, d, 2 * MPP, 0.1)
    assert sharp.blue[0] == pytest.approx(0.3, abs=0.02)
    assert sharp.haze[0] == pytest.approx(0.05, abs=0.03)
    assert sharp.brown[0] == pytest.approx(0.02, abs=0.03)
    # where there is no edge a little is said all the same: its logarithm is taken later on
    assert sharp.edge[0] > 0.2
    assert nuclei(labels).edge[0] == pytest.approx(0.01)
