"""Cores as stacks of patches on disk, each made once: generated cores, or the labelled ones of a manifest."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_her2.cores import Core
from napari_her2.errors import OutputError
from napari_her2.evaluate import open_slide
from napari_her2.files import writing
from napari_her2.manifest import Manifest
from napari_her2.pyramid import PyramidSpec, sample
from napari_her2.slide import Slide
from napari_her2.stain import white_point
from napari_her2.training.evaluate import generated_slides, whole_picture
from napari_her2.training.lab_features import CoreFeatures, image_identity

__all__ = ["StackBank", "generated_bank", "labelled_bank", "stack_bytes"]

#: Part of the name of a file: another number when what is kept changes.
_FORMAT = 1


@dataclass(frozen=True)
class StackBank:
    """Cores of known score as stacks on disk.

    Attributes
    ----------
    files : tuple of Path
        One for each core.
    scores : ndarray of int, shape (n,)
        0 to 3.
    """

    files: tuple[Path, ...]
    scores: npt.NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.files)

    def stack(self, number: int) -> npt.NDArray[np.uint8]:
        """The patches of one core, uint8 (patches, y, x, 3), from fine to coarse."""
        found: npt.NDArray[np.uint8] = np.load(self.files[number], allow_pickle=False)
        return found

    def of(self, numbers: Sequence[int]) -> StackBank:
        """Some of the cores, in the order given."""
        return StackBank(tuple(self.files[k] for k in numbers), self.scores[list(numbers)])


def stack_bytes(spec: PyramidSpec) -> int:
    """What the stack of one core takes on disk, in bytes."""
    return sum(level.count for level in spec.levels) * spec.patch**2 * 3


def generated_bank(folder: Path, spec: PyramidSpec, count: int, seed: int, *, blind: bool = False) -> StackBank:
    """Generated cores numbered 0 to `count` - 1, the four scores in turn; those that are there are not made again.

    Parameters
    ----------
    folder : Path
    spec : PyramidSpec
    count, seed : int
    blind : bool
        Of laboratories and scanners that no training core has.
    """
    files, scores = list[Path](), list[int]()
    for name, score, make in generated_slides(count, seed, blind=blind):
        path = folder / f"{name}.npy"
        if not _is_whole(path, spec):
            slide = make()
            _keep(path, slide, whole_picture(slide), spec, white_point(slide.overview()[0]), 0)
        files.append(path)
        scores.append(score)
    return StackBank(tuple(files), np.array(scores, np.intp))


def labelled_bank(
    cores: Sequence[CoreFeatures],
    manifest: Manifest,
    spec: PyramidSpec,
    folder: Path,
    *,
    pixel_size: float | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> StackBank:
    """Cores of a manifest, in the order given; those that are there are not made again.

    Parameters
    ----------
    cores : sequence of CoreFeatures
        From `collect_manifest`: where the cores lie, and rows of the manifest.
    manifest : Manifest
    spec : PyramidSpec
    folder : Path
    pixel_size : float, optional
        µm at level 0, for images that do not say theirs.
    seed : int
        Another seed draws other patches.
    progress : callable
        Called with the number of cores that are done, and of all.

    Raises
    ------
    HER2Error
        If a slide cannot be read, or the disk has no room for the stacks.
    """
    images = {row.line: row.image for row in manifest.rows}
    files = dict[int, Path]()
    for slide, own in _by_image(cores, images, pixel_size):
        for core in own:
            files[core.line] = folder / f"{_key(slide, _place(core), spec, seed)}.npy"
    lacking = [core for core in cores if not _is_whole(files[core.line], spec)]
    _check_room(folder, len(lacking) * stack_bytes(spec))
    done = len(cores) - len(lacking)
    progress(done, len(cores))
    for slide, own in _by_image(lacking, images, pixel_size):
        white = white_point(slide.overview()[0])
        for core in own:
            _keep(files[core.line], slide, _place(core), spec, white, seed)
            done += 1
            progress(done, len(cores))
    return StackBank(tuple(files[core.line] for core in cores), np.array([core.score for core in cores], np.intp))


def _by_image(
    cores: Sequence[CoreFeatures], images: dict[int, Path], pixel_size: float | None
) -> Iterator[tuple[Slide, list[CoreFeatures]]]:
    """Each slide, opened, with those of the cores that lie on it."""
    for path, own in groupby(cores, key=lambda core: images[core.line]):
        yield open_slide(path, pixel_size), list(own)


def _place(core: CoreFeatures) -> Core:
    return Core(core.name or "A-1", 0, 0, y=core.y, x=core.x, diameter=core.diameter)


def _keep(path: Path, slide: Slide, core: Core, spec: PyramidSpec, white: npt.ArrayLike, seed: int) -> None:
    pixels = sample(slide, core, spec, white=white, seed=seed).pixels
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path, overwrite=True) as temporary, temporary.open("wb") as file:
        np.save(file, pixels)


def _is_whole(path: Path, spec: PyramidSpec) -> bool:
    """Whether a stack is there and was not cut short by a crash."""
    if not path.is_file():
        return False
    try:
        kept = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError):
        return False
    return bool(kept.dtype == np.uint8 and kept.nbytes == stack_bytes(spec))


def _check_room(folder: Path, needed: int) -> None:
    there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise OutputError(
            f"The stacks of these cores need {needed / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB left: "
            "free some space, or name another folder with --cache."
        )


def _key(slide: Slide, core: Core, spec: PyramidSpec, seed: int) -> str:
    """Name of the file of a stack: of all that its pixels depend on."""
    levels = [[part.count, part.downsample] for part in spec.levels]
    told = [_FORMAT, image_identity(slide), slide.shape, slide.mpp, core.box, spec.mpp, spec.patch, levels, seed]
    return hashlib.blake2b(json.dumps(told).encode(), digest_size=16).hexdigest()
