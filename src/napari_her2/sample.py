"""The sample slide: a generated tissue microarray with its truth, embedded, or written anew with another seed."""

from __future__ import annotations

import csv
import math
import uuid
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_her2.cores import CoreState
from napari_her2.errors import OutputError, SlideError
from napari_her2.files import writing
from napari_her2.naming import core_name
from napari_her2.slide_files import image_stem
from napari_her2.training.artefacts import add_dust
from napari_her2.training.fields import smooth_noise
from napari_her2.training.render import Scanner, render
from napari_her2.training.staining import Laboratory
from napari_her2.training.stroma import Canvas
from napari_her2.training.tissue import Tissue, make_core

__all__ = ["sample_slide", "write_sample_slide"]

#: Columns of the truth table; x, y and diameter are in level-0 pixels, score is 0 to 3.
TRUTH_COLUMNS = ("core", "row", "column", "score", "x", "y", "diameter", "state")
MAX_SIDE = 60_000

RGB = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Plan:
    """One position of the array: what shall lie there."""

    row: int
    column: int
    y: float
    x: float
    score: int
    damaged: bool = False
    missing: bool = False
    percent: tuple[float, float, float, float] | None = None


def sample_slide() -> Path:
    """The embedded sample: a generated slide of 20 core positions, with ``.truth.csv`` beside it.

    Raises
    ------
    SlideError
        If this installation has come without it.
    """
    path = Path(str(files("napari_her2"))) / "data" / "sample_her2_tma.ome.tif"
    if not path.is_file():
        raise SlideError(f"The sample slide is missing from this installation ({path}): install napari-her2 again.")
    return path


def write_sample_slide(
    path: str | Path,
    *,
    seed: int = 0,
    rows: int = 4,
    columns: int = 5,
    core_um: float = 600.0,
    pitch_um: float = 800.0,
    mpp: float = 0.5,
    quality: int = 68,
    overwrite: bool = False,
) -> Path:
    """Write a generated TMA slide as a tiled pyramidal JPEG OME-TIFF, and its truth as a table beside it.

    All four scores in turn; one core is missing, one torn, one heterogeneous (each only if there are four positions or
    more). The same arguments give the same pixels.

    Parameters
    ----------
    path : str or Path
        Ends in ``.ome.tif`` or ``.ome.tiff``; the table is called the same with ``.truth.csv`` instead.
    seed : int
    rows, columns : int
        Positions of the array.
    core_um, pitch_um : float
        Diameter and distance of the cores in µm.
    mpp : float
        Pixel size in µm, 0.2 to 1.
    quality : int
        Of JPEG, 1 to 100.
    overwrite : bool
        Replace files that are there.

    Returns
    -------
    Path
        The slide.

    Raises
    ------
    OutputError
        If a file is there already, the name or the size asked for cannot be, or nothing can be written there.
    """
    path = Path(path)
    truth = _checked(path, overwrite)
    shape = _shape(rows, columns, core_um, pitch_um, mpp)
    rng = np.random.default_rng((seed, rows, columns))
    plan = _plan(rng, rows, columns, shape, pitch_um / mpp)
    pixels, records = _draw(rng, plan, shape, seed, core_um, mpp)
    with writing(path, overwrite=overwrite) as part, writing(truth, overwrite=overwrite) as truth_part:
        _write_pyramid(part, image_stem(path), pixels, mpp, quality, seed)
        with truth_part.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, TRUTH_COLUMNS)
            writer.writeheader()
            writer.writerows(records)
    return path


def _checked(path: Path, overwrite: bool) -> Path:
    """The name of the truth table, once both files may be written."""
    if not path.name.lower().endswith((".ome.tif", ".ome.tiff")):
        raise OutputError(f"The sample slide is an OME-TIFF: give {path.name} a name that ends in .ome.tif.")
    truth = path.with_name(image_stem(path) + ".truth.csv")
    for file in (path, truth):
        if file.exists() and not overwrite:
            raise OutputError(f"{file} exists: choose another name, or ask to overwrite it.")
    return truth


