"""Opening image files as lazy pyramids: what is a slide in them, and what its pixel size is."""

from __future__ import annotations

import re
import warnings
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from napari_her2.errors import SlideError

__all__ = [
    "MAX_MPP",
    "MIN_MPP",
    "PICTURE_SUFFIXES",
    "SLIDE_SUFFIXES",
    "OpenedFile",
    "check_rgb",
    "image_stem",
    "open_levels",
]

#: Longest first, so that `.ome.tif` counts as one extension.
SLIDE_SUFFIXES = (".ome.tiff", ".ome.tif", ".qptiff", ".tiff", ".tif", ".svs", ".ndpi", ".scn", ".bif")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")

#: Pixel sizes (µm) outside this range are not of a brightfield slide: 72 dpi says 353 µm, for instance.
MIN_MPP, MAX_MPP = 0.05, 20.0

MAX_PAGES = 10_000
MAX_TILE_BYTES = 256 * 2**20
MAX_SIDE = 2_000_000
MAX_PICTURE_PIXELS = 400_000_000
#: A decoded page may be at most this many times larger than its bytes in the file (blank JPEG tiles reach ~1,000).
MAX_EXPANSION = 20_000


@dataclass(frozen=True)
class OpenedFile:
    """What a file holds: its name, levels from fine to coarse, and its pixel size in µm if it says one."""

    name: str
    levels: tuple[Any, ...]
    mpp: float | None
    mpp_source: str


def image_stem(path: str | Path) -> str:
    """File name without its image extension; `.ome.tif` is one extension.

    Examples
    --------
    >>> image_stem("slides/a.b.ome.tif"), image_stem("x.SVS"), image_stem("c.d")
    ('a.b', 'x', 'c.d')
    """
    name = Path(path).name
    for suffix in (*SLIDE_SUFFIXES, *PICTURE_SUFFIXES):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)] or name
    return name


def check_rgb(shape: tuple[int, ...], dtype: Any, name: str) -> None:
    """Say in one sentence what is wrong with an image that is not 8-bit RGB."""
    if len(shape) != 3 or shape[2] not in (3, 4):
        raise SlideError(
            f"{name} is not a brightfield RGB image (its shape is {tuple(int(n) for n in shape)}): "
            "HER2 scoring needs an RGB scan of a DAB-stained slide, not a grey or fluorescence image."
        )
    if np.dtype(dtype) != np.uint8:
        raise SlideError(f"{name} has {np.dtype(dtype)} pixels: convert it to 8-bit RGB first.")
    if shape[0] < 16 or shape[1] < 16:
        raise SlideError(f"{name} is only {shape[1]} x {shape[0]} pixels: open the slide itself.")


def open_levels(path: Path) -> OpenedFile:
    """Open a slide or picture; see `Slide.open`."""
    if not path.exists():
        raise SlideError(f"There is no file {path}: check the path.")
    if path.is_dir():
        raise SlideError(f"{path} is a folder: name one image file.")
    if path.stat().st_size == 0:
        raise SlideError(f"{path.name} is empty (0 bytes): copy the file again.")
    if path.name.lower().endswith(PICTURE_SUFFIXES):
        return _open_picture(path)
    return _open_tiff(path)


