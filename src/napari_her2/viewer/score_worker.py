"""Scoring in the background: one run over some cores of one slide, into the layers of that slide."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import replace
from typing import Any

from napari.components import LayerList
from napari.layers import Image, Shapes

from napari_her2.cores import Core
from napari_her2.heatmap import Heatmap
from napari_her2.models import ScoringModel
from napari_her2.scores import CoreScore
from napari_her2.slide import Slide
from napari_her2.stain import Stains
from napari_her2.viewer.core_run import CoreRun
from napari_her2.viewer.cores_scores import set_scores
from napari_her2.viewer.heatmap_layer import add_heatmap_layer, find_heatmap_layer, heatmap_of_layer, redraw
from napari_her2.viewer.stain_layers import stains_of_layer

__all__ = ["ScoreRun"]


class ScoreRun(CoreRun[CoreScore]):
    """A run of the network; when it has ended, `flags` say what is odd about the slide as a whole."""

    doing, work = "scored", "Scoring"
    preparing = ", the network is made ready"

    def __init__(
        self,
        layers: LayerList,
        image: Image,
        cores_layer: Shapes,
        slide: Slide,
        cores: Iterable[Core],
        model: ScoringModel,
        device: str,
        normalise: Stains | None = None,
    ) -> None:
        super().__init__(layers, image, cores_layer, slide, cores)
        self.model, self.device, self.normalise = model, device, normalise
        self.flags: tuple[str, ...] = ()
        self._heatmap_layer = find_heatmap_layer(layers, image)

    def uses(self, layer: Any) -> bool:
        """Whether the run reads or writes that layer."""
        return super().uses(layer) or layer == self._heatmap_layer

    def judge(self) -> Generator[CoreScore, None, None]:
        """Score core after core, and then look at them together."""
        # in this thread and not before: it may bring in torch or OpenVINO, which take seconds
        from napari_her2.scoring import score_cores, slide_flags

        done: list[CoreScore] = []
        run = score_cores(self.slide, self.cores, self.model, device=self.device, normalise=self.normalise)
        with closing(run) as scores:
            for score in scores:
                yield score
                done.append(replace(score, places=None))
        # the stains as they stand now: they may have been found or corrected meanwhile
        self.flags = slide_flags(self.slide, done, self.model, stains_of_layer(self.image))

    def write(self, scores: list[CoreScore]) -> list[CoreScore]:
        """Write scores into the layer of cores."""
        return set_scores(self.cores_layer, self.slide, scores)

    def draw(self, scores: list[CoreScore]) -> None:
        """Draw them into the heatmap, which is added with the first of them; one that was deleted stays away."""
        if self._heatmap_layer is not None and self._heatmap_layer not in self.layers:
            return
        if self._heatmap_layer is None:
            if self.image not in self.layers or not any(s.places is not None for s in scores):
                return
            heatmap = Heatmap.of(self.slide)
            self._heatmap_layer = add_heatmap_layer(self.layers, self.image, self.cores_layer, heatmap)
        heatmap = heatmap_of_layer(self._heatmap_layer)
        for score in scores:
            heatmap.add(score)
        redraw(self._heatmap_layer)