def _shape(rows: int, columns: int, core_um: float, pitch_um: float, mpp: float) -> tuple[int, int]:
    """Height and width of a slide in pixels, once it can be drawn."""
    height, width = (math.ceil((n * pitch_um + 0.4 * pitch_um) / mpp) for n in (rows, columns))
    if rows < 1 or columns < 1 or not 0.2 <= mpp <= 1 or core_um > 0.9 * pitch_um or max(height, width) > MAX_SIDE:
        raise OutputError(
            f"A sample slide of {rows} x {columns} cores of {core_um:g} µm every {pitch_um:g} µm at {mpp:g} µm "
            "per pixel cannot be drawn: use 0.2 to 1 µm per pixel, cores at most 0.9 of their distance, and at most "
            f"{MAX_SIDE} pixels a side."
        )
    return height, width


def _plan(rng: np.random.Generator, rows: int, columns: int, shape: tuple[int, int], pitch: float) -> list[_Plan]:
    """A slightly turned, slightly uneven array in reading order."""
    turn = math.radians(float(rng.choice([-1, 1])) * rng.uniform(1.2, 1.8))
    scores = rng.permutation(np.arange(rows * columns) % 4)
    plan = []
    for index in range(rows * columns):
        row, column = divmod(index, columns)
        dy, dx = (row - (rows - 1) / 2) * pitch, (column - (columns - 1) / 2) * pitch
        off = rng.normal(0, 0.018 * pitch, 2)
        y = shape[0] / 2 + dy * math.cos(turn) + dx * math.sin(turn) + off[0]
        x = shape[1] / 2 + dx * math.cos(turn) - dy * math.sin(turn) + off[1]
        plan.append(_Plan(row, column, float(y), float(x), int(scores[index])))
    if len(plan) >= 4:
        missing, damaged, mixed = (int(i) for i in rng.choice(len(plan), 3, replace=False))
        plan[missing] = replace(plan[missing], missing=True)
        plan[damaged] = replace(plan[damaged], damaged=True)
        plan[mixed] = replace(plan[mixed], score=3, percent=(44.0, 14.0, 10.0, 32.0))
    return plan


def _draw(
    rng: np.random.Generator, plan: list[_Plan], shape: tuple[int, int], seed: int, core_um: float, mpp: float
) -> tuple[RGB, list[dict[str, object]]]:
    """The slide's pixels and the rows of its truth table."""
    lab = Laboratory(blue=0.21, brown=1.0, dirt=0.12)
    scanner = replace(Scanner.reference(), blur_um=0.32, sharpen=0.6, noise=0.0, jpeg_quality=None)
    pixels = _glass(rng, shape, scanner)
    records: list[dict[str, object]] = []
    for place in plan:
        diameter = core_um * float(rng.uniform(0.94, 1.03))
        record: dict[str, object] = {
            "core": core_name(place.row, place.column),
            "row": place.row,
            "column": place.column,
            "score": "",
            "x": round(place.x),
            "y": round(place.y),
            "diameter": round(diameter / mpp),
            "state": str(CoreState.MISSING),
        }
        if not place.missing:
            own = np.random.default_rng((seed, place.row, place.column))
            tissue = make_core(
                own,
                diameter_um=diameter,
                mpp=mpp,
                score=place.score,
                damaged=place.damaged,
                percent=place.percent,
                lab=lab,
            )
            if tissue.score is not None:
                record |= {"score": tissue.score, "state": str(CoreState.TISSUE)}
            _lay(pixels, render(tissue, scanner, own), place.y, place.x, scanner)
        records.append(record)
    for _ in range(round(shape[0] * shape[1] * mpp**2 / 4e5)):
        speck = _speck(rng, round(70 / mpp), mpp)
        _lay(pixels, render(speck, scanner, rng), rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), scanner)
    for y in range(0, shape[0], 512):  # camera noise, strip by strip for the sake of memory
        strip = pixels[y : y + 512]
        noisy = strip + np.float32(0.5) * rng.standard_normal(strip.shape, dtype=np.float32) + np.float32(0.5)
        pixels[y : y + 512] = np.clip(noisy, 0, 255).astype(np.uint8)
    return pixels, records


