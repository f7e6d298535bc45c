"""field_again: a core measured once more, for the cells that its page shows, where only their sum was kept."""

from __future__ import annotations

from dataclasses import replace

from napari_her2.cores import Core
from napari_her2.errors import CoresError
from napari_her2.export.run import Run
from napari_her2.measure import MeasureParams, measure_core
from napari_her2.membrane.classes import Thresholds
from napari_her2.membrane.field import CellField, choose_field
from napari_her2.membrane.rules import RULES
from napari_her2.scores import Places
from napari_her2.stain import Stains

__all__ = ["field_again"]


def field_again(run: Run, core: Core, params: MeasureParams, places: Places | None) -> CellField | None:
    """The square of a core to look at, with its cells, measured as the provenance of a run says.

    Parameters
    ----------
    run : Run
        With `core` in `measured`.
    core : Core
    params : MeasureParams
        Everything but rules and thresholds.
    places : Places or None
        Those that the core was measured with, see `measure_core`.

    Returns
    -------
    CellField or None
        None where no cell was counted.

    Raises
    ------
    CoresError
        If other cells are counted now than the figures of the run are of, which the page would contradict.
    SlideError
        If the slide cannot be read there.
    """
    made, known = run.provenance["measurement"], run.measured[core.name]
    params = replace(params, thresholds=Thresholds.from_dict(made["thresholds_od"]), rules=RULES[made["rules"]])
    stains = Stains.from_dict(made["stains"])
    again = measure_core(run.slide, core, stains, params, places=places, regions=known.regions)
    if (again.score, again.sentence, again.count) != (known.score, known.sentence, known.count):
        raise CoresError(f"other cells of {core.name} are counted now than in the table, measure it again.")
    return choose_field(again)
