"""Blocks: whole-number rows and columns of linked points, and of blocks side by side, with gaps of any width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["UNTOLD", "Told", "label_blocks"]

Points = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: A row or column further off than this (in pitches) is another one.
_SAME = 0.45
#: A few points make a row or column of their own only this far (in pitches) from the next.
_APART = 0.72
#: A block shifted by more than this (in pitches) may as well be shifted by the rest of a pitch the other way.
_UNSURE = 0.3
#: A group of so many points may be shifted by up to a pitch to fit the lines of the others.
_FEW = 4
#: Gaps of k pitches with few cores beside them come out short: 18 of 3 pitches on real layouts were read as 2.4 to 3.
_SHORT = 0.1
#: So many cores at most, or this share of all, are control cores where a gap of so many pitches sets them apart.
_CONTROLS, _CONTROL_SHARE, _FAR = 4, 0.035, 2.3
#: One core alone is for orientation where the line beside it has at least this share of the fullest line.
_BESIDE_ONE = 0.3
#: A line is not thought to be wholly lost when its neighbours make that less likely than this.
_UNLIKELY = 0.01
#: In a grid whose lines are no further apart than this (in pitches), one gap this near a whole number is a lost line.
_EVEN, _WHOLE = 1.35, 0.12
#: A line at the border with less than this share of the usual cores may be left out when the user knows of fewer.
_STRAY = 0.34


@dataclass(frozen=True)
class Told:
    """What the user says of the grid; None where nothing.

    Attributes
    ----------
    rows, columns : int or None
        How many there are, empty ones included.
    blocks : int or None
        How many fields of cores with wider gaps between; 1: every gap is a lost row or column.
    pitch : float or None
        Distance of neighbouring cores in pixels.
    degrees : float or None
        How far the rows are turned; positive where they run down to the right.
    """

    rows: int | None = None
    columns: int | None = None
    blocks: int | None = None
    pitch: float | None = None
    degrees: float | None = None


UNTOLD = Told()


def _components(count: int, links: tuple[Ints, Ints], flat: Points) -> tuple[Ints, Ints]:
    """Blocks of linked points: number of the block, and whole (column, row) within it, of each point."""
    pairs = np.concatenate(links)
    step = np.zeros((len(pairs), 2), int)
    step[: len(links[0]), 0] = 1
    step[len(links[0]) :, 1] = 1
    miss = np.hypot(*(flat[pairs[:, 1]] - flat[pairs[:, 0]] - step).T)
    block = np.arange(count)
    label = np.zeros((count, 2), int)
    members = [[i] for i in range(count)]
    for n in np.argsort(miss, kind="stable"):
        i, j = pairs[n]
        if block[i] == block[j]:
            continue
        shift = label[i] + step[n] - label[j]
        if len(members[block[j]]) > len(members[block[i]]):
            i, j, shift = j, i, -shift
        moved, into = members[block[j]], block[i]
        label[moved] += shift
        block[moved] = into
        members[into].extend(moved)
    return block, label


def label_blocks(
    flat: Points, links: tuple[Ints, Ints], strength: Points, told: Told = UNTOLD
) -> tuple[Ints, Ints, Points, Points]:
    """Row and column of each point, and where the rows and columns lie.

    Parameters
    ----------
    flat : ndarray of float, shape (n, 2)
        (column, row) of the points in units of one pitch, straightened.
    links : tuple of ndarray of int, each of shape (m, 2)
        Pairs of neighbours: one column apart, one row apart.
    strength : ndarray of float, shape (n,)
        Of two points in one place the stronger and nearer stays.
    told : Told
        Numbers of rows, columns and blocks are followed as far as the points allow.

    Returns
    -------
    row, column : ndarray of int, shape (n,)
        -1 off the grid.
    rows, columns : ndarray of float
        Place of each row and column, empty ones included, in pitches.
    """
    block, label = _components(len(flat), links, flat)
    ids, size = np.unique(block, return_counts=True)
    order = ids[np.argsort(-size, kind="stable")]
    groups = [np.flatnonzero(block == i) for i in order]
    lines = [_lines(flat[:, axis], label[:, axis], groups) for axis in (0, 1)]
    column, row = lines[0][0], lines[1][0]
    _absorb(flat[:, 0], column, lines[0][1], row, groups)
    _absorb(flat[:, 1], row, lines[1][1], column, groups)
    off = (column < 0) | (row < 0)
    # one core to a crossing: the nearest stays
    place = np.stack([lines[0][1][column], lines[1][1][row]], axis=1)
    miss = np.hypot(*(flat - place).T) - 0.3 * strength
    taken: set[tuple[int, int]] = set()
    for i in np.argsort(miss, kind="stable"):
        cell = (int(row[i]), int(column[i]))
        if off[i] or cell in taken:
            off[i] = True
        else:
            taken.add(cell)
    row, column = np.where(off, -1, row), np.where(off, -1, column)
    return _read(row, column, lines[1][1], lines[0][1], told)


def _read(
    row: Ints, column: Ints, at_rows: Points, at_columns: Points, told: Told
) -> tuple[Ints, Ints, Points, Points]:
    """Number rows and columns; control cores at the border count as lines only where the user's numbers want them."""
    readings = []
    for start in (_trim(row, column, at_rows, at_columns), (row, column)):
        r, c = _drop_stray(*start, told.rows)
        c, r = _drop_stray(c, r, told.columns)
        r, rows = _number(r, at_rows, c, told.rows, told.blocks)
        c, columns = _number(c, at_columns, r, told.columns, told.blocks)
        wrong = (told.rows not in (None, len(rows))) + (told.columns not in (None, len(columns)))
        readings.append((wrong, (r, c, rows, columns)))
    return min(readings, key=lambda reading: reading[0])[1]


