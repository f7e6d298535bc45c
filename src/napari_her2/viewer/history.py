"""Undo and redo: the states of a layer of cores, one for each thing the user did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_her2.cores import CoreGrid
from napari_her2.models import ScoringModel
from napari_her2.viewer.edit_layer import Scored

__all__ = ["History", "State"]

#: How many steps back are kept.
_STEPS = 100


@dataclass
class State:
    """A grid, the scores it had when it was left, and what the user did to get there, as in "move of A-1".

    `heat` is the heatmap before scores were taken off it; None when none were. `model` made the scores, with its cut
    points; None when nothing was scored here.
    """

    did: str
    grid: CoreGrid
    scored: Scored
    heat: npt.NDArray[np.float32] | None = None
    model: ScoringModel | None = None


@dataclass
class History:
    """States from the oldest to the newest that can be redone; `at` is the one shown."""

    states: list[State] = field(default_factory=list)
    at: int = -1

    @property
    def now(self) -> State:
        """The state shown."""
        return self.states[self.at]

    @property
    def undoes(self) -> str:
        """What undo takes back; "" when there is nothing."""
        return self.states[self.at].did if self.at > 0 else ""

    @property
    def redoes(self) -> str:
        """What redo does again; "" when there is nothing."""
        return self.states[self.at + 1].did if self.at + 1 < len(self.states) else ""

    def push(self, state: State) -> None:
        """A new state after the one shown; what could be redone is gone."""
        self.states[self.at + 1 :] = [state]
        del self.states[: max(0, len(self.states) - _STEPS)]
        self.at = len(self.states) - 1

    def leave(self, **known: Any) -> None:
        """Note what the state shown has come to (scores, heatmap) before it is left."""
        for name, value in known.items():
            setattr(self.now, name, value)
