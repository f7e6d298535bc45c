"""Labels as users type them, names, and the scheme found again behind the names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_her2.cores import Core, CoreGrid
from napari_her2.errors import CoresError
from napari_her2.naming import Naming, core_name, extend_labels, label_beyond, naming_of, parse_labels


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("A-D", "A B C D"),
        (" a - c ", "a b c"),
        ("D-A", "D C B A"),
        ("1-3", "1 2 3"),
        ("03-01", "03 02 01"),
        ("08-11", "08 09 10 11"),
        ("Y-AB", "Y Z AA AB"),
        ("AB-Y", "AB AA Z Y"),
        ("A B D", "A B D"),
        ("A,B, D", "A B D"),
        ("A-C,E-F", "A B C E F"),
        ("7", "7"),
        ("liver kidney", "liver kidney"),
        ("1\u201316", " ".join(str(n) for n in range(1, 17))),
    ],
)
def test_labels_as_users_type_them(text: str, labels: str) -> None:
    assert parse_labels(text) == tuple(labels.split())


@pytest.mark.parametrize("text", ["", " , ", "A-", "-", "A-3", "A-B-C", "1-99999", "1-9999", "a-J", "2:A", "A--C"])
def test_text_that_is_no_label_string_is_refused(text: str) -> None:
    with pytest.raises(CoresError, match="a range such as A-J"):
        parse_labels(text)


def test_a_label_comes_once() -> None:
    with pytest.raises(CoresError, match="label B comes twice"):
        parse_labels("A-C B")
    with pytest.raises(CoresError, match="label 1 comes twice"):
        Naming(columns=("1", "2", "1"))


@pytest.mark.parametrize("label", ["", "A-B", "2:A", "a b"])
def test_a_label_cannot_hold_what_divides_a_name(label: str) -> None:
    with pytest.raises(CoresError, match="cannot label a row or column"):
        Naming(rows=(label,))


@pytest.mark.parametrize(
    ("labels", "count", "extended"),
    [
        ("A-J", 11, "A-K"),
        ("H-A", 9, "I-A"),
        ("H-A", 7, "G-A"),
        ("A-J", 3, "A-C"),
        ("01-09", 10, "01-10"),
        ("10-08", 4, "11-08"),
        ("y-z", 4, "y z aa ab"),
        ("A", 3, "A-C"),
        ("A B D", 5, "A B D E F"),
        ("B A D", 4, "B A D E"),
        ("1 2 4", 5, "1 2 4 5 6"),
        ("liver kidney", 4, "liver kidney C D"),
    ],
)
def test_labels_go_on_as_they_began(labels: str, count: int, extended: str) -> None:
    assert extend_labels(parse_labels(labels), count) == parse_labels(extended)


def test_usual_labels_where_there_are_none() -> None:
    assert extend_labels((), 3) == ("A", "B", "C")
    assert extend_labels((), 3, numbers=True) == ("1", "2", "3")
    assert extend_labels(("liver", "kidney"), 3, numbers=True) == ("liver", "kidney", "3")


@pytest.mark.parametrize(
    ("labels", "before", "after"),
    [("A-J", None, "K"), ("C-J", "B", "K"), ("H-A", "I", None), ("02-09", "01", "10"), ("A B D", "E", "E")],
)
def test_the_label_of_one_more_line(labels: str, before: str | None, after: str | None) -> None:
    assert label_beyond(parse_labels(labels), at_start=True) == before
    assert label_beyond(parse_labels(labels), at_start=False) == after


def test_names() -> None:
    naming = Naming(parse_labels("H-A"), parse_labels("01-16"))
    assert naming.name(0, 0) == "H-01"
    assert naming.name(7, 15, "2") == "2:A-16"
    assert Naming(row_first=False).name(1, 26) == "27-B"
    assert naming.sized(9, 20).name(0, 19) == "I-20"
    with pytest.raises(ValueError, match="0 or more"):
        naming.name(-1, 0)


ranges = st.builds(
    lambda first, count, down, make: tuple(make(n) for n in range(first, first + count))[:: -1 if down else 1],
    st.integers(0, 40),
    st.integers(1, 12),
    st.booleans(),
    st.sampled_from(
        [
            lambda n: extend_labels((), n + 1)[n],
            lambda n: extend_labels((), n + 1)[n].lower(),
            lambda n: str(n + 1),
            lambda n: f"{n + 1:02d}",
        ]
    ),
)
lists = st.lists(st.text("ABCdef123._", min_size=1, max_size=3), min_size=1, max_size=8, unique=True).map(tuple)
namings = st.builds(Naming, ranges | lists, ranges | lists, st.booleans())


@given(namings, st.data())
def test_the_scheme_is_found_again_behind_the_names(naming: Naming, data: st.DataObject) -> None:
    blocks = data.draw(st.sampled_from([("",), ("1", "2"), ("left", "right", "3:x")]))
    every = [(b, r, c) for b in blocks for r in range(len(naming.rows)) for c in range(len(naming.columns))]
    cells = data.draw(st.lists(st.sampled_from(every), min_size=1, unique=True))
    grid = CoreGrid(tuple(Core(naming.name(r, c, b), r, c, 9.0 * r, 9.0 * c, 8.0, block=b) for b, r, c in cells))
    again = naming_of(grid)
    assert [again.name(c.row, c.column, c.block) for c in grid] == [c.name for c in grid]
    # and the lines that nobody knows have labels of their own
    again = again.sized(20, 20)
    assert len({again.name(r, c) for r in range(20) for c in range(20)}) == 400


def _grid(naming: Naming, rows: int, columns: int) -> list[Core]:
    return [Core(naming.name(r, c), r, c, 9.0 * r, 9.0 * c, 8.0) for r in range(rows) for c in range(columns)]


_OWN = ["liver", "C-09", "control 1", "X-1", "1-1-1", "06-E", "E-E", "2:A-01", "A1"]


@given(
    st.dictionaries(st.integers(0, 29), st.sampled_from(_OWN), max_size=2).filter(
        lambda d: len({*d.values()}) == len(d)
    )
)
def test_names_of_their_own_do_not_hide_the_scheme(custom: dict[int, str]) -> None:
    naming = Naming(parse_labels("E-A"), parse_labels("01-06"))
    cores = _grid(naming, 5, 6)
    for n, name in custom.items():
        cores[n] = Core(name, cores[n].row, cores[n].column, cores[n].y, cores[n].x, 8.0)
    found = naming_of(CoreGrid((*cores, Core("A-7", -1, -1, 90, 90, 8))))
    assert found == naming


def test_lines_that_nobody_knows_are_labelled_as_their_neighbours_go_on() -> None:
    naming = Naming(parse_labels("G-A"), parse_labels("03-09"))
    cores = [c for c in _grid(naming, 7, 7) if c.row not in (0, 3) and c.column != 5]
    cores.append(Core("lone", 0, 5, 0, 0, 8))
    assert naming_of(CoreGrid(tuple(cores))) == naming


def test_where_both_orders_fit() -> None:
    def order(name: str) -> bool:
        return naming_of(CoreGrid((Core(name, 0, 0, 0, 0, 8),))).row_first

    assert order("A-1")
    assert order("2-3")
    assert order("B-A")
    assert not order("1-A")
    square = Naming(parse_labels("1-3"), parse_labels("1-3"), row_first=False)
    assert naming_of(CoreGrid(tuple(_grid(square, 3, 3)))) == square


def test_labels_of_one_block() -> None:
    cores = [Core(core_name(r, 0, "1"), r, 0, 9 * r, 0, 8, block="1") for r in range(2)]
    cores += [Core(Naming(parse_labels("E-A")).name(r, 0, "2"), r, 0, 9 * r, 50, 8, block="2") for r in range(5)]
    grid = CoreGrid(tuple(cores))
    assert naming_of(grid, "1") == Naming(("A", "B"), ("1",))
    assert naming_of(grid, "2") == Naming(parse_labels("E-A"), ("1",))


def test_rows_of_a_damaged_table_are_refused() -> None:
    with pytest.raises(CoresError, match="at most 1000"):
        naming_of(CoreGrid((Core("A-1", 0, 0, 0, 0, 8), Core("B-1", 10**9, 0, 9, 0, 8))))


def test_an_empty_grid_has_the_usual_scheme() -> None:
    assert naming_of(CoreGrid()) == Naming()
    assert naming_of(CoreGrid()).name(2, 3) == "C-4"
