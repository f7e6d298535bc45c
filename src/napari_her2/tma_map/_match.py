"""A TMA map laid on a grid: which row is which core, and what is left over on either side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.errors import CoresError
from napari_her2.tma_map._index import CoreIndex
from napari_her2.tma_map._matrix import Laid, lay_matrix
from napari_her2.tma_map._parse import TAKEN, MapRow, TmaMap

__all__ = ["MapMatch", "apply_map", "match_map"]


@dataclass(frozen=True)
class MapMatch:
    """What applying a map would do; nothing is done yet.

    Attributes
    ----------
    matched : mapping of str to (mapping of str to str)
        Core name to what the map says of it, by column.
    columns : tuple of str
        The columns, in the order of the file.
    preview : mapping of str to str
        Each core of the grid, in its order, and the patient it would have; "" for none.
    unmatched : tuple of MapRow
        Rows that fit no core of the grid, or more than one.
    without_row : tuple of str
        Cores of which the map says nothing.
    duplicates : mapping of str to tuple of MapRow
        Cores of which several rows say different things: none of them is taken.
    problem : str
        Why the map cannot be applied, in one sentence; empty when it can.
    alternatives : mapping of str to TmaMap
        Other ways to read the map that fit the grid, by what is done to it, such as "transposed".
    remarks : tuple of str
        What else the user should know, each in one sentence.
    """

    matched: Mapping[str, Mapping[str, str]]
    columns: tuple[str, ...]
    preview: Mapping[str, str]
    unmatched: tuple[MapRow, ...] = ()
    without_row: tuple[str, ...] = ()
    duplicates: Mapping[str, tuple[MapRow, ...]] = field(default_factory=dict)
    problem: str = ""
    alternatives: Mapping[str, TmaMap] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def replicates(self) -> dict[str, tuple[str, ...]]:
        """Patients with two cores or more, and their cores, as the grid would then have them."""
        cores = defaultdict(list)
        for name, patient in self.preview.items():
            if patient:
                cores[patient].append(name)
        return {patient: tuple(names) for patient, names in cores.items() if len(names) > 1}

    @property
    def summary(self) -> str:
        """How the map fits, in one line."""
        if self.problem:
            return self.problem
        parts = [f"{len(self.matched)} of {len(self.preview)} cores matched"]
        if "patient_id" in self.columns:
            patients = {p for p in self.preview.values() if p}
            parts.append(f"patients: {len(patients)}, with several cores: {len(self.replicates)}")
        if self.unmatched:
            parts.append(f"rows that fit no core: {len(self.unmatched)}")
        if self.duplicates:
            parts.append(f"cores left as they are because their rows disagree: {len(self.duplicates)}")
        return "; ".join(parts) + "."


def match_map(grid: CoreGrid, tma_map: TmaMap) -> MapMatch:
    """Find the core that each row of a map speaks of.

    Names match however they are written (`A-1`, `A1`, `a 01`, `1-A`, `1:A-1`), rows and columns by their labels in the
    grid's names, else by counting from 1. A matrix must have the size of the grid, with or without labels.

    Parameters
    ----------
    grid : CoreGrid
    tma_map : TmaMap

    Returns
    -------
    MapMatch
        With `problem` set when the map cannot be applied as it is.
    """
    laid = lay_matrix(grid, tma_map) if tma_map.is_matrix else _lay_table(grid, tma_map)
    by_core: dict[str, list[MapRow]] = defaultdict(list)
    for name, row in laid.pairs:
        by_core[name].append(row)
    duplicates = {n: tuple(rows) for n, rows in by_core.items() if any(r.values != rows[0].values for r in rows)}
    matched = {n: dict(rows[0].values) for n, rows in by_core.items() if n not in duplicates}
    problem = laid.problem
    if not problem and not by_core:
        problem = _nothing_fits(grid, laid.unmatched)
    match = MapMatch(
        matched={} if problem else matched,
        columns=tma_map.columns,
        preview={core.name: core.patient_id for core in grid},
        unmatched=tuple(laid.unmatched),
        without_row=tuple(name for name in laid.wanted if name not in by_core),
        duplicates=duplicates,
        problem=problem,
        alternatives=laid.alternatives,
        remarks=(*tma_map.remarks, *laid.remarks),
    )
    return replace(match, preview={core.name: core.patient_id for core in _applied(grid, match)})


def apply_map(grid: CoreGrid, match: MapMatch) -> CoreGrid:
    """The grid with the columns of a map; places, names and scores stay as they are.

    Patient and the user's own columns become what the map says, also where it says nothing; `note`, `reader_score` and
    `state` only where it says something. Cores without a row, and those whose rows disagree, keep what they have.

    Raises
    ------
    CoresError
        If the match has a `problem`.
    """
    if match.problem:
        raise CoresError(match.problem)
    return CoreGrid(tuple(_applied(grid, match)))


def _applied(grid: CoreGrid, match: MapMatch) -> Iterable[Core]:
    for core in grid:
        values = match.matched.get(core.name)
        yield core if values is None else _filled(core, values, match.columns)


def _filled(core: Core, values: Mapping[str, str], columns: tuple[str, ...]) -> Core:
    extra = dict(core.extra)
    for column in (c for c in columns if c not in TAKEN):
        extra.pop(column, None)
        if values.get(column, ""):
            extra[column] = values[column]
    return replace(
        core,
        patient_id=values.get("patient_id", "") if "patient_id" in columns else core.patient_id,
        note=values.get("note", "") or core.note,
        reader_score=values.get("reader_score", "") or core.reader_score,
        state=CoreState(values.get("state", "") or core.state),
        extra=extra,
    )


def _lay_table(grid: CoreGrid, tma_map: TmaMap) -> Laid:
    index = CoreIndex(grid, tma_map.rows)
    laid = Laid(wanted=[core.name for core in grid])
    if len(index.named_blocks) > 1 and not index.with_block:
        named = ", ".join(sorted(index.named_blocks)[:3])
        laid.remarks.append(
            f"The map names {len(index.named_blocks)} blocks ({named}, ...), of which the grid has none: they were not "
            "looked at. If they are the sectors of the grid, split it into them first."
        )
    for row in tma_map.rows:
        name = index.find(row)
        if name is not None:
            laid.pairs.append((name, row))
        elif row.core or row.row or row.column or any(row.values.values()):
            laid.unmatched.append(row)
    if index.counted:
        laid.remarks.append(
            "The map does not call its rows and columns as the grid does: they were counted from the top left."
        )
    return laid


def _nothing_fits(grid: CoreGrid, rows: list[MapRow]) -> str:
    if not len(grid):
        return "There is no grid to lay the map on: find the cores first."
    theirs = ", ".join(row.text for row in rows[:3])
    ours = f"{grid.cores[0].name} to {grid.cores[-1].name}"
    return f"No row of the map fits a core: the map says {theirs or 'nothing'}; the cores here are called {ours}."
