"""Each core by itself: its own centre and size, and whether it is a core at all."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from napari_her2.dearray._discs import Map, Points, disc_kernel, disc_mean, ring_response, vertex
from napari_her2.dearray._tissue import Tissue

__all__ = ["Spot", "Spots", "is_core"]

Labels = npt.NDArray[np.int64]

#: Sizes of a single core that are tried, in common radii.
_SIZES = np.array([0.8, 0.87, 0.94, 1.0, 1.07, 1.15, 1.24])
#: How far (in radii) a core's centre may lie from the peak that found it.
_REACH = 0.4
#: Least ring response of a core that tells its own size.
_CLEAR = 0.5
#: Tissue of a clear core is at least this share of its own middle density; paler ground around it is not.
_OWN = 0.35
#: Least share of a disc that makes the remains of a core.
_REMAINS = 0.075
#: The remains of a core end within it: their ring response is at least this share of their fill, ...
_ALONE = 0.6
#: ... and their largest piece covers at least this share of the disc, and more pixels than a speck of dust.
_PIECE, _SPECK = 0.035, 40
#: Pieces smaller than this share of the disc, with more than this grain, are dust: small, dark and sharp.
_DUST, _SHARP = 0.09, 2.4
#: What goes on beyond the disc for more than this share of what is inside it is a hair or the stroke of a pen ...
_BEYOND, _LINE = 0.2, 1.0
#: ... unless it is as grainy as tissue, and the disc stands out in it nevertheless.
_GRAINY, _STANDS_OUT = 0.75, 0.7
#: Remains stand at least this far from the next core, in sums of both radii.
_CROWDED = 0.7


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

    def distance(self, place: Points) -> float:
        return float(np.hypot(self.y - place[0], self.x - place[1]))


def is_core(spot: Spot) -> bool:
    """Tissue rather than debris: the less of the disc is filled, the more grain it must show.

    Out-of-focus dust, stains and emptied punches are smooth; what is left of a torn core has edges. The line lies
    between 28 smooth places of real slides (fill 0.1 to 0.55) and their palest cores.
    """
    return spot.fill > 0.75 or spot.grain > 0.7 - 0.6 * (spot.fill - 0.2)


class Spots:
    """Fits discs of about the common radius to a tissue map."""

    def __init__(self, tissue: Tissue, radius: float) -> None:
        self.tissue = tissue
        self.radius = radius
        self.response = ring_response(tissue.sharp, [radius])[0]
        self._half = int(np.ceil(radius * (_SIZES[-1] * 1.3 + _REACH))) + 1
        side = fft.next_fast_len(3 * self._half, real=True)
        self._kernels = np.stack([disc_kernel(radius * s, (side, side)) for s in _SIZES])

    def fit(self, place: Points, response: float) -> Spot:
        """The disc near a place that explains its tissue best.

        Parameters
        ----------
        place : ndarray, shape (2,)
            (y, x) of a peak of the response.
        response : float
            Its height. A core of which much is missing keeps the common radius and its place.
        """
        spot = self.measure(float(place[0]), float(place[1]), self.radius, response)
        return self._own_size(spot) if response >= _CLEAR else spot

    def _own_size(self, spot: Spot) -> Spot:
        """Centre and radius that set the tissue best apart from its surroundings, by the core's own density."""
        cy, cx, half = round(spot.y), round(spot.x), self._half
        density = _cut(self.tissue.density, cy, cx, half)
        mask = _cut(self.tissue.mask, cy, cx, half)
        grid = np.arange(-half, half + 1)
        inside = (grid[:, None] ** 2 + grid[None] ** 2 <= (0.7 * self.radius) ** 2) & (mask > 0.5)
        if not inside.any():
            return spot
        middle = float(np.median(density[inside]))
        mask = mask * np.clip(density / (_OWN * middle) - 0.5, 0, 1)
        side = self._kernels.shape[1]
        spectrum = fft.rfft2(mask, (side, side))
        reach = max(1, round(_REACH * self.radius))
        near = fft.irfft2(spectrum * self._kernels, (side, side))[
            :, half - reach : half + reach + 1, half - reach : half + reach + 1
        ]
        offset = np.arange(-reach, reach + 1)
        away = (offset[:, None] ** 2 + offset[None] ** 2) / self.radius**2
        sizes = _SIZES[:, None, None]
        worth = np.square(np.clip(near, 0, None)) * sizes**2 - 0.15 * away - np.log(sizes) ** 2
        k, i, j = (int(n) for n in np.unravel_index(int(np.argmax(worth)), worth.shape))
        size = float(np.interp(vertex(worth[:, i, j], k), np.arange(len(_SIZES)), _SIZES))
        y, x = cy + vertex(worth[k, :, j], i) - reach, cx + vertex(worth[k, i], j) - reach
        return self.measure(y, x, self.radius * size, float(near[k, i, j]))

    def measure(self, y: float, x: float, radius: float, response: float) -> Spot:
        """What lies within a disc."""
        h, w = self.response.shape
        r = 0.85 * radius
        y0, y1 = max(0, int(y - r)), max(0, min(h, int(y + r) + 2))
        x0, x1 = max(0, int(x - r)), max(0, min(w, int(x + r) + 2))
        yy, xx = np.ogrid[y0:y1, x0:x1]
        inside = (yy - y) ** 2 + (xx - x) ** 2 <= r * r
        tissue = inside & (self.tissue.mask[y0:y1, x0:x1] > 0.5)
        fill = float(tissue.sum()) / max(1.0, np.pi * r * r)
        grain = 1.0
        if self.tissue.usual_grain and tissue.any():
            grain = float(np.median(self.tissue.grain[y0:y1, x0:x1][tissue])) / self.tissue.usual_grain
        return Spot(y, x, radius, response, min(1.0, fill), grain)

    def remains(self, places: Points, pitch: float, known: list[Spot]) -> list[Spot | None]:
        """What is left of cores around the places where they should be.

        Parameters
        ----------
        places : ndarray of float, shape (n, 2)
            (y, x) of crossings of the lattice without a core.
        pitch : float
            Remains further than half of it from their crossing belong to another.
        known : list of Spot
            Cores whose tissue is theirs.

        Returns
        -------
        list of Spot or None, of length n
        """
        rest = self.tissue.mask.copy()
        for s in known:
            _stamp(rest, s.place, s.radius * 1.05 + 1)
        share = disc_mean(rest, self.radius)
        response = ring_response(rest, [self.radius])[0]
        for s in known:
            _stamp(share, s.place, _CROWDED * (s.radius + self.radius))
        labels = ndimage.label(rest > 0.5, np.ones((3, 3)))[0]
        sizes = np.bincount(labels.ravel())
        found: list[Spot | None] = [None] * len(places)
        queue = [(-self._search(share, place, pitch)[0], n) for n, place in enumerate(places)]
        heapq.heapify(queue)
        while queue:
            _, n = heapq.heappop(queue)
            worth, y, x = self._search(share, places[n], pitch)
            if worth <= 0:
                continue
            if queue and worth < -queue[0][0]:
                heapq.heappush(queue, (-worth, n))  # it has lost tissue to a neighbour meanwhile
                continue
            spot = self.measure(y, x, self.radius, float(response[int(y), int(x)]))
            spot = replace(spot, fill=min(spot.fill, float(share[int(y), int(x)])))
            if is_core(spot) and _is_remains(spot, *_pieces(labels, sizes, spot)):
                found[n] = spot
                _stamp(share, spot.place, 2 * _CROWDED * self.radius)
        return found

    def _search(self, share: Map, place: Points, pitch: float) -> tuple[float, float, float]:
        h, w = share.shape
        reach = 0.5 * pitch
        y0, y1 = max(0, int(place[0] - reach)), min(h, int(place[0] + reach) + 2)
        x0, x1 = max(0, int(place[1] - reach)), min(w, int(place[1] + reach) + 2)
        if y0 >= y1 or x0 >= x1:
            return 0.0, 0.0, 0.0
        yy, xx = np.ogrid[y0:y1, x0:x1]
        away = ((yy - place[0]) ** 2 + (xx - place[1]) ** 2) / pitch**2
        near = share[y0:y1, x0:x1]
        worth = np.where((away <= 0.25) & (near >= _REMAINS), near * (1 - 2 * away), 0)
        i, j = (int(n) for n in np.unravel_index(int(np.argmax(worth)), worth.shape))
        return float(worth[i, j]), y0 + i + 0.0, x0 + j + 0.0


