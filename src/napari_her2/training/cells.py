"""Painting cells: nuclei, cytoplasm, and the brown line of the membrane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from napari_her2.training.fields import CellMap, FloatImage
from napari_her2.training.staining import CellStain

__all__ = ["Nuclei", "membrane", "paint_nuclei", "stroma_nuclei", "tumour_nuclei"]


@dataclass(frozen=True)
class Nuclei:
    """Nuclei as ellipses; every array has shape (n,), lengths in µm.

    Attributes
    ----------
    y, x, long, short, angle : ndarray of float32
        Centre, semi-axes, and direction of the long one in radians.
    dark : ndarray of float32
        Haematoxylin relative to a typical nucleus; 0 where the section missed it.
    soft : ndarray of float32
        Width of its edge: small in focus, large above or below it.
    vesicular : ndarray of float32
        0: evenly dark; 1: pale inside with a dark rim and clumps.
    nucleolus : ndarray of float32
        Radius of its nucleolus, 0 for none.
    """

    y: FloatImage
    x: FloatImage
    long: FloatImage
    short: FloatImage
    angle: FloatImage
    dark: FloatImage
    soft: FloatImage
    vesicular: FloatImage
    nucleolus: FloatImage


def _nuclei(points: npt.NDArray[np.float64], *columns: npt.NDArray[np.float64]) -> Nuclei:
    return Nuclei(*(np.asarray(c, np.float32) for c in (points[:, 0], points[:, 1], *columns)))


def tumour_nuclei(
    rng: np.random.Generator, points: npt.NDArray[np.float64], axis: npt.NDArray[np.float64], cell_um: float
) -> Nuclei:
    """Nuclei of tumour cells: size and pleomorphism are one tumour's own.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
        Centres in µm.
    axis : ndarray, shape (n,)
        Long axis of columnar cells; NaN for others.
    cell_um : float
        Typical distance of cells.
    """
    n = len(points)
    pleomorphic = rng.uniform(0.08, 0.24)
    radius = cell_um * rng.uniform(0.27, 0.35) * np.exp(rng.normal(0, pleomorphic, n))
    columnar = np.isfinite(axis)
    aspect = np.where(columnar, rng.uniform(1.3, 2.0), 1.12) * np.exp(np.abs(rng.normal(0, 0.14, n)))
    angle = np.where(columnar, axis + rng.normal(0, 0.15, n), rng.uniform(0, np.pi, n))
    dark = np.exp(rng.normal(0, 0.22, n)) * (rng.random(n) > rng.uniform(0.02, 0.2))
    pyknotic = rng.random(n) < 0.015
    radius = np.where(pyknotic, 0.6 * radius, radius)
    dark = np.where(pyknotic, 2.2, dark)
    soft = rng.uniform(0.2, 0.5) * np.exp(np.abs(rng.normal(0, 0.45, n)))
    vesicular = np.clip(rng.uniform(0.1, 0.95) + rng.normal(0, 0.15, n), 0, 1) * ~pyknotic
    nucleolus = np.where(rng.random(n) < rng.uniform(0.1, 0.9), rng.uniform(0.5, 1.15) * np.ones(n), 0)
    return _nuclei(points, radius * np.sqrt(aspect), radius / np.sqrt(aspect), angle, dark, soft, vesicular, nucleolus)


def stroma_nuclei(
    rng: np.random.Generator,
    points: npt.NDArray[np.float64],
    fibre: npt.NDArray[np.float64],
    lymph: npt.NDArray[np.bool_],
) -> Nuclei:
    """Nuclei of the stroma: spindles along the fibres, plump ones, and small dark lymphocytes.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
        Centres in µm.
    fibre : ndarray, shape (n,)
        Direction of the fibres there in radians.
    lymph : ndarray of bool, shape (n,)
        Which of them are lymphocytes.
    """
    n = len(points)
    plump = rng.random(n) < rng.uniform(0.1, 0.5)
    long = np.where(plump, rng.uniform(3, 5, n), rng.uniform(4, 9, n))
    short = np.where(plump, rng.uniform(2, 3, n), rng.uniform(0.8, 1.7, n))
    angle = fibre + rng.normal(0, np.where(plump, 0.7, 0.18), n)
    long = np.where(lymph, rng.normal(3.1, 0.35, n), long)
    short = np.where(lymph, long * rng.uniform(0.78, 1, n), short)
    dark = np.where(lymph, 1.5, 0.95) * np.exp(rng.normal(0, 0.25, n))
    soft = rng.uniform(0.2, 0.4) * np.exp(np.abs(rng.normal(0, 0.4, n)))
    vesicular = np.where(plump & ~lymph, 0.6, 0.15) * rng.random(n)
    return _nuclei(points, long, short, angle, dark, soft, vesicular, np.zeros(n))


def paint_nuclei(
    cells: CellMap,
    nuclei: Nuclei,
    y: FloatImage,
    x: FloatImage,
    fine: FloatImage,
    ragged: FloatImage,
    *,
    moulded: bool = False,
) -> tuple[FloatImage, FloatImage]:
    """Haematoxylin of nuclei at the pixels of a cell map, relative to a typical nucleus.

    Parameters
    ----------
    cells : CellMap
    nuclei : Nuclei
        One for each cell of the map.
    y, x, fine, ragged : ndarray of float32, shape (p,)
        At the pixels: place in µm; noise of chromatin; noise of outlines.
    moulded : bool
        A nucleus stays in its own cell, as in epithelium; else it may lie over others.

    Returns
    -------
    amount, cover : ndarray of float32, shape (p,)
        Haematoxylin, and how much of the pixel is nucleus (0..1).
    """
    amount = np.zeros(len(y), np.float32)
    cover = amount.copy()
    cosine, sine = np.cos(nuclei.angle), np.sin(nuclei.angle)
    for ids in [cells.first] if moulded else cells.candidates[:3]:
        dy, dx = y - nuclei.y[ids], x - nuclei.x[ids]
        rough = (dy * dy + dx * dx) < (nuclei.long[ids] * 1.35 + 1) ** 2
        at = np.flatnonzero(rough & (nuclei.dark[ids] > 0))
        i, dy, dx = ids[at], dy[at], dx[at]
        u = (dx * cosine[i] + dy * sine[i]) / nuclei.long[i]
        v = (dy * cosine[i] - dx * sine[i]) / nuclei.short[i]
        rho = np.sqrt(u * u + v * v) * (1 + 0.09 * ragged[at])
        inside = 1 / (1 + np.exp(np.clip((rho - 1) * nuclei.short[i] / (0.4 * nuclei.soft[i]), -30, 30)))
        if moulded:
            inside *= 1 / (1 + np.exp(np.clip((0.5 - cells.edge[at]) / 0.2, -30, 30)))
        ves = nuclei.vesicular[i]
        rim = np.exp(-(((rho - 0.9) * nuclei.short[i] / 0.55) ** 2))
        body = 1 - 0.5 * ves + 0.6 * ves * rim + (0.07 + 0.12 * ves) * fine[at]
        spot = nuclei.nucleolus[i]
        off_y, off_x = dy - 0.25 * nuclei.short[i] * np.sin(7.0 * i), dx - 0.3 * nuclei.short[i] * np.cos(11.0 * i)
        near = (off_y**2 + off_x**2) / (spot * spot + 1e-3)
        body += np.where(spot > 0, 1.1 * np.exp(-near), 0)
        value = inside * nuclei.dark[i] * np.maximum(body, 0.15)
        amount[at] = np.maximum(amount[at], value)
        cover[at] = np.maximum(cover[at], inside)
    return amount, cover


def membrane(
    cells: CellMap, stain: CellStain, basal: FloatImage, apical: FloatImage, gaps: FloatImage, rng: np.random.Generator
) -> FloatImage:
    """DAB of membranes at the pixels of a cell map.

    The line between two cells is of both; each edge has a strength and a width of its own, since the section cuts some
    upright and others at a slant; the line is broken until it covers the share of the outline that the cells have.

    Parameters
    ----------
    cells : CellMap
    stain : CellStain
    basal, apical, gaps : ndarray of float32, shape (p,)
        At the pixels: distance to the stroma and to the lumen in µm; noise (standard deviation 1) that breaks lines.
    rng : numpy.random.Generator
    """
    table = rng.standard_normal((3, 4096), dtype=np.float32)
    low, high = np.minimum(cells.first, cells.second), np.maximum(cells.first, cells.second)
    edge_id = (low.astype(np.int64) * 7919 + high.astype(np.int64) * 104729) % 4096
    total = np.zeros(len(basal), np.float32)
    own = cells.first
    slant = np.exp(0.38 * table[1])
    for distance, strength, partner, border in (
        (cells.edge, 1.0, cells.second, edge_id),
        (basal, stain.basal, own, own % 4096),
        (apical, stain.apical, own, (own + 977) % 4096),
    ):
        at = np.flatnonzero((distance < 4 * stain.width) & (distance > -2 * stain.width))
        i, j, b = own[at], partner[at], border[at]
        complete = 0.5 * (stain.complete[i] + stain.complete[j])
        cut = ndtri(np.clip(complete, 1e-4, 1 - 1e-4)).astype(np.float32)
        wander = 0.75 * gaps[at] + 0.66 * table[0][b]
        kept = 1 / (1 + np.exp(np.clip(-4.0 * (cut - wander), -30, 30)))
        line = 0.5 * (stain.line[i] + stain.line[j])
        width = stain.width * slant[b] * (1 + 0.3 * np.minimum(line, 1.2))
        profile = np.exp(-0.5 * (distance[at] / width) ** 2)
        uneven = np.exp(0.40 * table[2][b] + 0.28 * gaps[at])
        total[at] = np.maximum(total[at], strength * line * kept * profile * uneven / slant[b] ** 0.5)
    return total
