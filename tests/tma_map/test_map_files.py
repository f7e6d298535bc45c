"""TMA maps from files: encodings, spreadsheets, and what is refused."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from maps import GRID, NAMES, PATIENTS, applied, matrix, patients

from napari_her2.cores import CoreGrid
from napari_her2.errors import CoresError
from napari_her2.spreadsheet import MAX_BYTES, MAX_ROWS
from napari_her2.tma_map import TmaMap, apply_map, match_map, parse_map, read_map


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
