"""outlines_by: a finder led over a core tile by tile, so that a core of any size needs the memory of one tile."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from napari_her2.errors import ModelError
from napari_her2.finders.outlines import outlines_of_labels
from napari_her2.finders.packages import said
from napari_her2.membrane.finder import NucleusFinder, Sight
from napari_her2.membrane.measurement import MPP
from napari_her2.membrane.polar import ANGLES, FloatArray
from napari_her2.slide import RGB

__all__ = ["outlines_by"]

#: Pixels of a tile's own part at most, and of the margin seen beside it, wider than a nucleus: in all the 512 that
#: InstanSeg takes at a time by itself.
_OWN, _MARGIN = 416, 48
#: Nuclei of two tiles whose centres lie this near (µm) are the same one.
_SAME = 2.0

_Part = tuple[slice, slice]


def outlines_by(
    finder: NucleusFinder, pixels: RGB, h: FloatArray, tissue: npt.NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Centres and outlines of all nuclei that a finder finds.

    Parameters
    ----------
    finder : NucleusFinder
    pixels : ndarray of uint8, shape (rows, columns, 3)
        At `MPP`.
    h : ndarray of float32, shape (rows, columns)
        Its haematoxylin (OD).
    tissue : ndarray of bool
        Over the same picture in coarser pixels: tiles without any are passed over.

    Returns
    -------
    y, x : ndarray of float32, shape (n,)
        In µm.
    radius : ndarray of float32, shape (ANGLES, n)
        In µm.

    Raises
    ------
    ModelError
        If the finder fails.
    """
    picture = pixels if finder.sight.colours else h[..., None]
    low, high = _ends(picture[::4, ::4], finder.sight)
    found: list[FloatArray] = [np.empty((2 + ANGLES, 0), np.float32)]
    for own, seen in _tiles(h.shape):
        if _over(tissue, own, h.shape).any():
            tile = (picture[seen].astype(np.float32) - low) / np.maximum(high - low, 1e-6)
            y, x, radius = outlines_of_labels(_labels(finder, tile), MPP)
            y += seen[0].start * MPP
            x += seen[1].start * MPP
            mine = _within(y, own[0]) & _within(x, own[1])
            found.append(np.concatenate([y[None], x[None], radius])[:, mine])
    table = np.concatenate(found, axis=1)
    table = table[:, _once(table)]
    return table[0], table[1], np.ascontiguousarray(table[2:])


def _ends(picture: RGB | FloatArray, sight: Sight) -> tuple[FloatArray, FloatArray]:
    """What becomes 0 and 1, per channel: of the whole core, so that all of its tiles are shown alike."""
    axis = None if sight.jointly else (0, 1)
    low, high = np.percentile(picture, (sight.lowest, sight.highest), axis=axis)
    return np.float32(low), np.float32(high)  # type: ignore[return-value]


def _tiles(shape: tuple[int, ...]) -> Iterator[tuple[_Part, _Part]]:
    """The own part of each tile, all of one size, and what is seen of it."""
    edges = [np.linspace(0, n, -(-n // _OWN) + 1).astype(int).tolist() for n in shape]
    for top, bottom in zip(edges[0], edges[0][1:], strict=False):
        for left, right in zip(edges[1], edges[1][1:], strict=False):
            seen = (slice(max(0, a - _MARGIN), b + _MARGIN) for a, b in ((top, bottom), (left, right)))
            yield (slice(top, bottom), slice(left, right)), (next(seen), next(seen))


def _over(mask: npt.NDArray[np.bool_], part: _Part, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """A coarser mask over a part of the picture."""
    rows, columns = (
        slice(s.start * m // n, -(-s.stop * m // n)) for s, m, n in zip(part, mask.shape, shape, strict=True)
    )
    return mask[rows, columns]


def _within(place: FloatArray, part: slice) -> npt.NDArray[np.bool_]:
    """Which lie in a tile's own part, or so near that the neighbour may have seen them just beyond the border."""
    return np.asarray((place >= part.start * MPP - _SAME / 2) & (place < part.stop * MPP + _SAME / 2))


def _once(table: FloatArray) -> npt.NDArray[np.bool_]:
    """Which of the outlines stay, so that a nucleus on a border, seen by two tiles, is there once."""
    keep = np.ones(table.shape[1], bool)
    if len(keep):
        keep[cKDTree(table[:2].T).query_pairs(_SAME, output_type="ndarray").max(axis=1)] = False
    return keep


def _labels(finder: NucleusFinder, tile: FloatArray) -> npt.NDArray[np.integer]:
    name = finder.source.finder
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what libraries have to say of each other
            labels = finder.labels(tile)
    except Exception as error:  # of whatever kind: it comes from the code of others
        raise ModelError(f"{name} failed on a tile ({said(error)}): try other weights, or --device cpu.") from error
    if labels.shape != tile.shape[:2] or not np.issubdtype(labels.dtype, np.integer):
        raise ModelError(f"{name} gave no label image of {tile.shape[0]} x {tile.shape[1]} pixels: try other weights.")
    return labels
