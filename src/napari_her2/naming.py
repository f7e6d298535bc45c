"""Names of cores: labels of rows and columns as QuPath writes them, and the scheme behind the names of a grid."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from napari_her2.cores import Core, CoreGrid
from napari_her2.errors import CoresError

__all__ = [
    "Naming",
    "core_name",
    "delete_label",
    "extend_labels",
    "insert_label",
    "is_counted_down",
    "label_beyond",
    "naming_of",
    "parse_labels",
    "row_letters",
]

#: More labels than this are a slip of the pen.
_MOST = 1000
_ALLOWED = "write a range such as A-J, 1-16, H-A or 01-16, or a list such as A B D"
_NUMBER, _UPPER, _LOWER = "1", "A", "a"


def row_letters(row: int) -> str:
    """Letters of a row counted from 0: A, B, ..., Z, AA, AB, ...

    Raises
    ------
    ValueError
        If `row` is negative.

    Examples
    --------
    >>> row_letters(0), row_letters(25), row_letters(26)
    ('A', 'Z', 'AA')
    """
    if row < 0:
        raise ValueError(f"row must be 0 or more, not {row}")
    letters = ""
    row += 1
    while row:
        row, rest = divmod(row - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def core_name(row: int, column: int, block: str = "") -> str:
    """Name of a grid position as QuPath writes it: row letter, column number.

    Parameters
    ----------
    row, column : int
        Counted from 0 within the block.
    block : str
        Name of the block; put in front when there is more than one on the slide.

    Examples
    --------
    >>> core_name(0, 0), core_name(2, 11), core_name(0, 3, block="2")
    ('A-1', 'C-12', '2:A-4')
    """
    name = f"{row_letters(row)}-{column + 1}"
    return f"{block}:{name}" if block else name


# --- labels -------------------------------------------------------------------------------------------------------


def parse_labels(text: str) -> tuple[str, ...]:
    """Labels of rows or columns from what a user typed.

    Parameters
    ----------
    text : str
        A range (``A-J``, ``1-16``, ``H-A`` from the last to the first, ``01-16`` with zeros, ``a-j``, ``Z-AC``), or a
        list of labels and ranges separated by spaces or commas. The dash and the colon divide the parts of a core's
        name, so a label holds neither.

    Raises
    ------
    CoresError
        If it is neither, or a label comes twice.

    Examples
    --------
    >>> parse_labels("Y-AB"), parse_labels("03-01"), parse_labels("A,B D")
    (('Y', 'Z', 'AA', 'AB'), ('03', '02', '01'), ('A', 'B', 'D'))
    """
    parts = re.sub(r"\s*[-\u2013\u2014]\s*", "-", text.strip()).replace(",", " ").replace(";", " ").split()
    labels = tuple(label for part in parts for label in _range(part))
    if not labels or len(labels) > _MOST or any(not label or ":" in label or "-" in label for label in labels):
        raise CoresError(f'"{text}" does not say how rows or columns are labelled: {_ALLOWED}.')
    _check_once(labels)
    return labels


def _check_once(labels: Sequence[str]) -> None:
    twice = [label for label, count in Counter(labels).items() if count > 1]
    if twice:
        raise CoresError(f"The label {twice[0]} comes twice: give each row, and each column, its own.")


def _range(part: str) -> Iterable[str]:
    """The labels of "A-J", or the label itself."""
    ends = [_value(end) for end in part.split("-")]
    if len(ends) != 2 or ends[0] is None or ends[1] is None or ends[0][0] != ends[1][0]:
        return (part,)
    kind, (first, last) = ends[0][0], (ends[0][1], ends[1][1])
    width, step = _width(part.split("-")), 1 if last >= first else -1
    return (_label(kind, value, width) for value in range(first, last + step, step))


def _value(label: str) -> tuple[str, int] | None:
    """Kind and number of a label that can be counted, such as B, aa, 7 or 07; words cannot."""
    if re.fullmatch(r"[0-9]{1,4}", label):
        return _NUMBER, int(label)
    if re.fullmatch(r"[A-Z]{1,2}|[a-z]{1,2}", label):
        number = 0
        for letter in label.upper():
            number = 26 * number + ord(letter) - ord("A") + 1
        return _UPPER if label.isupper() else _LOWER, number
    return None


def _label(kind: str, value: int, width: int = 0) -> str:
    if kind == _NUMBER:
        return f"{value:0{width}d}"
    return row_letters(value - 1) if kind == _UPPER else row_letters(value - 1).lower()


def _width(labels: Iterable[str]) -> int:
    """Digits that numbers are filled up to with zeros; 0 when they are not."""
    labels = list(labels)
    return max(map(len, labels)) if any(len(label) > 1 and label.startswith("0") for label in labels) else 0


def _step(labels: Sequence[str]) -> int:
    """1 where the labels count up, -1 where they count down, 0 where they do neither."""
    values = [_value(label) for label in labels]
    kinds = {value[0] if value else "" for value in values}
    if len(kinds) != 1 or "" in kinds:
        return 0
    numbers = [value[1] for value in values if value]
    steps = {b - a for a, b in itertools.pairwise(numbers)} or {1}
    return steps.pop() if steps in ({1}, {-1}) else 0


def label_beyond(labels: Sequence[str], at_start: bool, numbers: bool | None = None) -> str | None:
    """The label of one more line before the first or after the last, the others keeping theirs.

    Parameters
    ----------
    labels : sequence of str
        Labels in use.
    at_start : bool
        Whether the line comes before the first.
    numbers : bool or None
        Whether labels that follow no pattern go on with numbers or with letters; None: with what they are.

    Returns
    -------
    str or None
        None where the pattern has nothing there, as before A or 1.
    """
    step = _step(labels)
    if not step:
        return _unused(labels, len(labels), numbers)
    kind, value = _value(labels[0 if at_start else -1]) or (_NUMBER, 0)
    value += -step if at_start else step
    return _label(kind, value, _width(labels)) if value >= 1 else None


def _unused(used: Collection[str], at: int, numbers: bool | None) -> str:
    """The usual label of line `at`, or the next one that is not in use."""
    if numbers is None:
        numbers = bool(used) and all(label.isdigit() for label in used)
    usual = ((str(line + 1) if numbers else row_letters(line)) for line in itertools.count(at))
    return next(label for label in usual if label not in used)


def extend_labels(labels: Sequence[str], count: int, numbers: bool | None = None) -> tuple[str, ...]:
    """The same labelling for another number of lines.

    Parameters
    ----------
    labels : sequence of str
        Labels in use; none at all are A, B, ... or 1, 2, ...
    count : int
        How many are wanted.
    numbers : bool or None
        Whether labels that follow no pattern go on with numbers or with letters; None: with what they are.

    Returns
    -------
    tuple of str
        Counting up goes on at the end, counting down at the start (H-A becomes I-A); fewer are cut off there. A list
        without a pattern goes on with the usual label of the line, or the next that is not in use.

    Examples
    --------
    >>> extend_labels(("C", "B", "A"), 4), extend_labels(("08", "09"), 3), extend_labels(("A", "B", "D"), 4)
    (('D', 'C', 'B', 'A'), ('08', '09', '10'), ('A', 'B', 'D', 'E'))
    """
    out, down = list(labels), is_counted_down(labels)
    if count <= len(out):
        return tuple(out[len(out) - count :] if down else out[:count])
    while len(out) < count:
        if down:
            out.insert(0, label_beyond(out, True) or "")
        else:
            out.append(label_beyond(out, False, numbers) or "")
    return tuple(out)


def is_counted_down(labels: Sequence[str]) -> bool:
    """Whether labels run from the last to the first, such as H-A."""
    return _step(labels) < 0


def insert_label(labels: Sequence[str], at: int, numbers: bool | None = None) -> tuple[str, ...]:
    """The labels when a line comes in at index `at`: counted on, or, without a pattern, one more in between."""
    if _step(labels):
        return extend_labels(labels, len(labels) + 1)
    return (*labels[:at], _unused(labels, at, numbers), *labels[at:])


def delete_label(labels: Sequence[str], at: int) -> tuple[str, ...]:
    """The labels when line `at` goes: counted again, or, without a pattern, without its own."""
    return extend_labels(labels, len(labels) - 1) if _step(labels) else (*labels[:at], *labels[at + 1 :])


# --- the scheme ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Naming:
    """How the cores of a grid are named.

    Attributes
    ----------
    rows, columns : tuple of str
        Labels of the lines, in their order within a block; none are A, B, ... for rows and 1, 2, ... for columns.
    row_first : bool
        Whether the row comes first: ``A-1`` or ``1-A``.

    Raises
    ------
    CoresError
        If a label comes twice among the rows or the columns, or holds a dash, a colon or a space.
    """

    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    row_first: bool = True

    def __post_init__(self) -> None:
        for labels in (self.rows, self.columns):
            _check_once(labels)
            for label in labels:
                if not label or re.search(r"[-:\s,]", label):
                    raise CoresError(f'"{label}" cannot label a row or column: {_ALLOWED}.')

    def sized(self, rows: int, columns: int) -> Naming:
        """The same scheme with labels for at least that many rows and columns."""
        return replace(
            self,
            rows=extend_labels(self.rows, max(rows, len(self.rows)), numbers=False),
            columns=extend_labels(self.columns, max(columns, len(self.columns)), numbers=True),
        )

    def name(self, row: int, column: int, block: str = "") -> str:
        """Name of a grid position, the block in front where there is one.

        Parameters
        ----------
        row, column : int
            Counted from 0 within the block. Lines beyond the labels go on as in `extend_labels`; where labels count
            down, that changes the labels before: size such a scheme first (`sized`).
        block : str
            Name of the block; empty when there is one.

        Examples
        --------
        >>> Naming().name(2, 11), Naming(columns=("01", "02")).name(0, 1, "2"), Naming(row_first=False).name(2, 11)
        ('C-12', '2:A-02', '12-C')
        """
        if row < 0 or column < 0:
            raise ValueError(f"row and column must be 0 or more, not {row} and {column}")
        full = self.sized(row + 1, column + 1) if row >= len(self.rows) or column >= len(self.columns) else self
        first, second = full.rows[row], full.columns[column]
        name = f"{first}-{second}" if self.row_first else f"{second}-{first}"
        return f"{block}:{name}" if block else name


def naming_of(grid: CoreGrid, block: str | None = None) -> Naming:
    """The scheme behind the names of a grid, by majority: some cores may have names of their own.

    Parameters
    ----------
    grid : CoreGrid
        Cores off the grid are not looked at.
    block : str or None
        Take the labels from this block only; None: from all.

    Returns
    -------
    Naming
        With labels for every row and column there is. Lines whose cores tell none are labelled as their neighbours
        go on. Where both orders fit, that by which labels count evenly from line to line is taken; where both do, the
        row comes first, unless only the first parts of the names are numbers.

    Raises
    ------
    CoresError
        If there are more rows or columns than a grid can have.
    """
    cores = [core for core in grid if core.row >= 0 and core.column >= 0]
    orders = [(_votes(cores, row_first), row_first) for row_first in (True, False)]
    by_row, by_column = (
        (sum(_follows(core, *votes, row_first) for core in cores), -sum(map(_uneven, votes)))
        for votes, row_first in orders
    )
    row_first = by_row > by_column or (by_row == by_column and not _looks_column_first(cores))
    own = [core for core in cores if block is None or core.block == block]
    rows, columns = _votes(own, row_first)
    count = [1 + max(lines, default=-1) for lines in ([c.row for c in own], [c.column for c in own])]
    if max(count) > _MOST:
        raise CoresError(
            f"The cores are in {count[0]} rows and {count[1]} columns: a grid has at most {_MOST} of each."
        )
    return Naming(_filled(rows, count[0], numbers=False), _filled(columns, count[1], numbers=True), row_first)


def _parts(core: Core) -> tuple[str, str] | None:
    """Both labels in the name of a core, as they stand; None where it has a name of its own."""
    name = core.name.removeprefix(f"{core.block}:") if core.block else core.name
    parts = name.split("-")
    if len(parts) != 2 or not all(parts) or re.search(r"[:\s,]", name):
        return None
    return parts[0], parts[1]


def _looks_column_first(cores: Iterable[Core]) -> bool:
    parts = [p for p in map(_parts, cores) if p]
    return bool(parts) and all(a.isdigit() and not b.isdigit() for a, b in parts)


def _votes(cores: Iterable[Core], row_first: bool) -> tuple[dict[int, str], dict[int, str]]:
    """Label of each row and each column as most of its cores have it; a label belongs to one line."""
    polls: tuple[Counter[tuple[int, str]], Counter[tuple[int, str]]] = (Counter(), Counter())
    for core in cores:
        parts = _parts(core)
        if parts:
            row, column = parts if row_first else parts[::-1]
            polls[0][core.row, row] += 1
            polls[1][core.column, column] += 1
    labels: tuple[dict[int, str], dict[int, str]] = ({}, {})
    for poll, known in zip(polls, labels, strict=True):
        used = set()
        for (line, label), _ in poll.most_common():
            if line not in known and label not in used:
                known[line] = label
                used.add(label)
    return labels


def _follows(core: Core, rows: dict[int, str], columns: dict[int, str], row_first: bool) -> bool:
    wanted = (rows.get(core.row), columns.get(core.column))
    return _parts(core) == (wanted if row_first else wanted[::-1])


def _filled(known: dict[int, str], count: int, *, numbers: bool) -> tuple[str, ...]:
    """Labels of all lines: those of the lines nobody knows as their neighbours go on."""
    values = {line: value for line, label in known.items() if (value := _value(label))}
    labels, used, width = dict(known), set(known.values()), _width(known.values())
    direction = _direction(values)
    for line in (n for n in range(count) if n not in known):
        if values:
            near = min(values, key=lambda n: (abs(n - line), n))
            kind, number = values[near]
            number += (line - near) * direction
            labels[line] = _label(kind, number, width) if number >= 1 else ""
        if not labels.get(line) or labels[line] in used:
            labels[line] = _unused(used, line, numbers)
        used.add(labels[line])
    return tuple(labels[line] for line in range(count))


def _uneven(known: dict[int, str]) -> int:
    """Between how many lines the labels do not count up or down by as many as there are lines."""
    values = {line: value for line, label in known.items() if (value := _value(label))}
    direction = _direction(values)
    return sum(
        values[a][0] != values[b][0] or values[b][1] - values[a][1] != direction * (b - a)
        for a, b in itertools.pairwise(sorted(values))
    )


def _direction(values: dict[int, tuple[str, int]]) -> int:
    """Whether labels mostly count down (-1) or up (1) from line to line."""
    lines = sorted(values)
    rises = [values[b][1] - values[a][1] for a, b in itertools.pairwise(lines)]
    return -1 if sum(r < 0 for r in rises) > sum(r > 0 for r in rises) else 1
