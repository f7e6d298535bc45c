"""TMA maps that lie as the cores do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from maps import GRID, NAMES, PATIENTS, applied, grid_of, matrix, patients

from napari_her2.cores import CoreGrid
from napari_her2.errors import CoresError
from napari_her2.naming import Naming
from napari_her2.tma_map import apply_map, match_map, parse_map


@pytest.mark.parametrize("tab", ["\t", ",", ";"])
@pytest.mark.parametrize(("head", "side"), [(False, False), (True, False), (False, True), (True, True)])
def test_a_matrix_lies_as_the_cores_do(head: bool, side: bool, tab: str) -> None:
    grid = applied(matrix(head=head, side=side, tab=tab))
    assert patients(grid) == dict(zip(NAMES, PATIENTS, strict=True))


def test_the_labels_of_a_matrix_put_it_the_right_way_round() -> None:
    upside = "\t4\t3\t2\t1\nC\tP12\tP11\tP10\tP09\nB\tP08\tP07\tP06\tP05\nA\tP04\tP03\tP02\tP01\n"
    assert patients(applied(upside)) == dict(zip(NAMES, PATIENTS, strict=True))
    turned = "\tA\tB\tC\n1\tP01\tP05\tP09\n2\tP02\tP06\tP10\n3\tP03\tP07\tP11\n4\tP04\tP08\tP12\n"
    match = match_map(GRID, parse_map(turned))
    assert match.remarks == ("The rows of the map are the columns of the grid, by their labels: it was transposed.",)
    assert patients(apply_map(GRID, match)) == dict(zip(NAMES, PATIENTS, strict=True))
    other = match_map(grid_of(Naming(rows=("1", "2", "3"), columns=("5", "6", "7", "8"))), parse_map(matrix(head=True)))
    assert other.remarks == (
        "The columns are called 1 to 4 in the map, 5 to 8 in the grid: they were matched in order.",
    )


def test_a_matrix_of_another_size_is_refused_with_what_would_fit() -> None:
    turned = "\n".join("\t".join(PATIENTS[k::4]) for k in range(4))
    match = match_map(GRID, parse_map(turned))
    assert match.problem == "The map has 4 x 3 cells, the grid 3 x 4; it would fit transposed."
    assert not match.matched
    with pytest.raises(CoresError, match="4 x 3 cells"):
        apply_map(GRID, match)
    right = match_map(GRID, match.alternatives["transposed"])
    assert right.preview == dict(zip((*NAMES, "X-1"), (*PATIENTS, ""), strict=True))
    assert match_map(GRID, parse_map("P1\tP2\nP3\tP4\n")).problem == "The map has 2 x 2 cells, the grid 3 x 4."


def test_headings_that_are_no_labels_are_cut_off_only_when_asked() -> None:
    rows = [
        ["Tray", "w", "x", "y", "z"],
        *([h, *PATIENTS[4 * r : 4 * r + 4]] for r, h in enumerate(("top", "mid", "low"))),
    ]
    match = match_map(GRID, parse_map("\n".join(",".join(row) for row in rows)))
    assert match.problem == ("The map has 4 x 5 cells, the grid 3 x 4; it would fit without its first row and column.")
    right = match_map(GRID, match.alternatives["without its first row and column"])
    assert patients(apply_map(GRID, right)) == dict(zip(NAMES, PATIENTS, strict=True))


@pytest.mark.parametrize("people", [[str(k) for k in range(1, 17)], [f"P{k:02d}" for k in range(1, 17)]])
def test_patients_that_count_up_are_never_taken_for_labels(people: list[str]) -> None:
    """A row that was not found must not make the first row of patients a heading."""
    text = "\n".join(",".join(people[4 * r : 4 * r + 4]) for r in range(4))
    match = match_map(GRID, parse_map(text))
    assert match.problem.startswith("The map has 4 x 4 cells, the grid 3 x 4")
    assert "without its first row" in match.alternatives


def test_a_larger_matrix_can_be_matched_by_its_labels() -> None:
    text = "\t1\t2\t3\t4\t5\nA\ta\tb\tc\td\te\nB\tf\tg\th\ti\tj\n"
    match = match_map(GRID, parse_map(text))
    assert match.problem == "The map has 2 x 5 cells, the grid 3 x 4; it would fit by its labels."
    found = match_map(GRID, match.alternatives["by its labels"])
    assert patients(apply_map(GRID, found))["B-4"] == "i"
    assert [row.text for row in found.unmatched] == ["row A, column 5", "row B, column 5"]


def test_titles_and_empty_edges_are_no_part_of_a_matrix() -> None:
    text = "TMA 12, breast\t\t\t\t\t\n\t\t\t\t\t\n" + "".join(f"\t{line}\t\n" for line in matrix().splitlines())
    assert patients(applied(text)) == dict(zip(NAMES, PATIENTS, strict=True))


def test_an_empty_cell_of_a_matrix_is_a_core_without_a_patient() -> None:
    start = GRID.with_core(replace(GRID["A-2"], patient_id="old"))
    people = ["P01", "", *PATIENTS[2:]]
    assert "A-2" not in patients(applied(matrix(people), start))


def test_a_cell_where_the_grid_has_no_core_is_listed() -> None:
    grid = CoreGrid(tuple(core for core in GRID if core.name != "B-3"))
    match = match_map(grid, parse_map(matrix()))
    assert [(r.line, r.text, r.values["patient_id"]) for r in match.unmatched] == [(2, "row 2, column 3", "P07")]


def test_a_matrix_on_several_blocks_is_laid_on_one_when_asked() -> None:
    grid = grid_of(blocks=("1", "2"))
    match = match_map(grid, parse_map(matrix()))
    assert match.problem
    one = apply_map(grid, match_map(grid, match.alternatives["on block 2"]))
    assert patients(one) == {f"2:{n}": p for n, p in zip(NAMES, PATIENTS, strict=True)}
    heap = CoreGrid(tuple(replace(core, y=0.0, x=0.0) for core in grid))
    match = match_map(heap, parse_map(matrix()))
    assert match.problem.startswith("Two cores stand in the cell")
    assert list(match.alternatives) == ["on block 1", "on block 2"]


def test_a_matrix_of_all_blocks_is_laid_on_them_as_they_stand_side_by_side() -> None:
    grid = grid_of(blocks=("1", "2"))
    rows = [["", *map(str, range(1, 9))], *([letter, *(f"{letter}{c}" for c in range(8))] for letter in "ABC")]
    match = match_map(grid, parse_map("\n".join("\t".join(row) for row in rows)))
    assert not match.remarks
    found = patients(apply_map(grid, match))
    assert (found["1:A-1"], found["1:A-4"], found["2:A-1"], found["2:C-4"]) == ("A0", "A3", "A4", "C7")


@given(st.permutations(range(12)), st.booleans(), st.booleans())
def test_a_matrix_says_what_its_table_says(order: list[int], head: bool, side: bool) -> None:
    people = [PATIENTS[k] for k in order]
    table = "core,patient\n" + "".join(f"{n},{p}\n" for n, p in zip(NAMES, people, strict=True))
    assert applied(matrix(people, head=head, side=side)) == applied(table)