def _open_picture(path: Path) -> OpenedFile:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Pillow warns from 89 million pixels; our own bound below is the one that counts
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.width * image.height > MAX_PICTURE_PIXELS:
                    raise SlideError(
                        f"{path.name} has {image.width} x {image.height} pixels in one piece: "
                        "convert it to a tiled pyramidal OME-TIFF first."
                    )
                if image.mode in ("L", "1", "I", "F", "LA", "I;16"):
                    raise SlideError(
                        f"{path.name} is a grey image: HER2 scoring needs an RGB scan of a DAB-stained slide."
                    )
                pixels = np.asarray(image.convert("RGB"))
    except SlideError:
        raise
    except Image.DecompressionBombError as error:
        raise SlideError(f"{path.name} is too large a picture: convert it to a pyramidal OME-TIFF.") from error
    except UnidentifiedImageError as error:
        raise SlideError(f"{path.name} is not an image that can be read: open a slide or an RGB picture.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise SlideError(f"{path.name} is damaged or incomplete ({error}): copy the file again.") from error
    check_rgb(pixels.shape, pixels.dtype, path.name)
    return OpenedFile(image_stem(path), (pixels,), None, "")


def _open_tiff(path: Path) -> OpenedFile:
    import tifffile

    try:
        tiff = tifffile.TiffFile(path)
    except tifffile.TiffFileError as error:
        raise SlideError(f"{path.name} is not an image that can be read: open a slide or an RGB picture.") from error
    except Exception as error:  # a hostile header can raise nearly anything
        raise SlideError(f"{path.name} is damaged ({type(error).__name__}): copy the file again.") from error
    try:
        series = _slide_series(tiff, path)
        levels = _rgb_levels(series, path)
        handle = _Handle()
        weakref.finalize(handle, tiff.close)
        arrays = tuple(_LazyLevel(series, i, handle) for i in range(len(levels)))
        mpp, source = _pixel_size(tiff, levels[0])
    except SlideError:
        tiff.close()
        raise
    except Exception as error:
        tiff.close()
        raise SlideError(
            f"{path.name} is damaged or of an unknown layout ({type(error).__name__}: {error}): "
            "copy it again, or convert it to a pyramidal OME-TIFF."
        ) from error
    return OpenedFile(image_stem(path), arrays, mpp, source)


class _Handle:
    """Stands for an open file: when the last level that holds it goes, the file is closed."""


class _LazyLevel:
    """One level of a TIFF pyramid: decoded where it is sliced, with y and x as its first two axes."""

    def __init__(self, series: Any, index: int, handle: _Handle) -> None:
        import zarr

        self._handle = handle
        self._planar = series.levels[index].axes.startswith("S")
        array: Any = zarr.open(series.aszarr(level=index), mode="r")
        self._array = array
        shape = array.shape
        self.shape = (*shape[1:], shape[0]) if self._planar else shape
        self.dtype = np.dtype(array.dtype)
        self.ndim = 3
        chunks = array.chunks
        self.chunks = chunks[1:3] if self._planar else chunks[0:2]

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        key = key if isinstance(key, tuple) else (key,)
        if not self._planar:
            return np.asarray(self._array[key])
        block = np.asarray(self._array[(slice(None), *key[:2])])
        return np.moveaxis(block, 0, -1)[(slice(None), slice(None), *key[2:])]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[:, :], dtype=dtype)


def _slide_series(tiff: Any, path: Path) -> Any:
    """The series that is the slide: the largest RGB one; label, macro and thumbnail are smaller or named."""
    if len(tiff.pages) > MAX_PAGES:
        raise SlideError(f"{path.name} has over {MAX_PAGES:,} pages: it is damaged, or not a slide.")
    named_out = ("label", "macro", "thumbnail", "overview")
    series = [s for s in tiff.series if not any(word in s.name.lower() for word in named_out)] or list(tiff.series)
    colour = [s for s in series if s.axes.replace("Q", "").replace("I", "") in ("YXS", "SYX")]
    if not colour:
        shape = series[0].shape if series else ()
        raise SlideError(
            f"{path.name} is not a brightfield RGB image (its shape is {tuple(shape)}): "
            "HER2 scoring needs an RGB scan of a DAB-stained slide, not a grey or fluorescence image."
        )
    return max(colour, key=lambda s: s.size)


def _rgb_levels(series: Any, path: Path) -> list[Any]:
    levels = list(series.levels)
    for level in levels:
        shape = level.shape if level.axes.endswith("S") else (*level.shape[1:], level.shape[0])
        check_rgb(shape[-3:], level.dtype, path.name)
        if max(shape) > MAX_SIDE:
            raise SlideError(f"{path.name} claims {max(shape):,} pixels on a side: its header is damaged.")
        _check_pages(level.keyframe, path)
    return levels


