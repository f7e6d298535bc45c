"""Sectors: split at wider gaps, joined again, on drawn grids and on the layouts of real slides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.grid_edit import complete
from napari_her2.naming import Naming, core_name, parse_labels
from napari_her2.sectors import count_sectors, join_sectors, split_sectors

PITCH = 100.0
Places = npt.NDArray[np.float64]


def lines(sizes: Sequence[int], gap: float) -> list[float]:
    """Places of lines in fields of so many, in pitches."""
    steps = [1.0 if n else 1 + gap for size in sizes for n in range(size)]
    return list(np.cumsum(steps) - steps[0])


def turned(places: Places, degrees: float) -> Places:
    a = np.radians(degrees)
    y, x = places[..., 0], places[..., 1]
    return np.stack([y * np.cos(a) + x * np.sin(a), x * np.cos(a) - y * np.sin(a)], axis=-1)


def sectored(
    rows: Sequence[int] = (5, 5),
    columns: Sequence[int] = (5, 5, 5),
    *,
    gap: float = 0.8,
    degrees: float = 0.0,
    bend: float = 0.0,
    naming: Naming | None = None,
) -> CoreGrid:
    """A grid named straight through, with gaps between fields of so many rows and columns."""
    places = np.stack(np.meshgrid(lines(rows, gap), lines(columns, gap), indexing="ij"), axis=-1) * PITCH
    places = places + bend * PITCH * np.sin(places[..., ::-1] / 700)
    places = turned(places, degrees)
    scheme = (naming or Naming()).sized(sum(rows), sum(columns))
    cells = list(np.ndindex(places.shape[:2]))
    return CoreGrid(tuple(Core(scheme.name(*rc), *rc, *map(float, places[rc]), 85, patient_id=str(rc)) for rc in cells))


def cell(core: Core) -> tuple[str, int, int]:
    return core.block, core.row, core.column


def by_patient(grid: CoreGrid) -> dict[str, tuple[str, str, int, int]]:
    return {c.patient_id: (c.name, *cell(c)) for c in grid}


def test_six_sectors() -> None:
    grid = split_sectors(sectored())
    assert count_sectors(sectored()) == count_sectors(grid) == 6
    assert [c.name for c in grid][:7] == ["1:A-1", "1:A-2", "1:A-3", "1:A-4", "1:A-5", "1:B-1", "1:B-2"]
    assert by_patient(grid)[str((5, 4))] == ("4:A-5", "4", 0, 4)
    assert by_patient(grid)[str((9, 14))] == ("6:E-5", "6", 4, 4)
    assert list(dict.fromkeys(c.block for c in grid)) == list("123456")


def test_a_grid_without_gaps_stays_as_it_is() -> None:
    for grid in (sectored((7,), (9,)), sectored((1,), (1,)), sectored(gap=0.25), CoreGrid()):
        assert split_sectors(grid) == grid
        assert count_sectors(grid) == min(1, len(grid))


def test_labels_begin_anew_in_each_sector() -> None:
    naming = Naming(parse_labels("J-A"), parse_labels("01-06"), row_first=False)
    straight = sectored((5, 5), (3, 3), naming=naming)
    grid = split_sectors(straight)
    assert by_patient(grid)[str((0, 0))][0] == "1:01-E"
    assert by_patient(grid)[str((9, 5))][0] == "4:03-A"
    assert join_sectors(grid) == straight


def test_cores_off_the_grid_and_names_of_their_own_stay() -> None:
    grid = sectored()
    grid = CoreGrid((*grid, Core("X-1", -1, -1, -300, 0, 85)))
    grid = CoreGrid(tuple(replace(c, name="liver") if c.name == "G-8" else c for c in grid))
    split = split_sectors(grid)
    assert split["X-1"] == grid["X-1"]
    assert cell(split["liver"]) == ("5", 1, 2)
    assert join_sectors(split) == grid


@settings(max_examples=40)
@given(
    st.data(),
    st.lists(st.integers(2, 5), min_size=1, max_size=3),
    st.lists(st.integers(2, 5), min_size=1, max_size=3),
    st.floats(0.5, 1.4),
    st.floats(-40, 40),
)
def test_split_and_join_on_tilted_grids_with_losses(
    data: st.DataObject, rows: list[int], columns: list[int], gap: float, degrees: float
) -> None:
    grid = sectored(rows, columns, gap=gap, degrees=degrees)
    lost = data.draw(st.sets(st.sampled_from([c.name for c in grid]), max_size=len(grid) // 6))
    grid = grid.with_state(lost, CoreState.MISSING)
    fields = [(r, c) for r in range(len(rows)) for c in range(len(columns))]
    split = split_sectors(grid)
    if len(fields) > 1:
        assert {c.block for c in split} == {str(n + 1) for n in range(len(fields))}
        for core in split:
            down, along = fields[int(core.block) - 1]
            straight = (core.row + sum(rows[:down]), core.column + sum(columns[:along]))
            assert core.patient_id == str(straight)
    assert join_sectors(split) == grid
    assert split_sectors(split) == split


@pytest.mark.parametrize("degrees", [0, 14, -33])
def test_warp_and_a_fifth_of_the_cores_gone(degrees: float) -> None:
    rng = np.random.default_rng(3)
    grid = sectored((5, 3, 5), (5, 5, 5, 5), bend=0.5, degrees=degrees)
    grid = CoreGrid(tuple(c for c in grid if rng.random() > 0.2))
    split = split_sectors(grid)
    assert count_sectors(grid) == 12
    assert by_patient(join_sectors(split)) == by_patient(grid)


def test_a_line_without_tissue_is_no_gap() -> None:
    grid = sectored((9,), (6,))
    gone = [c.name for c in grid if c.row == 4]
    assert count_sectors(grid.with_state(gone, CoreState.MISSING)) == 1
    assert count_sectors(CoreGrid(tuple(c for c in grid if c.row != 4))) == 1


def test_lines_that_a_finder_put_into_a_gap_are_left_out() -> None:
    grid = sectored((4, 4), (5,), gap=1.6)
    counted = [replace(c, row=c.row + (c.row > 3), name=core_name(c.row + (c.row > 3), c.column)) for c in grid]
    full = complete(CoreGrid(tuple(counted)))
    assert len(full) == 45
    split = split_sectors(full)
    assert len(split) == 40
    assert {c.name for c in split if c.block == "2"} == {f"2:{core_name(r, c)}" for r in range(4) for c in range(5)}


def test_a_sector_without_tissue_gets_no_number_unless_something_is_known_of_it() -> None:
    grid = sectored((3, 3), (3, 3))
    bare = CoreGrid(
        tuple(replace(c, state=CoreState.MISSING, patient_id="") if c.row < 3 and c.column > 2 else c for c in grid)
    )
    split = split_sectors(bare)
    assert len(split) == 27
    assert by_patient(split)[str((3, 3))] == ("3:A-1", "3", 0, 0)
    known = split_sectors(bare.with_core(replace(bare["A-4"], patient_id="P7")))
    assert len(known) == 36
    assert known["2:A-1"].patient_id == "P7"


def test_gaps_that_go_through_a_part_of_the_slide_only() -> None:
    """Sectors of 4 rows on the left, of 3 on the right, where no gap goes all the way through."""
    left = sectored((4, 4, 4), (4,), gap=0.7)
    right = sectored((3, 3, 3, 3), (4,), gap=0.7)
    # numbered straight through: the same rows, though they lie up to 0.7 pitches apart
    moved = [replace(c, name=core_name(c.row, c.column + 4), column=c.column + 4, x=c.x + 470) for c in right]
    grid = CoreGrid((*left, *(replace(c, patient_id="r" + c.patient_id) for c in moved)))
    split = split_sectors(grid)
    assert count_sectors(grid) == 7
    found = {name: sum(c.block == name for c in split) for name in dict.fromkeys(c.block for c in split)}
    assert sorted(found.values()) == [12, 12, 12, 12, 16, 16, 16]


def test_blocks_side_by_side_that_do_not_line_up_come_one_after_the_other() -> None:
    one = [replace(c, block="1", name=f"1:{c.name}") for c in sectored((3,), (3,))]
    two = [replace(c, block="2", name=f"2:{c.name}", y=c.y + 50, x=c.x + 380) for c in sectored((3,), (3,))]
    joined = join_sectors(CoreGrid((*one, *two)))
    assert {(c.row, c.column) for c in joined} == {
        (r + 3 * k, c + 3 * k) for k in range(2) for r in range(3) for c in range(3)
    }
    lined_up = [replace(c, y=c.y + 52) for c in two]
    joined = join_sectors(CoreGrid((*one, *lined_up)))
    assert {(c.row, c.column) for c in joined} == {(r, c) for r in range(3) for c in range(3)} | {
        (r, c) for r in range(1, 4) for c in range(3, 6)
    }
    assert joined["D-6"].y == pytest.approx(302)


def test_blocks_of_any_name_are_joined() -> None:
    grid = split_sectors(sectored())
    renamed = CoreGrid(
        tuple(
            replace(c, block="abcdef"[int(c.block) - 1], name=f"{'abcdef'[int(c.block) - 1]}{c.name[1:]}") for c in grid
        )
    )
    assert join_sectors(renamed) == sectored()
    assert count_sectors(renamed) == 6


# --- real layouts -------------------------------------------------------------------------------------------------


def straight(places: Places) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows and columns of marked cores: in their affine frame, lines are a third of a pitch apart or more."""
    step = (places[None] - places[:, None]).reshape(-1, 2)
    length, angle = np.hypot(*step.T), np.degrees(np.arctan2(step[:, 0], step[:, 1]))
    pitch = np.median(np.sort(np.hypot(*np.moveaxis(places[None] - places[:, None], -1, 0)), axis=1)[:, 1])
    near = (length > 0.8 * pitch) & (length < 1.35 * pitch)
    u = np.median(step[near & (np.abs(angle) < 35)], axis=0)
    v = np.median(step[near & (np.abs(angle - 90) < 35)], axis=0)
    numbered = []
    for value in np.linalg.solve(np.stack([v, u], axis=1), places.T):
        order = np.argsort(value)
        line = np.empty(len(value), int)
        line[order] = np.concatenate([[0], np.cumsum(np.diff(value[order]) > 0.33)])
        numbered.append(line)
    return numbered[0], numbered[1]


