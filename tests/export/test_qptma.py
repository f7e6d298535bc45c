"""QuPath's grid file: written so that its reader takes it, and read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.errors import CoresError
from napari_her2.export import read_cores
from napari_her2.export.qptma import read_qptma, write_qptma


def grid_of(rows: int = 2, columns: int = 3, block: str = "", x: float = 0) -> CoreGrid:
    return CoreGrid(
        tuple(
            Core(
                f"{block}{':' * bool(block)}{'ABC'[r]}-{c + 1}",
                r,
                c,
                50.5 + 100 * r,
                x + 60.25 + 100 * c,
                70.5,
                block=block,
            )
            for r in range(rows)
            for c in range(columns)
        )
    )


def as_qupath_reads(path: Path) -> tuple[int, int, list[list[str]]]:
    """Width, height and cells, by the rules of QuPath's own reader: the line below the sizes names the columns."""
    lines = path.read_text(encoding="utf-8").splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("TMA grid height:"))
    width, height = (int(lines[at - 1 + k].split(":")[1]) for k in (0, 1))
    assert lines[at + 1].split("\t") == ["Core name", "X", "Y", "Width", "Height", "Present", "Case ID"]
    return width, height, [line.split("\t") for line in lines[at + 2 :] if line.strip()]


def test_every_cell_is_written_row_by_row(tmp_path: Path) -> None:
    cores = [replace(core, patient_id="P 1") if core.name == "A-1" else core for core in grid_of()]
    cores[3] = replace(cores[3], state=CoreState.EXCLUDED)
    cores = [core for core in cores if core.name != "A-3"]
    off = Core("X-1", -1, -1, -500, 0, 70)
    path = tmp_path / "tma.qptma"
    assert write_qptma(path, CoreGrid((off, *cores[::-1])), r"C:\secret\tma 1.svs") == ("X-1",)
    assert path.read_text(encoding="utf-8").startswith("tma 1.svs\ntma 1.svs\n\n")
    width, height, cells = as_qupath_reads(path)
    assert (width, height) == (3, 2)
    assert [cell[0] for cell in cells] == ["A-1", "A-2", "A-3", "B-1", "B-2", "B-3"]
    assert cells[0] == ["A-1", "25", "15.25", "70.5", "70.5", "true", "P 1"]
    assert [cell[5] for cell in cells] == ["true", "true", "false", "false", "true", "true"]
    assert [float(value) for value in cells[2][1:5]] == pytest.approx([225, 15.25, 70.5, 70.5], abs=1)


def test_names_and_patients_stay_on_one_line(tmp_path: Path) -> None:
    core = Core("A\t1\n", 0, 0, 5, 5, 2, patient_id="P\r\n1\tb")
    write_qptma(tmp_path / "a.qptma", CoreGrid((core,)), "a\nb/c")
    assert as_qupath_reads(tmp_path / "a.qptma")[2] == [["A 1", "4", "4", "2", "2", "true", "P 1 b"]]


@given(
    st.lists(st.tuples(st.floats(-1e5, 1e6), st.floats(-1e5, 1e6), st.floats(1, 1e4)), min_size=6, max_size=6),
    st.lists(st.sampled_from([CoreState.TISSUE, CoreState.MISSING]), min_size=6, max_size=6),
    st.lists(st.text("Pß1 2.-", max_size=6).map(lambda t: " ".join(t.split())), min_size=6, max_size=6),
)
def test_it_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    places: list[tuple[float, float, float]],
    states: list[CoreState],
    patients: list[str],
) -> None:
    grid = CoreGrid(
        tuple(
            replace(core, y=y, x=x, diameter=d, state=state, patient_id=patient)
            for core, (y, x, d), state, patient in zip(grid_of(), places, states, patients, strict=True)
        )
    )
    path = tmp_path_factory.getbasetemp() / "back.qptma"
    write_qptma(path, grid, "tma")
    back = read_cores(path)
    for core, other in zip(grid, back, strict=True):
        assert (other.y, other.x, other.diameter) == pytest.approx((core.y, core.x, core.diameter), abs=1e-3)
        assert replace(other, y=core.y, x=core.x, diameter=core.diameter) == core