def _check_pages(page: Any, path: Path) -> None:
    """Refuse what cannot be decoded safely before anything is allocated."""
    size = path.stat().st_size
    ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False) if n]
    if ends and max(ends) > size:
        raise SlideError(
            f"{path.name} is truncated: it is {size:,} bytes long and its pixels end at {max(ends):,}; "
            "copy the file again."
        )
    tile_bytes = int(np.prod(page.chunks)) * page.dtype.itemsize
    if tile_bytes > MAX_TILE_BYTES:
        raise SlideError(
            f"{path.name} is stored in pieces of {tile_bytes / 2**20:,.0f} MiB: "
            "convert it to a tiled pyramidal OME-TIFF first."
        )
    encoded = sum(int(n) for n in page.databytecounts)
    if page.size * page.dtype.itemsize > max(1, encoded) * MAX_EXPANSION and encoded:
        raise SlideError(f"{path.name} claims far more pixels than its bytes can hold: its header is damaged.")


def _pixel_size(tiff: Any, level: Any) -> tuple[float | None, str]:
    """Pixel size of level 0 in µm and where it stands in the file; (None, "") when the file does not know."""
    page = level.keyframe
    for source, value in (
        ("OME-XML", _ome_mpp(tiff.ome_metadata) if tiff.is_ome else None),
        ("Aperio MPP", _match(r"MPP\s*=\s*([\d.eE+-]+)", tiff.pages[0].description if tiff.is_svs else "")),
        ("Ventana ScanRes", _match(r"ScanRes=\"([\d.eE+-]+)\"", _xmp(page))),
        ("TIFF resolution", _resolution_mpp(page)),
    ):
        if value is not None and MIN_MPP <= value <= MAX_MPP:
            return value, source
    return None, ""


def _match(pattern: str, text: str) -> float | None:
    found = re.search(pattern, text or "")
    try:
        return float(found.group(1)) if found else None
    except ValueError:
        return None


def _xmp(page: Any) -> str:
    tag = page.tags.get("XMP") if page is not None else None
    if tag is None:
        return ""
    value = tag.value
    return value.decode("utf8", "replace") if isinstance(value, bytes) else str(value)


_UM = {"µm": 1.0, "um": 1.0, "μm": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6}


def _ome_mpp(xml: str | None) -> float | None:
    """Geometric mean of PhysicalSizeX and Y of the first image, in µm (OME 2016-06: µm when no unit is given)."""
    try:
        root = ElementTree.fromstring(xml or "")
    except ElementTree.ParseError:
        return None
    for element in root.iter():
        if element.tag.endswith("}Pixels") or element.tag == "Pixels":
            sizes = []
            for axis in "XY":
                value = element.get(f"PhysicalSize{axis}")
                unit = element.get(f"PhysicalSize{axis}Unit", "µm")
                if value is not None and unit in _UM:
                    sizes.append(float(value) * _UM[unit])
            return float(np.prod(sizes) ** (1 / len(sizes))) if sizes and min(sizes) > 0 else None
    return None


def _resolution_mpp(page: Any) -> float | None:
    """µm per pixel of the TIFF resolution tags, when they have a unit (TIFF 6.0: 2 is inch, 3 is centimetre)."""
    resolution, unit = page.tags.get("XResolution"), page.tags.get("ResolutionUnit")
    if resolution is None or unit is None or int(unit.value) not in (2, 3):
        return None
    value = resolution.value
    per_unit = value[0] / value[1] if isinstance(value, tuple) and value[1] else float(np.ravel(value)[0])
    return (25_400.0 if int(unit.value) == 2 else 10_000.0) / per_unit if per_unit > 0 else None
