"""TMA maps: which patient each core comes from, as a laboratory's own table or matrix says it.

>>> from napari_her2.tma_map import apply_map, match_map, parse_map
>>> match = match_map(grid, parse_map(text))          # nothing is changed yet: look at match.preview
>>> grid = apply_map(grid, match)                     # patients, notes and further columns
"""

from napari_her2.tma_map._match import MapMatch, apply_map, match_map
from napari_her2.tma_map._parse import MapRow, TmaMap, parse_map, read_map

__all__ = ["MapMatch", "MapRow", "TmaMap", "apply_map", "match_map", "parse_map", "read_map"]