def test_several_blocks_become_one_grid(tmp_path: Path) -> None:
    path = tmp_path / "tma.qptma"
    write_qptma(path, CoreGrid((*grid_of(block="1"), *grid_of(block="2", x=400))), "tma")
    width, height, cells = as_qupath_reads(path)
    assert (width, height, len(cells)) == (6, 2, 12)
    assert [float(cell[1]) for cell in cells[:6]] == [25, 125, 225, 425, 525, 625]
    assert [cell[0] for cell in cells[2:4]] == ["1:A-3", "2:A-1"]


def test_what_is_no_rectangle_is_told(tmp_path: Path) -> None:
    cores = grid_of().cores
    twice = replace(cores[0], name="A-1b", y=55.0)
    assert write_qptma(tmp_path / "a.qptma", CoreGrid((*cores, twice)), "tma") == ("A-1b",)
    far = replace(cores[0], name="far", row=10_000, column=10_000)
    with pytest.raises(CoresError, match="in more rows and columns than a TMA can have"):
        write_qptma(tmp_path / "a.qptma", CoreGrid((*cores, far)), "tma")


QUPATH = (
    "BioFormatsImageServer: file:/data/tma.svs\r\ntma.svs\r\n\r\nTMA grid width: 2\r\nTMA grid height: 2\r\n{gap}"
    "Core name\tX\tY\tWidth\tHeight\tPresent\t{case}\r\n"
    "A-1\t10\t20\t100\t101\ttrue\tP1\r\nA-2\t210\t20,5\t100\t100\tfalse\t\r\n"
    "B-1\t\t\t\t\r\n\t210\t220\t100\t100\ttrue\tMüller\r\n"
)


@pytest.mark.parametrize("case", ["Case ID", "Unique ID"])
@pytest.mark.parametrize("gap", ["", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_what_qupath_writes_is_read(tmp_path: Path, case: str, gap: str, encoding: str) -> None:
    path = tmp_path / "tma.qptma"
    path.write_bytes(QUPATH.format(case=case, gap=gap).encode(encoding))
    first, second, last = read_cores(path)  # B-1 has no place
    assert first == Core("A-1", 0, 0, y=70.5, x=60, diameter=101, patient_id="P1")
    assert (second.name, second.y, second.state) == ("A-2", 70.5, CoreState.MISSING)
    assert (last.name, last.row, last.column, last.patient_id) == ("B-2", 1, 1, "Müller")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no TMA grid of QuPath"),
        ("TMA grid width: 2\nTMA grid height: many\nX\tY\tWidth\tHeight\n", "is no TMA grid of QuPath"),
        ("TMA grid width: 2\nTMA grid height: 2\nCore name\tX\tY\n", "is no TMA grid of QuPath"),
        ("TMA grid width: 2\nTMA grid height: 1\nX\tY\tWidth\tHeight\n1\t2\t3\t4\n", "1 cores where 1 rows of 2"),
        (
            "TMA grid width: 1\nTMA grid height: 1\nX\tY\tWidth\tHeight\n1\tb\t3\t4\n",
            "core A-1 in a.qptma is no number",
        ),
        ("TMA grid width: 1\nTMA grid height: 1\nX\tY\tWidth\tHeight\n1\tnan\t3\t4\n", "core A-1 in a.qptma is no"),
        (
            "TMA grid width: 1\nTMA grid height: 1\nX\tY\tWidth\tHeight\n1\t2\t0\t0\n",
            "core A-1 in a.qptma is no number",
        ),
        ("TMA grid width: 1\nTMA grid height: 1\nX\tY\tWidth\tHeight\tPresent\n\t\t\t\ttrue\n", "no core with a place"),
        (
            "TMA grid width: 2\nTMA grid height: 1\nCore name\tX\tY\tWidth\tHeight\nA\t1\t2\t3\t4\nA\t1\t2\t3\t4\n",
            "a.qptma: Two cores are called A",
        ),
    ],
    ids=range(9),
)
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "a.qptma"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CoresError, match=says):
        read_cores(path)


def test_a_grid_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CoresError, match="No core is in a row and column"):
        write_qptma(tmp_path / "a.qptma", CoreGrid((Core("X-1", -1, -1, 0, 0, 5),)), "tma")
    with pytest.raises(CoresError, match="There is no file"):
        read_qptma(tmp_path / "a.qptma")
