"""Nuclei found by the networks of others, from weights that the user has on disk: Cellpose, StarDist, InstanSeg.

Nothing is downloaded. Their packages are extras, imported when a finder is opened and never before.
"""

from napari_her2.finders.opening import FINDERS, installed, open_finder
from napari_her2.membrane.finder import BUILT_IN, NucleusFinder, Sight, Source, source_of

__all__ = ["BUILT_IN", "FINDERS", "NucleusFinder", "Sight", "Source", "installed", "open_finder", "source_of"]
