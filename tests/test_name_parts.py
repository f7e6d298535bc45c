from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_her2.name_parts import NameParts, label, name_parts
from napari_her2.naming import core_name


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("A-1", NameParts("A", "1")),
        (" a 01 ", NameParts("A", "1")),
        ("1-A", NameParts("1", "A")),
        ("AB12", NameParts("AB", "12")),
        ("2:A-4", NameParts("A", "4", "2")),
        ("Left B_7", NameParts("B", "7", "left")),
        ("R2 C10", NameParts("2", "10")),
        ("b1: row 3, col 12", NameParts("3", "12", "b1")),
        ("12-3", NameParts("12", "3")),
        ("00-000", NameParts("0", "0")),
        *((name, None) for name in ("", "A", "7", "control", "new-1", "TMA1", "1 2 3", "A(1)", "Ä1", "-")),
    ],
)
def test_a_name_is_taken_apart(name: str, parts: NameParts | None) -> None:
    assert name_parts(name) == parts


def test_labels_are_compared_without_zeros_case_and_decimals() -> None:
    assert [label(text) for text in ("007", "12.0", " ab ", "0", "1.5")] == ["7", "12", "AB", "0", "1.5"]


@given(st.integers(0, 701), st.integers(0, 99), st.sampled_from(["", "2", "left"]))
def test_our_own_names_are_understood(row: int, column: int, block: str) -> None:
    name = core_name(row, column, block)
    parts = name_parts(name)
    assert parts is not None
    assert (parts.block, core_name(row, column)) == (block, "-".join(parts.labels))


@given(st.text(max_size=20))
def test_any_text_is_a_name_or_none(text: str) -> None:
    parts = name_parts(text)
    assert parts is None or all(parts.labels)