def _lines(value: Points, label: Ints, groups: list[Ints]) -> tuple[Ints, Points]:
    """Put the lines (rows or columns) of all blocks on one axis.

    Returns
    -------
    line : ndarray of int, shape (n,)
        Index of the line of each point; -1 for a lone point that fits none.
    place : ndarray of float
        Where each line lies, ascending.
    """
    places: list[float] = []
    weights: list[float] = []
    members: list[list[int]] = []
    for group in groups:
        names = np.unique(label[group])
        own = [group[label[group] == n] for n in names]
        at = np.array([np.median(value[m]) for m in own])
        if places:
            known = np.array(places)
            gap = at - known[np.argmin(np.abs(at[:, None] - known), axis=1)]
            near = np.abs(gap) < 0.75
            # blocks shifted against each other move as one: the shift is a mean on the circle of one pitch
            turn = float(np.angle(np.mean(np.exp(2j * np.pi * gap[near])))) / (2 * np.pi) if near.any() else 0.0
            if abs(turn) > _UNSURE:
                # about half a pitch may be meant either way: the one that makes fewer lines of its own
                turn = min(turn, turn - np.sign(turn), key=lambda t: (_strangers(at - t, known), abs(t)))
        else:
            known, turn = np.empty(0), 0.0
        for m, a in zip(own, at, strict=True):
            distance = np.abs(known - (a - turn))
            best = int(np.argmin(distance)) if len(known) else -1
            if best >= 0 and _SAME <= distance[best] < _APART and len(group) < 3:
                continue  # between two lines, and too few to be a line of their own
            if best >= 0 and distance[best] < _SAME:
                members[best].extend(m)
                if len(group) > 1:
                    total = weights[best] + len(m)
                    places[best] += (a - places[best]) * len(m) / total
                    weights[best] = total
            else:
                places.append(float(a))
                weights.append(float(len(m)))
                members.append(list(m))
    line = np.full(len(value), -1)
    order = np.argsort(places, kind="stable")
    for new, old in enumerate(order):
        line[members[old]] = new
    return line, np.array(places)[order]


def _strangers(at: Points, known: Points) -> int:
    """How many lines are none of the known ones."""
    return int((np.abs(at[:, None] - known).min(axis=1) >= _SAME).sum())


def _absorb(value: Points, line: Ints, place: Points, other: Ints, groups: list[Ints]) -> None:
    """Move small groups that alone make a line between others onto the lines that are there; `line` is changed.

    Far from the rest of the grid its warp is only guessed, and a few cores there may seem to stand between two rows
    of it. They are shifted by up to a pitch to where all of them find a line and a free place on it.
    """
    for group in groups:
        if len(group) > _FEW:
            continue
        inside = (line[group] > 0) & (line[group] < len(place) - 1)
        own = [int(n) for n in np.unique(line[group[inside]]) if np.isin(np.flatnonzero(line == n), group).all()]
        if not own:
            continue
        rest = np.setdiff1d(np.arange(len(place)), own)
        taken = {(int(a), int(b)) for n, (a, b) in enumerate(zip(line, other, strict=True)) if n not in group}
        for shift in sorted(np.linspace(-1, 1, 21), key=abs):
            nearest = rest[np.argmin(np.abs(value[group, None] + shift - place[rest]), axis=1)]
            near = np.abs(value[group] + shift - place[nearest]) < 0.35
            cells = {(int(a), int(b)) for a, b in zip(nearest, other[group], strict=True)}
            if near.all() and len(cells) == len(group) and not cells & taken:
                line[group] = nearest
                break