def _pieces(labels: Labels, sizes: Labels, spot: Spot) -> tuple[float, float]:
    """Pixels of the largest piece of tissue on a disc, and how much of all that touches it lies beyond.

    Parameters
    ----------
    labels : ndarray of int, shape (y, x)
        Number of the connected piece of each pixel; 0 is glass.
    sizes : ndarray of int
        Pixels of each piece on the whole picture.
    spot : Spot

    Returns
    -------
    largest : float
        Within the disc.
    beyond : float
        As a share of the tissue within the disc.
    """
    h, w = labels.shape
    r = spot.radius
    y0, y1 = max(0, int(spot.y - r)), min(h, int(spot.y + r) + 2)
    x0, x1 = max(0, int(spot.x - r)), min(w, int(spot.x + r) + 2)
    yy, xx = np.ogrid[y0:y1, x0:x1]
    inside = labels[y0:y1, x0:x1][(yy - spot.y) ** 2 + (xx - spot.x) ** 2 <= r * r]
    numbers, counts = np.unique(inside[inside > 0], return_counts=True)
    if len(numbers) == 0:
        return 0.0, 0.0
    return float(counts.max()), float(sizes[numbers].sum() / counts.sum()) - 1


def _is_remains(spot: Spot, largest: float, beyond: float) -> bool:
    """Whether tissue where a core should be is that of a core: not dust, not a hair, not the stroke of a pen."""
    area = np.pi * spot.radius**2
    if largest < _DUST * area and spot.grain > _SHARP:
        return False
    if spot.fill > 0.45 and spot.response > -0.1:
        return beyond < _BEYOND or spot.grain > _GRAINY or spot.fill > 0.75
    if spot.response < _ALONE * spot.fill or largest < max(_PIECE * area, _SPECK):
        return False
    stands_out = spot.response > _STANDS_OUT * spot.fill and spot.grain > _GRAINY
    return beyond < _BEYOND or (beyond < _LINE and stands_out)


def _cut(picture: Map, y: int, x: int, half: int) -> Map:
    """Square of side 2 half + 1 around a pixel; zero outside the picture."""
    h, w = picture.shape
    out = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    y0, y1, x0, x1 = max(0, y - half), min(h, y + half + 1), max(0, x - half), min(w, x + half + 1)
    out[y0 - y + half : y1 - y + half, x0 - x + half : x1 - x + half] = picture[y0:y1, x0:x1]
    return out


def _stamp(picture: Map, place: Points, r: float) -> None:
    """Put zero on a disc."""
    h, w = picture.shape
    y, x = float(place[0]), float(place[1])
    y0, y1 = max(0, int(y - r)), min(h, int(y + r) + 2)
    x0, x1 = max(0, int(x - r)), min(w, int(x + r) + 2)
    yy, xx = np.ogrid[y0:y1, x0:x1]
    picture[y0:y1, x0:x1][(yy - y) ** 2 + (xx - x) ** 2 <= r * r] = 0