def layout(path: Path) -> CoreGrid:
    marks = json.loads(path.read_text())
    places = np.array([[m["y"], m["x"]] for m in marks])
    row, column = straight(places)
    # a core that is alone in an outermost line marks the orientation
    lone = [
        any((line == line[n]).sum() == 1 and line[n] in (0, line.max()) for line in (row, column))
        for n in range(len(marks))
    ]
    on = places[np.logical_not(lone)]
    cells = zip(*(line.tolist() for line in straight(on)), strict=True)
    return CoreGrid(tuple(Core(core_name(*rc), *rc, *yx, 40) for rc, yx in zip(cells, on.tolist(), strict=True)))


def lines_of(grid: CoreGrid) -> dict[tuple[float, float], tuple[int, int]]:
    """Row and column by place, lines without a core not counted."""
    on = [c for c in grid if c.row >= 0]
    rows, columns = (np.unique(n, return_inverse=True)[1] for n in ([c.row for c in on], [c.column for c in on]))
    return {(c.y, c.x): (int(r), int(k)) for c, r, k in zip(on, rows, columns, strict=True)}


def test_sectors_of_real_slides(real_data: Path) -> None:
    paths = sorted((real_data / "tma_layouts").glob("HER2_*.json"))
    if not paths:
        pytest.skip("no layouts in the folder of real data")
    for path in paths:
        grid = layout(path)
        split = split_sectors(grid)
        sizes = {
            block: tuple(1 + max(getattr(c, k) for c in split if c.block == block) for k in ("row", "column"))
            for block in {c.block for c in split}
        }
        full = [
            block for block, size in sizes.items() if sum(c.block == block for c in split) > 0.8 * np.prod(size) > 15
        ]
        assert {sizes[block] for block in full} == {(5, 5)}, path.name
        assert len(full) >= 4, path.name
        joined = join_sectors(split)
        assert lines_of(joined) == lines_of(grid), path.name
