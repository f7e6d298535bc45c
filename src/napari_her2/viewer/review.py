"""Review: the cores that deserve a look, one after another, and how far the model and the reader agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_her2.agreement import confusion, kappa
from napari_her2.cores import Core
from napari_her2.grid_edit import reading_order
from napari_her2.intervals import bootstrap
from napari_her2.scores import SCORES, CoreScore
from napari_her2.viewer.camera import look_at
from napari_her2.viewer.grid_editor import GridEditor
from napari_her2.viewer.reading import give_reading

__all__ = ["LEAST_READ", "QUEUES", "Agreement", "Opinions", "Review", "agreement"]

QUEUES = ("Opinions differ", "Uncertain", "Flagged", "Not read", "All")
#: Cores read and scored under which agreement is not told: the interval would be as wide as the scale.
LEAST_READ = 10
#: Pixels of the screen across a core under review, and what the user may have zoomed to without being corrected.
_ACROSS, _KEPT = 520.0, (260.0, 6000.0)


@dataclass(frozen=True)
class Opinions:
    """All that is said of one core: by the reader, by the model, by measured staining.

    `measured` is "" and `h_score` NaN where nothing was measured; `flags` are sentences, of scoring and measuring.
    """

    core: Core
    score: CoreScore | None
    measured: str = ""
    h_score: float = math.nan
    flags: tuple[str, ...] = ()

    @property
    def given(self) -> set[str]:
        """The different scores that it was given."""
        model = self.score.score if self.score is not None else ""
        return {self.core.reader_score, model, self.measured} - {""}

    def is_in(self, queue: str) -> bool:
        """Whether the core belongs to one of `QUEUES`."""
        if queue == "Opinions differ":
            return len(self.given) > 1
        if queue == "Uncertain":
            return self.score is not None and (self.score.indeterminate or not self.score.score)
        if queue == "Flagged":
            return bool(self.flags)
        return queue == "All" or not self.core.reader_score


class Review:
    """Goes through one queue of the cores with tissue, in reading order."""

    def __init__(self, editor: GridEditor) -> None:
        self.editor, self.session = editor, editor.session
        self.queue = "All"
        self._seen: tuple[Any, Any, list[Opinions]] | None = None

    def opinions(self) -> list[Opinions]:
        """What is said of each core with tissue, in reading order."""
        grid, scores = self.session.watch.read()
        layer = self.session.cores_layer
        if layer is None:
            return []
        features = layer.features
        if self._seen is None or self._seen[0] is not grid or self._seen[1] is not features:
            rows = dict(zip(features["core"], features.to_dict("records"), strict=True))
            told = [_opinions(c, scores.get(c.name), rows[c.name]) for c in reading_order(grid.scorable)]
            self._seen = grid, features, told
        return self._seen[2]

    def names(self, queue: str = "") -> list[str]:
        """The cores of a queue; of the one chosen when none is named."""
        return [o.core.name for o in self.opinions() if o.is_in(queue or self.queue)]

    def here(self) -> Opinions | None:
        """The core under review: the one selected."""
        chosen = self.editor.chosen()
        found = [o for o in self.opinions() if len(chosen) == 1 and o.core.name == chosen[0].name]
        return found[0] if found else None

    def go(self, step: int = 1) -> None:
        """To the next core of the queue (-1: the one before), from whichever core is selected; round at the end."""
        order, names = [o.core.name for o in self.opinions()], set(self.names())
        if not names:
            self.session.said.emit(f"No core is left in the queue: {self.queue.lower()}.", False)
            return
        here = self.here()
        at = order.index(here.core.name) if here is not None else (-1 if step > 0 else 0)
        ahead = [order[(at + step * k) % len(order)] for k in range(1, len(order) + 1)]
        self.show(next(name for name in ahead if name in names))

    def show(self, name: str) -> None:
        """Select a core and turn the view to it; a magnification that the user chose stays."""
        layer, grid = self.session.cores_layer, self.session.grid()
        if layer is None or name not in grid:
            return
        self.session.viewer.layers.selection.active = layer
        layer.selected_data = {i for i, n in enumerate(layer.features["core"]) if n == name}
        look_at(self.session.viewer, layer, grid[name], across=_ACROSS, keep=_KEPT)

    def read(self, score: str) -> str:
        """Give the core under review a score; see `give_reading`."""
        return give_reading(self.editor, score)


def _opinions(core: Core, score: CoreScore | None, row: Mapping[Any, Any]) -> Opinions:
    flags = (str(row["flags"]),) if row["flags"] else ()
    return Opinions(core, score, str(row["measured_score"] or ""), float(row["h_score"]), flags)


@dataclass(frozen=True)
class Agreement:
    """How far the model's scores are the reader's.

    Attributes
    ----------
    table : ndarray of int, shape (4, 4)
        Rows: reader; columns: model.
    accuracy, kappa : float
        Share scored alike, and quadratic kappa; NaN where it cannot be told.
    low, high : ndarray of float, shape (2,)
        95 % intervals of both over patients; NaN where there is none.
    """

    table: npt.NDArray[np.intp]
    accuracy: float
    kappa: float
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]

    @property
    def n(self) -> int:
        """Cores that both scored."""
        return int(self.table.sum())

    @property
    def sentence(self) -> str:
        """Both figures with n, or why they are not told."""
        alike = int(np.trace(self.table))
        if self.n < LEAST_READ:
            both = f"{alike} of {self.n} alike" if self.n else "none yet"
            return f"Too few to tell: {LEAST_READ} cores that you and the model both scored are needed ({both})."
        low, high = 100 * self.low[0], 100 * self.high[0]
        spread = f" (95 % interval {low:.0f} to {high:.0f} %)" if math.isfinite(low) else ""
        said = f"{alike} of {self.n} cores alike: {100 * self.accuracy:.0f} %{spread}. "
        if not math.isfinite(self.kappa):
            return said + "Quadratic kappa needs cores of more than one score."
        spread = f" ({self.low[1]:.2f} to {self.high[1]:.2f})" if math.isfinite(self.low[1]) else ""
        return said + f"Quadratic kappa {self.kappa:.2f}{spread}, n = {self.n}."


def agreement(opinions: list[Opinions]) -> Agreement:
    """Agreement over the cores that reader and model both scored; cores without a patient stand for one each."""
    both = [(o, o.score) for o in opinions if o.core.reader_score and o.score is not None and o.score.score]
    truth = np.array([SCORES.index(o.core.reader_score) for o, _ in both], np.intp)
    said = np.array([SCORES.index(score.score) for _, score in both], np.intp)

    def measure(chosen: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        table = confusion(truth[chosen], said[chosen])
        return np.array([np.trace(table) / table.sum(), kappa(table)])

    nothing = np.full(2, math.nan)
    if len(both) < LEAST_READ:
        return Agreement(confusion(truth, said), math.nan, math.nan, nothing, nothing)
    low, high = bootstrap(measure, [o.core.patient_id or (o.core.name,) for o, _ in both], draws=400)
    accuracy, kappa_ = measure(np.arange(len(both)))
    return Agreement(confusion(truth, said), float(accuracy), float(kappa_), low, high)
