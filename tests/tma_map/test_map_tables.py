"""TMA maps with a row a core, however its name is written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from maps import GRID, NAMES, applied, grid_of, patients

from napari_her2.cores import CoreState
from napari_her2.naming import Naming
from napari_her2.tma_map import apply_map, match_map, parse_map


@pytest.mark.parametrize("written", ["B-3", "B3", "b 3", "B03", "3-B", "1:B-3", "B_3", " B - 3 ", "3B", "Block 1 B3"])
def test_a_core_is_found_however_its_name_is_written(written: str) -> None:
    assert patients(applied(f"core,patient\n{written},P7\nA1,P1\n")) == {"B-3": "P7", "A-1": "P1"}


@pytest.mark.parametrize("naming", [Naming(row_first=False), Naming(columns=("01", "02", "03", "04")), Naming()])
def test_labels_count_not_their_spelling(naming: Naming) -> None:
    grid = grid_of(naming)
    assert patients(applied("core,patient\nB-3,P7\n", grid)) == {naming.name(1, 2): "P7"}


@pytest.mark.parametrize("head", ["core", "Core", "Name", "Core name", "TMA core", "tma_core", "CORE ID", "Position"])
@pytest.mark.parametrize("patient", ["patient", "patient_id", "Case ID", "case", "Unique ID", "Patient No."])
def test_columns_are_known_by_many_names(head: str, patient: str) -> None:
    match = match_map(GRID, parse_map(f"{head}\t{patient}\tAge\nA-1\tP1\t63\nA-2\tP2\t\n"))
    assert match.columns == ("patient_id", "Age")
    assert match.matched == {"A-1": {"patient_id": "P1", "Age": "63"}, "A-2": {"patient_id": "P2", "Age": ""}}
    assert apply_map(GRID, match)["A-1"].extra == {"Age": "63"}
    assert apply_map(GRID, match)["A-2"].extra == {}


@pytest.mark.parametrize(
    ("row", "column"), [("B", "3"), ("2", "3"), ("b", "03"), ("2.0", "3.0"), ("2", "C"), ("B", "C")]
)
def test_row_and_column_may_stand_apart(row: str, column: str) -> None:
    match = match_map(GRID, parse_map(f"Row;Col;Patient ID\n{row};{column};P7\n"))
    assert patients(apply_map(GRID, match)) == {"B-3": "P7"}
    # a row 2 is not the row B by its name, so it is counted, and that is said
    assert bool(match.remarks) == (row.upper() != "B" or column == "C")


def test_rows_and_columns_are_found_by_label_before_they_are_counted() -> None:
    grid = grid_of(Naming(rows=("C", "B", "A"), columns=("4", "3", "2", "1")))
    assert patients(applied("row,column,patient\nC,1,P1\n2,4,P2\n", grid)) == {"C-1": "P1", "B-4": "P2"}
    assert patients(applied("row,column,patient\n0,0,P1\n1,2,P2\n")) == {"A-1": "P1", "B-3": "P2"}


def test_blocks_tell_cores_of_one_name_apart() -> None:
    grid = grid_of(blocks=("1", "2"))
    expected = {"1:A-1": "P1", "2:A-1": "P2"}
    assert patients(applied("block,core,patient\n1,A-1,P1\n2,A1,P2\n", grid)) == expected
    assert patients(applied("core,patient\n1:A-1,P1\n2-A1,P2\n", grid)) == expected
    assert patients(applied("Sector,row,column,patient\n1,A,1,P1\n2,1,1,P2\n", grid)) == expected
    match = match_map(grid, parse_map("core,patient\nA-1,P1\n2:A-2,P3\n"))
    assert [row.text for row in match.unmatched] == ["A-1"]  # which of the two is not said


def test_blocks_that_the_grid_has_not_are_said_and_their_cores_conflict() -> None:
    match = match_map(GRID, parse_map("block,core,patient\nleft,A-1,P1\nright,A-1,P2\nright,A-2,P3\n"))
    assert match.remarks[0].startswith("The map names 2 blocks (left, right")
    assert list(match.duplicates) == ["A-1"]
    assert patients(apply_map(GRID, match)) == {"A-2": "P3"}


def test_what_is_left_over_is_listed_and_a_conflict_takes_neither() -> None:
    grid = GRID.with_core(replace(GRID["B-1"], patient_id="old"))
    text = "core,patient\nA-1,P1\nK-9,P9\nB-1,P2\n,P3\nB1,P4\nA-2,P5\nA2,P5\n"
    match = match_map(grid, parse_map(text))
    assert [(row.line, row.text) for row in match.unmatched] == [(3, "K-9"), (5, "no core")]
    assert {name: [row.line for row in rows] for name, rows in match.duplicates.items()} == {"B-1": [4, 6]}
    assert set(match.matched) == {"A-1", "A-2"}  # the same said twice is no conflict
    assert match.without_row == tuple(n for n in (*NAMES, "X-1") if n not in ("A-1", "A-2", "B-1"))
    assert match.preview == {"A-1": "P1", "A-2": "P5", "B-1": "old"} | dict.fromkeys(match.without_row, "")
    assert match.summary == (
        "2 of 13 cores matched; patients: 3, with several cores: 0; rows that fit no core: 2; "
        "cores left as they are because their rows disagree: 1."
    )
    assert apply_map(grid, match)["B-1"].patient_id == "old"


def test_replicates_are_the_cores_of_one_patient() -> None:
    match = match_map(GRID, parse_map("core,patient\nA-1,P1\nA-2,P2\nB-1,P1\nC-4,P1\n"))
    assert match.replicates == {"P1": ("A-1", "B-1", "C-4")}


def test_a_map_never_moves_or_scores_a_core() -> None:
    columns = "core,patient,x,y,diameter,her2_score,P_0,row,column,label,found_confidence,Tumor"
    text = f"{columns}\nB-3,P7,1,2,3,3+,1,9,9,q,0,yes\n"
    match = match_map(GRID, parse_map(text))
    core = apply_map(GRID, match)["B-3"]
    assert core == replace(GRID["B-3"], patient_id="P7", extra={"Tumor": "yes"})
    assert match.remarks == (
        "Not taken: x, y, diameter and 4 more. Columns of that name are the program's own: rename yours.",
    )


def test_notes_scores_and_states_are_taken_where_the_map_has_some() -> None:
    start = GRID.with_core(replace(GRID["A-2"], note="folded", reader_score="1+"))
    text = "core\tNotes\treader_score\tMissing\nA-1\tpale [automatic: Little tumour.]\t3\tno\nA-2\t\t\tx\nA-3\t\t2+\t\n"
    grid = applied(text, start)
    assert (grid["A-1"].note, grid["A-1"].reader_score, grid["A-1"].state) == ("pale", "3+", CoreState.TISSUE)
    assert grid["A-2"] == replace(start["A-2"], state=CoreState.MISSING)
    assert grid["A-3"].reader_score == "2+"
    match = match_map(GRID, parse_map("core,reader score\nA-1,equivocal\n"))
    assert match.remarks == ('reader score was not taken: "equivocal" is no score (0, 1+, 2+, 3+).',)
    assert applied("core,present\nA-1,false\nA-2,true\n")["A-1"].state is CoreState.MISSING
    assert applied("core,state\nA-1,excluded\n")["A-1"].state is CoreState.EXCLUDED


def test_a_corrected_map_clears_what_the_wrong_one_said() -> None:
    wrong = applied("core,patient,Age\nA-1,P1,63\nA-2,P2,70\nA-3,P3,1\n")
    right = applied("core,patient,Age\nA-1,P2,70\nA-2,,\n", wrong)
    assert patients(right) == {"A-1": "P2", "A-3": "P3"}
    assert [dict(right[n].extra) for n in ("A-1", "A-2", "A-3")] == [{"Age": "70"}, {}, {"Age": "1"}]


def test_columns_without_or_with_the_same_name_keep_apart() -> None:
    match = match_map(GRID, parse_map("core,ER,er,,\nA-1,1,2,3,\n"))
    assert match.matched["A-1"] == {"ER": "1", "er (2)": "2", "column 4": "3"}


def test_a_running_number_gives_way_to_row_and_column() -> None:
    match = match_map(GRID, parse_map("core,row,column,patient\n1,A,1,P1\n2,A,2,P2\n"))
    assert match.matched["A-2"] == {"core": "2", "patient_id": "P2"} or match.matched["A-2"] == {"patient_id": "P2"}
    assert patients(apply_map(GRID, match)) == {"A-1": "P1", "A-2": "P2"}