def _trim(row: Ints, column: Ints, rows: Points, columns: Points) -> tuple[Ints, Ints]:
    """Take small groups at the border off the grid: orientation and control cores."""
    row, column = row.copy(), column.copy()
    total = max(1, int((row >= 0).sum()))
    changed = True
    while changed:
        changed = False
        for index, place in ((row, rows), (column, columns)):
            for step in (1, -1):
                used, counts = (n[::step] for n in np.unique(index[index >= 0], return_counts=True))
                beyond = _beyond(counts, np.abs(np.diff(place[used])), total)
                if beyond:
                    gone = np.isin(index, used[:beyond])
                    row[gone] = column[gone] = -1
                    changed = True
    return row, column


def _beyond(counts: Ints, gaps: Points, total: int) -> int:
    """How many lines, from the border inwards, hold only cores that do not belong to the grid.

    Parameters
    ----------
    counts : ndarray of int, shape (n,)
        Cores on each line.
    gaps : ndarray of float, shape (n - 1,)
        Between lines, in pitches.
    total : int
        Cores on the grid.
    """
    few, full = max(_CONTROLS, _CONTROL_SHARE * total), counts.max()
    for n in range(min(4, len(counts) - 2)):
        cores = counts[: n + 1].sum()
        if cores == 1 and full >= 5 and counts[n + 1] > _BESIDE_ONE * full:
            return n + 1
        if cores <= few and gaps[n] > _FAR and counts[n + 1] > 0.5 * full:
            return n + 1
    return 0


def _drop_stray(line: Ints, other: Ints, told: int | None) -> tuple[Ints, Ints]:
    """Take the weakest lines at the border off the grid while there are more than the user knows of."""
    line, other = line.copy(), other.copy()
    while told is not None:
        used, counts = np.unique(line[line >= 0], return_counts=True)
        if len(used) <= max(1, told):
            break
        weakest = 0 if counts[0] < counts[-1] else -1
        if counts[weakest] > _STRAY * np.median(counts):
            break
        gone = line == used[weakest]
        line[gone] = other[gone] = -1
    return line, other


def _number(line: Ints, place: Points, other: Ints, told: int | None, blocks: int | None) -> tuple[Ints, Points]:
    """Number the lines in use from 0, with the empty ones between them."""
    used, counts = np.unique(line[line >= 0], return_counts=True)
    if len(used) == 0:
        return line, np.empty(0)
    gaps = np.diff(place[used])
    empty = _empty(gaps, counts, len(np.unique(other[other >= 0])), told, blocks)
    places, number = [float(place[used[0]])], {int(used[0]): 0}
    for n, gap, between in zip(used[1:], gaps, empty, strict=True):
        start = places[-1]
        places.extend(start + float(gap) * (i + 1) / (between + 1) for i in range(between + 1))
        number[int(n)] = len(places) - 1
    return np.array([number.get(int(n), -1) for n in line]), np.array(places)


def _empty(gaps: Points, counts: Ints, length: int, told: int | None, blocks: int | None) -> list[int]:
    """How many lines without any core lie in each gap.

    A gap between sparse lines holds those that fit. One between full lines is a gap between sectors: that all cores of
    a line are gone is unlikely where nearly none are in the lines beside it. But where a grid is even throughout, its
    only gap is a whole number of pitches, and sectors would be of different size, a line is lost there.

    Parameters
    ----------
    gaps : ndarray of float, shape (n - 1,)
        Between lines in use, in pitches.
    counts : ndarray of int, shape (n,)
        Cores on each line.
    length : int
        Places on a line.
    told, blocks : int or None
        Lines in all, and fields of cores, that the user knows of.
    """
    room = np.maximum(0, np.round(gaps + _SHORT).astype(int) - 1)
    wanted = None if told is None else told - len(counts)
    if wanted is not None and 0 <= wanted <= room.sum():
        empty = np.zeros(len(gaps), int)
        for _ in range(wanted):
            empty[np.argmax(np.where(empty < room, gaps - empty, -np.inf))] += 1
        return [int(n) for n in empty]
    if blocks == 1:
        return [int(n) for n in room]
    full = np.maximum(counts[1:], counts[:-1]) / max(1, length)
    empty = np.where((1 - np.minimum(full, 1)) ** length < _UNLIKELY, 0, room)
    wide = np.flatnonzero(gaps > _EVEN)
    if blocks is None and len(wide) == 1:
        k = int(wide[0])
        even = abs(gaps[k] - round(float(gaps[k]))) < _WHOLE and k + 1 != len(counts) - k - 1
        empty[k] = room[k] if even else empty[k]
    return [int(n) for n in empty]
