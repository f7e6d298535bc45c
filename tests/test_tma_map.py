"""TMA maps as laboratories write them, laid on a grid of 3 x 4 cores and two controls off it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.errors import CoresError
from napari_her2.naming import Naming
from napari_her2.spreadsheet import MAX_BYTES, MAX_ROWS
from napari_her2.tma_map import TmaMap, apply_map, match_map, parse_map, read_map

ROWS, COLUMNS = 3, 4


def grid_of(naming: Naming | None = None, blocks: tuple[str, ...] = ("",)) -> CoreGrid:
    naming = naming or Naming()
    cores = [
        Core(naming.name(r, c, block), r, c, 100.0 * r, 100.0 * c + 1000 * k, 80.0, block=block)
        for k, block in enumerate(blocks)
        for r in range(ROWS)
        for c in range(COLUMNS)
    ]
    return CoreGrid((*cores, Core("X-1", -1, -1, -300.0, 0.0, 80.0)))


GRID = grid_of()
NAMES = [core.name for core in GRID if core.row >= 0]
PATIENTS = [f"P{k:02d}" for k in range(1, 13)]


def matrix(patients: list[str] = PATIENTS, *, head: bool = False, side: bool = False, tab: str = "\t") -> str:
    rows = [patients[4 * r : 4 * r + 4] for r in range(ROWS)]
    if side:
        rows = [["ABC"[r], *row] for r, row in enumerate(rows)]
    if head:
        rows.insert(0, [*[""] * side, "1", "2", "3", "4"])
    return "\n".join(tab.join(row) for row in rows) + "\n"


def patients(grid: CoreGrid) -> dict[str, str]:
    return {core.name: core.patient_id for core in grid if core.patient_id}


def applied(text: str, grid: CoreGrid = GRID) -> CoreGrid:
    return apply_map(grid, match_map(grid, parse_map(text)))


# --- tables -------------------------------------------------------------------------------------------------------


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


# --- matrices -----------------------------------------------------------------------------------------------------


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


# --- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_text_is_read_in_its_encoding(tmp_path: Path, encoding: str, separator: str) -> None:
    path = tmp_path / "map.csv"
    text = 'core,patient,Größe\nA-1,"Müller, Jörg",5\nA-2,"say ""no""","two\nlines"\n'.replace(",", separator)
    path.write_bytes(text.replace("Müller" + separator, "Müller,").encode(encoding))
    grid = apply_map(GRID, match_map(GRID, read_map(path)))
    assert grid["A-1"].patient_id == "Müller, Jörg"
    assert (grid["A-2"].patient_id, grid["A-2"].extra["Größe"]) == ('say "no"', "two\nlines")


def test_what_excel_and_old_editors_add_is_taken_off() -> None:
    text = "sep=;\r\ncore;patient;note\r\nA-1;12.0;'=1+1\r\n\r\n;;\r\nA-2;0012;-3\r\n"
    match = match_map(GRID, parse_map(text))
    assert match.matched["A-1"] == {"patient_id": "12", "note": "=1+1"}
    assert match.matched["A-2"] == {"patient_id": "0012", "note": "-3"}
    assert [row.line for row in parse_map(text).rows] == [3, 6]
    assert not match.unmatched


def test_a_stray_quotation_mark_costs_nothing_and_an_open_one_is_named() -> None:
    assert patients(applied('core,patient\nA-1,"P1" b\nA-2,5" core\n')) == {"A-1": "P1 b", "A-2": '5" core'}
    with pytest.raises(CoresError, match="quotation mark in line 3 is never closed"):
        parse_map('core,patient\nA-1,P1\nA-2,"P2\nA-3,P3\n')


def workbook(path: Path, *sheets: list[list[object]], titles: tuple[str, ...] = ("one", "two", "three")) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in zip(titles, sheets, strict=False):
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_a_spreadsheet_is_read_as_it_looks(tmp_path: Path) -> None:
    head = ["Core", "Case ID", "Biopsy", "Seen", "ER", "Note"]
    row = ["A-1", 12.0, date(2024, 5, 6), datetime(2024, 5, 6, 7, 8), 0.5, None]
    other = ["A-2", "0013", None, None, True, "=cmd"]
    path = workbook(tmp_path / "map.xlsx", [], [["TMA 4"], [], head, row, [], other])
    tma_map = read_map(path)
    assert [r.line for r in tma_map.rows] == [4, 6]
    first, second = (r.values for r in tma_map.rows)
    expected = {"patient_id": "12", "Biopsy": "2024-05-06", "Seen": "2024-05-06 07:08:00", "ER": "0.5", "note": ""}
    assert first == expected
    assert (second["patient_id"], second["ER"]) == ("0013", "yes")


