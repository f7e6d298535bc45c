"""Measuring in the background: one run over some cores of one slide, into the features of its cores."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping

from napari.components import LayerList
from napari.layers import Image, Shapes

from napari_her2.cores import Core
from napari_her2.measure import Measurement, MeasureParams, measure_cores
from napari_her2.regions import Region
from napari_her2.scores import Places
from napari_her2.slide import Slide
from napari_her2.stain import Stains
from napari_her2.viewer.core_run import CoreRun
from napari_her2.viewer.cores_measured import set_measured

__all__ = ["MeasureRun"]


class MeasureRun(CoreRun[Measurement]):
    """A run of the measurement.

    `places`: where the network saw tumour, by core name. `regions`: all that were drawn on the slide. `keep` is given
    each measurement with its cells, and whether the network told which count.
    """

    doing, work = "measured", "Measuring"
    counted = "cores measured"

    def __init__(
        self,
        layers: LayerList,
        image: Image,
        cores_layer: Shapes,
        slide: Slide,
        cores: Iterable[Core],
        stains: Stains,
        params: MeasureParams,
        places: Mapping[str, Places],
        regions: tuple[Region, ...],
        keep: Callable[[Measurement, bool], None],
    ) -> None:
        super().__init__(layers, image, cores_layer, slide, cores)
        self.stains, self.params = stains, params
        self.places, self.regions, self._keep = places, regions, keep

    def judge(self) -> Generator[Measurement, None, None]:
        """Measure core after core."""
        yield from measure_cores(
            self.slide, self.cores, self.stains, self.params, places=self.places, regions=self.regions
        )

    def write(self, measured: list[Measurement]) -> list[Measurement]:
        """Write measurements into the layer of cores."""
        return set_measured(self.cores_layer, self.slide, measured, self.places)

    def _receive(self, item: Measurement | Exception) -> None:
        if isinstance(item, Measurement):
            self._keep(item, item.core is not None and item.core.name in self.places)
        super()._receive(item)
