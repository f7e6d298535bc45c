"""What on the overview is tissue: optical density over the slide's own glass."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["Tissue", "border_pieces", "find_tissue", "white_point", "without_frame"]

Map = npt.NDArray[np.float32]

#: Darker than this in every channel: not scanned, or the frame of the holder.
_BLACK = 28
#: Optical density (sum of channels) at which a pixel is half tissue: this many times the noise, within these bounds.
_NOISE_FACTOR, _LEAST, _MOST = 4.0, 0.02, 0.05
#: Near glass (in pixels), what is paler than this share of the densest within two pixels is the blur of an edge.
_RIM, _EDGE = 3, 0.45
#: Denser than this along the border of the picture is the edge of the slide, its holder or its label, not tissue, ...
_FRAME = 0.06
#: ... for so far from the border, and further in where it is wider than any core; both in radii of a core.
_DEPTH, _WIDE = 2.0, 1.3
#: Above this density grain is not asked for; below it, tissue deviates by more than this share of its density.
_SURE, _GRAIN = 0.04, 0.03


def white_point(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Colour of the glass: the middle of the commonest brightness.

    `stain.white_point` asks for the brightest instead, which also holds on a picture of nothing but tissue. An overview
    shows more glass than anything else, but also what is brighter: a paper label makes it find no cores. On the 8 real
    overviews and a real slide both agree within a grey level, and so do the cores.

    Parameters
    ----------
    picture : ndarray of uint8, shape (y, x, 3)

    Returns
    -------
    ndarray of float64, shape (3,)
        One value between 1 and 255 per channel.
    """
    pixels = picture.reshape(-1, 3)
    # every k-th pixel is enough for a histogram, and k is odd so that it does not follow the columns
    pixels = pixels[:: max(1, len(pixels) // 400_000) | 1]
    scanned = pixels[pixels.max(axis=1) > _BLACK]
    painted = (scanned == 255).all(axis=1)
    counts: npt.NDArray[np.floating]
    for chosen in (scanned[~painted], scanned):
        if len(chosen) == 0:
            continue
        light = chosen.mean(axis=1)
        counts = np.bincount(light.astype(int), minlength=256).astype(float)
        counts = np.convolve(counts, np.ones(5), mode="same")
        peak = int(np.argmax(counts[128:])) + 128
        # scanners paint what they skip pure white; the glass is a narrow peak of its own beside it
        if counts[peak] > 0.3 * len(chosen) or painted.mean() < 0.05:
            near = chosen[np.abs(light - peak - 0.5) <= 3]
            return np.maximum(1.0, np.median(near, axis=0)) if len(near) else np.full(3, 255.0)
    return np.full(3, 255.0)


@dataclass(frozen=True)
class Tissue:
    """Tissue on an overview.

    Attributes
    ----------
    mask : ndarray of float32, shape (y, x)
        0 glass to 1 tissue, soft in between.
    sharp : ndarray of float32, shape (y, x)
        The same without the blur around dense tissue, which fills the gaps between cores that touch.
    density : ndarray of float32, shape (y, x)
        Optical density ``-log10(I / white)`` summed over the channels, background taken off, lightly blurred.
    grain : ndarray of float32, shape (y, x)
        Local deviation of the density, as a share of it.
    usual_grain : float
        Middle grain of the dark tissue; 0 where the slide is smooth throughout and grain tells nothing.
    """

    mask: Map
    sharp: Map
    density: Map
    grain: Map
    usual_grain: float

    def without(self, area: npt.NDArray[np.bool_]) -> Tissue:
        """The same with an area called glass."""
        glass = np.float32(0)
        return replace(self, mask=np.where(area, glass, self.mask), sharp=np.where(area, glass, self.sharp))

    def reduced(self, factor: int) -> Tissue:
        """The same, each pixel the mean of a square of `factor` pixels."""

        def mean(picture: Map) -> Map:
            h, w = (n // factor for n in picture.shape)
            blocks = picture[: h * factor, : w * factor].reshape(h, factor, w, factor)
            means: Map = blocks.mean(axis=(1, 3), dtype=np.float32)
            return means

        if factor == 1:
            return self
        return Tissue(mean(self.mask), mean(self.sharp), mean(self.density), mean(self.grain), self.usual_grain)


def find_tissue(picture: npt.NDArray[np.uint8]) -> Tissue:
    """Tell tissue from glass.

    Parameters
    ----------
    picture : ndarray of uint8, shape (y, x, 3)
    """
    white = white_point(picture)
    table = -np.log10(np.maximum(np.arange(256.0), 1.0)[:, None] / white[None])
    density = np.zeros(picture.shape[:2], np.float32)
    for channel in range(3):
        density += table[:, channel].astype(np.float32)[picture[..., channel]]
    black = picture.max(axis=2) <= _BLACK
    if black.any():
        density[border_pieces(black, 0)] = 0
    density = ndimage.gaussian_filter(density, 1.0)
    density -= _background(density)
    below = density[density < 0]
    noise = float(np.sqrt(np.mean(np.square(below)))) if below.size else 0.0
    half = min(_MOST, max(_LEAST, _NOISE_FACTOR * noise))
    mask = np.clip(density / half - 0.5, 0, 1).astype(np.float32)
    fine = density - ndimage.uniform_filter(density, 7)
    grain = np.sqrt(np.maximum(ndimage.uniform_filter(fine * fine, 9), 0)) / np.maximum(density, np.float32(0.01))
    dark = grain[(mask > 0.9) & (density > _SURE)][::7]
    usual = float(np.median(dark)) if dark.size > 50 else 0.0
    if usual < 3 * _GRAIN:
        return Tissue(mask, _sharp(mask, density), density, grain, 0.0)
    # pale and smooth is a stain, a wet spot or an emptied punch; tissue deviates by a tenth of its density and more
    pale = np.clip((2 * _SURE - density) / _SURE, 0, 1)
    mask *= 1 - pale * np.clip(2 - grain / np.float32(_GRAIN), 0, 1)
    return Tissue(mask, _sharp(mask, density), density, grain, usual)


def _sharp(mask: Map, density: Map) -> Map:
    """The mask cut back to where the density falls to about half of that inside."""
    inside = ndimage.minimum_filter(mask, 2 * _RIM + 1) > 0.5
    own = density / np.maximum(_EDGE * ndimage.maximum_filter(density, 5), np.float32(1e-6))
    return np.where(inside, mask, mask * np.clip(2 * own - 1.5, 0, 1))


def border_pieces(area: npt.NDArray[np.bool_], length: float) -> npt.NDArray[np.bool_]:
    """Connected pieces of an area that lie along the border of the picture for more than `length` pixels."""
    labels, count = ndimage.label(area)
    out = np.zeros(area.shape, bool)
    if count == 0:
        return out
    run = np.zeros(count + 1, int)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        run = np.maximum(run, np.bincount(side, minlength=count + 1))
    run[0] = 0
    far = run > length
    if far.any():
        out = ndimage.binary_dilation(far[labels], iterations=2)
    return out


def without_frame(tissue: Tissue, radius: float) -> Tissue:
    """The same with the edge of the slide, its holder and its label called glass.

    What else hangs together with them, as cores may by the stroke of a pen, is left.

    Parameters
    ----------
    tissue : Tissue
    radius : float
        Common radius of the cores in pixels of the map.
    """
    frame = border_pieces(tissue.density > _FRAME, 3 * radius)
    if not frame.any():
        return tissue
    reach = int(np.ceil(_WIDE * radius)) + 1
    padded = np.pad(frame, reach, mode="edge")
    wide = ndimage.distance_transform_edt(padded) > _WIDE * radius
    if wide.any():
        wide = ndimage.distance_transform_edt(~wide) <= _WIDE * radius + 2
    depth = int(_DEPTH * radius)
    inner = np.zeros(frame.shape, bool)
    inner[depth:-depth, depth:-depth] = True
    return tissue.without(frame & (wide[reach:-reach, reach:-reach] | ~inner))


def _background(density: Map) -> Map:
    """Slow change of the glass over the slide: a quadratic surface through the palest pixels."""
    h, w = density.shape
    step = max(1, int(np.sqrt(h * w / 20_000)))
    y, x = np.mgrid[0:h:step, 0:w:step]
    z = density[::step, ::step].ravel().astype(np.float64)

    def terms(v: npt.NDArray[np.float64], u: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
        return [np.ones_like(u + v), u + 0 * v, v + 0 * u, u * u + 0 * v, u * v, v * v + 0 * u]

    a = np.stack([t.ravel() for t in terms(y / h - 0.5, x / w - 0.5)], axis=1)
    fit: npt.NDArray[np.floating] = np.zeros(6)
    for _ in range(5):
        rest = z - a @ fit
        below = rest[rest < 0]
        sigma = max(0.003, float(np.sqrt(np.mean(below**2))) if below.size else 0.0)
        glass = (rest < 2 * sigma) & (rest > -0.15)
        if glass.sum() < 60:
            break
        fit = np.linalg.lstsq(a[glass], z[glass], rcond=None)[0]
    rows, columns = np.arange(h)[:, None] / h - 0.5, np.arange(w)[None] / w - 0.5
    return sum(c * t for c, t in zip(fit, terms(rows, columns), strict=True)).astype(np.float32)  # type: ignore