def test_of_several_sheets_the_first_is_read_and_the_others_are_named(tmp_path: Path) -> None:
    path = workbook(tmp_path / "map.xlsx", [["core", "patient"], ["A-1", 1]], [["core", "patient"], ["A-1", 2]])
    assert read_map(path).remarks == ('Only the sheet "one" was read, not "two".',)
    assert read_map(path, "two").rows[0].values == {"patient_id": "2"}
    with pytest.raises(CoresError, match='no sheet "four": its sheets are one, two'):
        read_map(path, "four")


def test_a_matrix_in_a_spreadsheet_has_numbers_for_patients(tmp_path: Path) -> None:
    rows: list[list[object]] = [[None, 1, 2, 3, 4], *(["ABC"[r], *range(4 * r, 4 * r + 4)] for r in range(3))]
    grid = apply_map(GRID, match_map(GRID, read_map(workbook(tmp_path / "map.xlsx", rows))))
    assert patients(grid) == {name: str(k) for k, name in enumerate(NAMES)}


def test_qupaths_own_map_is_a_matrix(tmp_path: Path) -> None:
    path = tmp_path / "tma.qpmap"
    path.write_text(matrix(head=True, side=True).replace("\n", "\r\n"), encoding="utf-8", newline="")
    assert patients(apply_map(GRID, match_map(GRID, read_map(path)))) == dict(zip(NAMES, PATIENTS, strict=True))


# --- what is refused ----------------------------------------------------------------------------------------------


def damaged_xlsx() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook")
    return buffer.getvalue()


def bomb_xlsx() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes(110 * 2**20))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "There is no file"),
        (b"", "is empty"),
        (b" \r\n,,\r\n", "is empty"),
        (b"just a line of prose\nand another\n", "is no table"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff", "is no table"),
        (b"\xff\xfea", "is no table"),
        (b"core,patient\n", "there is nothing below its column names"),
        (b"patient,age\nP1,3\nP2,4\n", "names patients but no cores: it needs a column core"),
        (b"\xd0\xcf\x11\xe0" + bytes(600), "protected by a password or is an old Excel file"),
        (b"PK\x03\x04" + bytes(40), "is damaged or no Excel file"),
        (damaged_xlsx(), "is damaged or no Excel file"),
        (bomb_xlsx(), "unpacks to 110 MB"),
        (b"a,b\n" * (MAX_ROWS + 1), "more than 100,000 rows"),
        (b"core,patient\n" + b",".join([b"x"] * 2_100_000), "that is no TMA map"),
        (bytes(MAX_BYTES + 1), "of at most 20 MB"),
    ],
    ids=range(15),
)
def test_what_is_no_map_is_refused_in_one_sentence(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "map.xlsx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CoresError, match=says) as error:
        read_map(path)
    assert "\n" not in str(error.value)


def test_a_map_of_another_slide_is_said_to_fit_nowhere() -> None:
    match = match_map(GRID, parse_map("core,patient\nK-7,P1\nK-8,P2\n"))
    assert match.problem == (
        "No row of the map fits a core: the map says K-7, K-8; the cores here are called A-1 to X-1."
    )
    assert [row.text for row in match.unmatched] == ["K-7", "K-8"]
    with pytest.raises(CoresError, match="fits a core"):
        apply_map(GRID, match)
    assert "find the cores first" in match_map(CoreGrid(), parse_map(matrix())).problem
    assert "find the cores first" in match_map(CoreGrid(), parse_map("core,patient\nK-7,P1\n")).problem


def outcome(read: Callable[[], TmaMap]) -> str:
    """What a user sees of a map: the summary, or why there is none."""
    try:
        match = match_map(GRID, read())
    except CoresError as error:
        return str(error)
    assert set(match.preview) == {core.name for core in GRID}
    return match.summary


@given(st.text(alphabet='ab1,;\t"\n\r -A\x00é', max_size=60))
def test_any_text_is_read_or_refused_in_one_sentence(text: str) -> None:
    assert "\n" not in outcome(lambda: parse_map(text))


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused_in_one_sentence(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(data)
    assert "\n" not in outcome(lambda: read_map(path))
