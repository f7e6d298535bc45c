"""Core and CoreGrid: where the cores are, what they are called, whose they are, missing or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase

from napari_her2.errors import CoresError

__all__ = ["Core", "CoreGrid", "CoreState"]


class CoreState(StrEnum):
    """Whether a grid position holds tissue to score."""

    TISSUE = "tissue"
    MISSING = "missing"
    EXCLUDED = "excluded"


@dataclass(frozen=True, slots=True)
class Core:
    """One position of a TMA grid.

    Attributes
    ----------
    name : str
        Unique on the slide, such as ``"A-1"``.
    row, column : int
        From 0 within the block; -1 for a core off the grid (a control or orientation core).
    y, x : float
        Centre in level-0 pixels of the slide.
    diameter : float
        In level-0 pixels.
    state : CoreState
        Only cores in state ``tissue`` are scored.
    block : str
        Name of the block or sector; empty when there is one.
    found_confidence : float or None
        How sure `find_cores` is of this position, 0..1; None when placed by hand or read from a file.
    reason : str
        Why the position is doubtful, in a few words; empty when it is not.
    patient_id, reader_score, note : str
        What the user knows or says of the core.
    tissue_fraction : float or None
        Share of the nominal disc that is tissue, 0..1; None when it was not measured.
    outline : tuple of (y, x)
        Corners of the fitted outline of the core's own tissue in level-0 pixels, not closed; empty when not fitted.
    extra : mapping of str to str
        Further columns that the user brought in with a TMA map.
    """

    name: str
    row: int
    column: int
    y: float
    x: float
    diameter: float
    state: CoreState = CoreState.TISSUE
    block: str = ""
    found_confidence: float | None = None
    reason: str = ""
    patient_id: str = ""
    reader_score: str = ""
    note: str = ""
    tissue_fraction: float | None = None
    outline: tuple[tuple[float, float], ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def doubtful(self) -> bool:
        """Whether somebody should look: a doubt is named, or the finder is less than 90 % sure."""
        return bool(self.reason) or (self.found_confidence is not None and self.found_confidence < 0.9)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Bounding square (y0, x0, y1, x1) in whole level-0 pixels, end exclusive; may leave the slide."""
        r = self.diameter / 2
        y0, x0 = round(self.y - r), round(self.x - r)
        return y0, x0, max(y0 + 1, round(self.y + r)), max(x0 + 1, round(self.x + r))


@dataclass(frozen=True)
class CoreGrid:
    """The cores of one slide, in reading order; names are unique.

    Raises
    ------
    CoresError
        If two cores share a name.
    """

    cores: tuple[Core, ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for core in self.cores:
            if core.name in seen:
                raise CoresError(f"Two cores are called {core.name}: give each core its own name.")
            seen.add(core.name)

    def __iter__(self) -> Iterator[Core]:
        return iter(self.cores)

    def __len__(self) -> int:
        return len(self.cores)

    def __getitem__(self, name: str) -> Core:
        for core in self.cores:
            if core.name == name:
                return core
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return any(core.name == name for core in self.cores)

    @property
    def doubtful(self) -> list[Core]:
        """The cores that somebody should look at, the most doubtful first."""
        cores = [core for core in self.cores if core.doubtful]
        return sorted(cores, key=lambda core: 1.0 if core.found_confidence is None else core.found_confidence)

    @property
    def scorable(self) -> CoreGrid:
        """The cores that hold tissue."""
        return CoreGrid(tuple(c for c in self.cores if c.state is CoreState.TISSUE))

    def select(self, patterns: str | Iterable[str]) -> CoreGrid:
        """Cores whose names match any of the patterns, in grid order.

        Parameters
        ----------
        patterns : str or iterable of str
            Shell patterns, case ignored; one string may hold several, separated by commas: ``"A-*,B-3"``.

        Raises
        ------
        CoresError
            If a pattern matches no core.
        """
        if isinstance(patterns, str):
            patterns = patterns.split(",")
        wanted = [p.strip().casefold() for p in patterns if p.strip()]
        if not wanted:
            raise CoresError('The selection is empty: name cores as in "A-1,B-*".')
        names = [c.name.casefold() for c in self.cores]
        for pattern in wanted:
            if not any(fnmatchcase(name, pattern) for name in names):
                known = f"{self.cores[0].name} to {self.cores[-1].name}" if self.cores else "none"
                raise CoresError(f'No core matches "{pattern}": the cores here are {known}.')
        return CoreGrid(
            tuple(c for c, name in zip(self.cores, names, strict=True) if any(fnmatchcase(name, p) for p in wanted))
        )

    def with_core(self, core: Core) -> CoreGrid:
        """The same grid with the core of that name replaced, or added at the end."""
        if core.name in self:
            return CoreGrid(tuple(core if c.name == core.name else c for c in self.cores))
        return CoreGrid((*self.cores, core))

    def with_state(self, names: Iterable[str], state: CoreState) -> CoreGrid:
        """The same grid with the state of the named cores changed."""
        chosen = set(names)
        return CoreGrid(tuple(replace(c, state=state) if c.name in chosen else c for c in self.cores))

    def with_data_of(self, other: CoreGrid) -> CoreGrid:
        """The same places and names, with what the user knows of the cores that lay there in another grid.

        Patient, reader score, note, the user's own columns and "excluded" come from the core of `other` whose centre
        lies within half a radius.
        """
        cores = []
        for core in self.cores:
            near = min(other.cores, key=lambda c: (c.y - core.y) ** 2 + (c.x - core.x) ** 2, default=None)
            if near is not None and (near.y - core.y) ** 2 + (near.x - core.x) ** 2 < (core.diameter / 4) ** 2:
                core = replace(
                    core,
                    patient_id=near.patient_id,
                    reader_score=near.reader_score,
                    note=near.note,
                    extra=near.extra,
                    state=near.state if near.state is CoreState.EXCLUDED else core.state,
                )
            cores.append(core)
        return CoreGrid(tuple(cores))
