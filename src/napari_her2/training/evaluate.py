"""Cores of known score, what a model says of them, and how well the two agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_her2.agreement import confusion, figures
from napari_her2.cores import Core
from napari_her2.engine import Engine, open_engine
from napari_her2.familiar import core_look
from napari_her2.files import writing
from napari_her2.models import Calibration, ScoringModel
from napari_her2.pyramid import LevelSpec, PyramidSample, sample
from napari_her2.scoring import judge_places
from napari_her2.slide import Slide
from napari_her2.stain import divide_white, white_point
from napari_her2.stain_range import Staining, slide_staining
from napari_her2.training.calibrate import JudgedCore
from napari_her2.training.fit import restained
from napari_her2.training.real_tissue import real_tiles
from napari_her2.training.render import Scanner, render
from napari_her2.training.staining import Laboratory
from napari_her2.training.tissue import Tissue, make_core

__all__ = ["agreement", "generated_core", "judge", "judged", "real_cores", "restained_looks", "seen", "whole_picture"]

#: Diameter of generated cores in µm.
DIAMETER = 520.0
#: Places of a core that are kept to calibrate on, drawn evenly.
_PLACES = 6000
#: Fewer patches than a core is scored with: places are pooled by their shares, so the values do not depend on it.
FEW = (LevelSpec(12, 1.0), LevelSpec(4, 2.0), LevelSpec(1, 0.0))


def generated_core(
    seed: Sequence[int], score: int, *, blind: bool = False
) -> tuple[Tissue, Scanner, np.random.Generator]:
    """A core, the scanner that takes its picture, and the random numbers to `render` it with; see `make_core`."""
    rng = np.random.default_rng(tuple(seed))
    tissue = make_core(rng, diameter_um=DIAMETER, score=score, blind=blind)
    return tissue, Scanner.random(rng, blind=blind), rng


def whole_picture(slide: Slide) -> Core:
    """The picture as one core."""
    h, w = slide.shape
    return Core("A-1", 0, 0, h / 2, w / 2, min(h, w))


def real_cores(folder: Path, exclude: tuple[str, ...] = ()) -> Iterator[tuple[str, int, Slide]]:
    """Name, label and slide of the real cores of a folder (0.25 µm/px, as assumed of their source)."""
    for path in sorted(folder.glob("[0-3]_*.jpg")):
        if not path.name.startswith(exclude):
            yield path.name[:10], int(path.name[0]), Slide.open(path, mpp=0.25)


def _patches(model: ScoringModel, slide: Slide) -> PyramidSample:
    few = replace(model.spec, levels=FEW)
    return sample(slide, whole_picture(slide), few, white=white_point(slide.overview()[0]))


def judge(model: ScoringModel, engine: Engine, name: str, score: int, patches: PyramidSample) -> JudgedCore:
    """What the network says of the patches of a core, of which there are some."""
    places, patch, _ = judge_places(patches, engine.run(patches.pixels)[0], Calibration())
    chosen = np.linspace(0, len(places) - 1, min(_PLACES, len(places))).astype(int)
    return JudgedCore(name, score, places.grade[chosen], places.tumour[chosen], patches.level[patch[chosen]])


def judged(
    model: ScoringModel, cores: Iterable[tuple[str, int, Any]], cache: Path, tell: Any = print
) -> list[JudgedCore]:
    """What the network says of cores; kept in the folder `cache`, so that a killed run goes on where it was.

    Parameters
    ----------
    model : ScoringModel
    cores : iterable of (name, score, maker)
        `maker` is called for the slide when the core is not in the cache.
    cache : Path
    tell : callable
        Told a line about each new core.
    """
    cache.mkdir(parents=True, exist_ok=True)
    engine: Engine | None = None
    found = []
    for name, score, maker in cores:
        path = cache / f"{name}.npz"
        if not path.exists():
            engine = engine or open_engine(model, "cpu")
            slide = maker()
            patches = _patches(model, slide)
            if not len(patches.pixels):
                continue
            core = judge(model, engine, name, score, patches)
            look, stain = core_look(patches.pixels[patches.level == 0]), slide_staining(slide)
            with writing(path, overwrite=True) as temporary, temporary.open("wb") as file:
                np.savez(
                    file,
                    grade=core.grade,
                    tumour=core.tumour,
                    level=core.level,
                    look=look,
                    staining=[stain.blue, stain.brown],
                )
            tell(f"judged {name}")
        with np.load(path) as kept:
            found.append(JudgedCore(name, score, kept["grade"], kept["tumour"], kept["level"]))
    return found


def seen(cache: Path, names: Iterable[str]) -> list[tuple[npt.NDArray[np.float64], Staining]]:
    """What cores that were `judged` look like, and how strongly they are stained, from the same cache."""
    found = []
    for name in names:
        with np.load(cache / f"{name}.npz") as kept:
            blue, brown = kept["staining"].tolist()
            found.append((kept["look"], Staining(blue, brown)))
    return found


def restained_looks(folder: Path, count: int, seed: int, exclude: tuple[str, ...] = ()) -> list[Any]:
    """Looks of real tissue as other laboratories would have stained it, three tiles of one each; see `core_look`."""
    rng = np.random.default_rng((seed, 11))
    tiles = list(real_tiles(folder, rng, 3 * count, exclude=exclude))
    looks = []
    for k in range(count):
        lab, scanner = Laboratory.random(rng), Scanner.random(rng)
        own = [restained(tile, lab, 1.0) for tile in tiles[k::count]]
        pictures = [divide_white(render(tile, scanner, rng), scanner.white) for tile in own]
        looks.append(core_look(np.stack(pictures)))
    return looks


def generated_slides(count: int, seed: int, *, blind: bool = False) -> Iterator[tuple[str, int, Any]]:
    """The cores numbered 0 to `count` - 1, the four scores in turn, each of another laboratory and scanner."""
    for number in range(count):

        def make(number: int = number) -> Slide:
            tissue, scanner, rng = generated_core((seed, 7, number), number % 4, blind=blind)
            return Slide.from_arrays(render(tissue, scanner, rng), name=f"generated {number}", mpp=tissue.mpp)

        yield f"generated-{seed}-{number:04d}", number % 4, make


def agreement(truth: npt.ArrayLike, likely: npt.NDArray[np.floating], *, coverage: float = 0.85) -> dict[str, Any]:
    """How well probabilities of the four scores agree with the truth.

    Parameters
    ----------
    truth : array-like of int, shape (n,)
    likely : ndarray of float, shape (n, 4)
    coverage : float
        Share of the cores, the surest first, over which the last accuracy is taken.

    Returns
    -------
    dict
        n, accuracy, quadratic_kappa, sensitivity (of each score; None without cores of it), ece (10 bins of
        confidence), accuracy_at_85 (or whatever the coverage is), off_by_two (share), table (rows: truth).
    """
    found = figures(truth, likely, range(len(likely)), coverage=coverage, draws=1)
    names = {
        "quadratic_kappa": "quadratic_kappa",
        "ece": "ece",
        f"accuracy_at_{round(100 * coverage)}": "accuracy_at_coverage",
    }
    return {
        "n": len(likely),
        "accuracy": round(found["accuracy"].value, 4),
        "sensitivity": [_rounded(found[f"sensitivity_{k}"].value) for k in range(4)],
        **{ours: _rounded(found[name].value) for ours, name in names.items()},
        "off_by_two": round(found["off_by_two"].value, 4),
        "table": confusion(truth, likely.argmax(axis=1)).tolist(),
    }


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
