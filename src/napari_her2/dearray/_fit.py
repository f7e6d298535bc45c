"""Each core by itself: its own centre and size, and whether it is a core at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_her2.dearray._discs import Map, Points, disc_mean, ring_response
from napari_her2.dearray._tissue import Tissue

__all__ = ["Spot", "Spots", "is_core"]

#: Sizes of a single core that are tried, in common radii.
_SIZES = np.array([0.8, 0.87, 0.94, 1.0, 1.07, 1.15, 1.24])
#: Least ring response of a core that tells its own size.
_CLEAR = 0.5


@dataclass(frozen=True)
class Spot:
    """One round piece of tissue on the overview, in its pixels.

    Attributes
    ----------
    y, x, radius : float
    response : float
        Mean of the mask inside, less the mean in the ring around; 1 is a full disc on clean glass.
    fill : float
        Share of the disc that is tissue.
    grain : float
        Middle grain of its tissue, as a share of what is usual on the slide; 1 where grain tells nothing.
    """

    y: float
    x: float
    radius: float
    response: float
    fill: float
    grain: float

    @property
    def place(self) -> Points:
        return np.array([self.y, self.x])


def is_core(spot: Spot, least_fill: float = 0.0) -> bool:
    """Tissue rather than debris: the less of the disc is filled, the more grain it must show.

    Out-of-focus dust, stains and emptied punches are smooth; what is left of a torn core has edges.
    """
    if spot.fill < least_fill:
        return False
    return spot.fill > 0.75 or spot.grain > 0.7 - 0.5 * (spot.fill - 0.2)


class Spots:
    """Fits discs of about the common radius to a tissue map."""

    def __init__(self, tissue: Tissue, radius: float) -> None:
        self.tissue = tissue
        self.radius = radius
        self._responses = np.stack(ring_response(tissue.mask, radius * _SIZES))
        self.response = self._responses[int(np.argmin(np.abs(_SIZES - 1)))]

    def fit(self, place: Points, response: float) -> Spot:
        """The disc near a place that explains its tissue best.

        Parameters
        ----------
        place : ndarray, shape (2,)
            (y, x) of a peak of the response.
        response : float
            Its height. A core of which much is missing keeps the common radius and its place.
        """
        y, x, radius = float(place[0]), float(place[1]), self.radius
        if response >= _CLEAR:
            y, x, radius, response = self._own_size(place)
        return self.measure(y, x, radius, response)

    def _own_size(self, place: Points) -> tuple[float, float, float, float]:
        h, w = self.response.shape
        reach = max(1, round(0.35 * self.radius))
        cy, cx = (int(round(n)) for n in place)
        y0, y1, x0, x1 = max(0, cy - reach), min(h, cy + reach + 1), max(0, cx - reach), min(w, cx + reach + 1)
        near = self._responses[:, y0:y1, x0:x1]
        yy, xx = np.ogrid[y0:y1, x0:x1]
        away = ((yy - cy) ** 2 + (xx - cx) ** 2) / self.radius**2
        worth = np.square(np.clip(near, 0, None)) * (_SIZES**2)[:, None, None] - 0.2 * away
        k, i, j = (int(n) for n in np.unravel_index(int(np.argmax(worth)), worth.shape))
        size = float(_SIZES[k])
        if 0 < k < len(_SIZES) - 1:
            before, here, after = worth[k - 1 : k + 2, i, j]
            bend = before - 2 * here + after
            size *= (_SIZES[k + 1] / _SIZES[k - 1]) ** (0.25 * (before - after) / bend) if bend < 0 else 1.0
        return y0 + i + 0.0, x0 + j + 0.0, self.radius * size, float(near[k, i, j])

    def measure(self, y: float, x: float, radius: float, response: float) -> Spot:
        """What lies within a disc."""
        h, w = self.response.shape
        r = 0.85 * radius
        y0, y1 = max(0, int(y - r)), min(h, int(y + r) + 2)
        x0, x1 = max(0, int(x - r)), min(w, int(x + r) + 2)
        yy, xx = np.ogrid[y0:y1, x0:x1]
        inside = (yy - y) ** 2 + (xx - x) ** 2 <= r * r
        tissue = inside & (self.tissue.mask[y0:y1, x0:x1] > 0.5)
        fill = float(tissue.sum()) / max(1.0, np.pi * r * r)
        grain = 1.0
        if self.tissue.usual_grain and tissue.any():
            grain = float(np.median(self.tissue.grain[y0:y1, x0:x1][tissue])) / self.tissue.usual_grain
        return Spot(y, x, radius, response, min(1.0, fill), grain)

    def leftovers(self, known: list[Spot]) -> Map:
        """Share of each disc of the common radius that is tissue and belongs to no known core; shape of the mask."""
        rest = self.tissue.mask.copy()
        h, w = rest.shape
        for s in known:
            r = s.radius * 1.05 + 1
            y0, y1 = max(0, int(s.y - r)), min(h, int(s.y + r) + 2)
            x0, x1 = max(0, int(s.x - r)), min(w, int(s.x + r) + 2)
            yy, xx = np.ogrid[y0:y1, x0:x1]
            rest[y0:y1, x0:x1][(yy - s.y) ** 2 + (xx - s.x) ** 2 <= r * r] = 0
        return disc_mean(rest, self.radius)

    def look_for(self, place: Points, leftovers: Map, pitch: float) -> Spot | None:
        """The remains of a core around the place where one should be; None when there is nothing."""
        h, w = leftovers.shape
        reach = 0.5 * pitch
        y0, y1 = max(0, int(place[0] - reach)), min(h, int(place[0] + reach) + 2)
        x0, x1 = max(0, int(place[1] - reach)), min(w, int(place[1] + reach) + 2)
        if y0 >= y1 or x0 >= x1:
            return None
        yy, xx = np.ogrid[y0:y1, x0:x1]
        away = ((yy - place[0]) ** 2 + (xx - place[1]) ** 2) / pitch**2
        near = leftovers[y0:y1, x0:x1]
        worth = np.where(away <= 0.25, near * (1 - 2 * away), -1)
        i, j = (int(n) for n in np.unravel_index(int(np.argmax(worth)), worth.shape))
        if near[i, j] < _REMAINS:
            return None
        y, x = y0 + i + 0.0, x0 + j + 0.0
        return self.measure(y, x, self.radius, float(self.response[int(y), int(x)]))


#: Least share of a disc that makes the remains of a core.
_REMAINS = 0.08


def nearest(spots: list[Spot], place: Points) -> npt.NDArray[np.float64]:
    """Distance of each spot from a place."""
    return np.array([np.hypot(s.y - place[0], s.x - place[1]) for s in spots])
