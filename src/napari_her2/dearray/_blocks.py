"""Blocks: whole-number rows and columns of linked points, and of blocks side by side, with gaps of any width."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["label_blocks"]

Points = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: A row or column further off than this (in pitches) is another one.
_SAME = 0.45
#: A few points make a row or column of their own only this far (in pitches) from the next.
_APART = 0.72
#: A group of so many points may be shifted by up to a pitch to fit the lines of the others.
_FEW = 4


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


def label_blocks(flat: Points, links: tuple[Ints, Ints], strength: Points) -> tuple[Ints, Ints, Points, Points]:
    """Row and column of each point, and where the rows and columns lie.

    Parameters
    ----------
    flat : ndarray of float, shape (n, 2)
        (column, row) of the points in units of one pitch, straightened.
    links : tuple of ndarray of int, each of shape (m, 2)
        Pairs of neighbours: one column apart, one row apart.
    strength : ndarray of float, shape (n,)
        Of two points in one place the stronger and nearer stays.

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
    row, column = _trim(row, column, lines[1][1], lines[0][1])
    row, rows = _number(row, lines[1][1], column)
    column, columns = _number(column, lines[0][1], row)
    return row, column, rows, columns


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
            turn = np.angle(np.mean(np.exp(2j * np.pi * gap[near]))) / (2 * np.pi) if near.any() else 0.0
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
    small = max(4, round(0.03 * total))
    for _ in range(4):
        changed = False
        for index, place in ((row, rows), (column, columns)):
            for flip in (False, True):
                used = np.unique(index[index >= 0])[:: -1 if flip else 1]
                if len(used) < 3:
                    continue
                counts = [int((index == n).sum()) for n in used]
                full = max(counts)
                beyond = 0
                for n in range(min(4, len(used) - 2)):
                    beyond += counts[n]
                    gap = abs(place[used[n + 1]] - place[used[n]])
                    dense = counts[n + 1] > 0.5 * full
                    lone = max(counts[: n + 1]) == 1 and full >= 5
                    if dense and (lone or (beyond <= small and gap > 2.3)):
                        gone = np.isin(index, used[: n + 1])
                        row[gone] = column[gone] = -1
                        changed = True
                        break
        if not changed:
            break
    return row, column


def _number(line: Ints, place: Points, other: Ints) -> tuple[Ints, Points]:
    """Number the lines in use from 0; a gap in sparse surroundings holds lines without any core."""
    used = np.unique(line[line >= 0])
    if len(used) == 0:
        return line, np.empty(0)
    counts = np.array([(line == n).sum() for n in used])
    span = max(1, len(np.unique(other[other >= 0])))
    places = [float(place[used[0]])]
    number = {int(used[0]): 0}
    for k in range(1, len(used)):
        gap = float(place[used[k]] - place[used[k - 1]])
        empty = max(0, round(gap) - 1)
        full = max(counts[k], counts[k - 1]) / span
        # how likely all cores of a line are gone, when so many are gone beside it
        if empty and (1 - full) ** span < 0.01:
            empty = 0
        start = places[-1]
        places.extend(start + gap * (i + 1) / (empty + 1) for i in range(empty + 1))
        number[int(used[k])] = len(places) - 1
    return np.array([number.get(int(n), -1) for n in line]), np.array(places)