def _glass(rng: np.random.Generator, shape: tuple[int, int], scanner: Scanner) -> RGB:
    """Empty glass under a light that is not quite even."""
    pixels = np.empty((*shape, 3), np.uint8)
    coarse = (math.ceil(shape[0] / 64) + 1, math.ceil(shape[1] / 64) + 1)
    light = 1.0 * smooth_noise(rng, coarse, max(coarse) / 2.0)
    for y in range(0, shape[0], 64):
        rows = np.linspace(light[y // 64], light[y // 64 + 1], 64, endpoint=False)[: shape[0] - y]
        columns = np.arange(shape[1]) / 64
        strip = np.stack([np.interp(columns, np.arange(coarse[1]), row) for row in rows])
        # half a grey value of noise hides the steps between whole ones
        strip += rng.uniform(-0.5, 0.5, strip.shape)
        pixels[y : y + 64] = np.clip(np.array(scanner.white) + strip[..., None] + 0.5, 0, 255)
    return pixels


def _lay(pixels: RGB, picture: RGB, y: float, x: float, scanner: Scanner) -> None:
    """Lay a picture with its centre at (y, x): it takes its share of the light that is there."""
    top, left = round(y - picture.shape[0] / 2), round(x - picture.shape[1] / 2)
    ya, xa = max(0, top), max(0, left)
    yb, xb = min(pixels.shape[0], top + picture.shape[0]), min(pixels.shape[1], left + picture.shape[1])
    if ya >= yb or xa >= xb:
        return
    through = picture[ya - top : yb - top, xa - left : xb - left] / np.array(scanner.white, np.float32)
    under = pixels[ya:yb, xa:xb]
    pixels[ya:yb, xa:xb] = np.clip(under * through + np.float32(0.5), 0, 255).astype(np.uint8)


def _speck(rng: np.random.Generator, side: int, mpp: float) -> Tissue:
    """One speck of dust on glass."""
    shape = (side, side)
    blank = np.zeros(shape, np.float32)
    ragged = smooth_noise(rng, shape, 2.2 / mpp)
    canvas = Canvas(mpp, 4, blank, blank, blank, ragged, np.zeros(shape, np.float32), np.zeros(shape, np.float32))
    add_dust(rng, canvas, 1)
    return Tissue(canvas.hematoxylin, canvas.dab, np.zeros(shape, np.uint8), mpp)


def _write_pyramid(path: Path, name: str, pixels: RGB, mpp: float, quality: int, seed: int) -> None:
    """Tiled JPEG OME-TIFF with the smaller levels as SubIFDs, down to about a thousand pixels."""
    import tifffile

    levels = [pixels]
    while max(levels[-1].shape[:2]) > 1200:
        big = levels[-1]
        even = big[: big.shape[0] // 2 * 2, : big.shape[1] // 2 * 2]
        quarters = np.stack([even[i::2, j::2] for i in (0, 1) for j in (0, 1)])
        levels.append(((quarters.sum(axis=0, dtype=np.uint16) + 2) // 4).astype(np.uint8))
    options: dict[str, Any] = {
        "tile": (256, 256),
        "photometric": "rgb",
        "compression": "jpeg",
        "compressionargs": {"level": quality},
        "subsampling": (2, 2),
    }
    metadata = {
        "axes": "YXS",
        "Name": name,
        # tifffile would draw one from the clock: the same slide shall be the same file
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_URL, f"napari-her2/sample/{seed}/{pixels.shape}")),
        "PhysicalSizeX": mpp,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": mpp,
        "PhysicalSizeYUnit": "µm",
    }
    resolution = (1e4 / mpp, 1e4 / mpp)
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(
            levels[0],
            subifds=len(levels) - 1,
            metadata=metadata,
            resolution=resolution,
            resolutionunit="CENTIMETER",
            **options,
        )
        for step, level in enumerate(levels[1:], 1):
            at = (resolution[0] / 2**step, resolution[1] / 2**step)
            writer.write(level, subfiletype=1, resolution=at, resolutionunit="CENTIMETER", **options)
