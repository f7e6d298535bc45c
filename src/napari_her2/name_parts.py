"""The name of a core taken apart, in whatever way people write it: A-1, a 1, A01, 1-A, 1:A-1, R2 C10."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["NameParts", "label", "name_parts"]

_PIECES = re.compile(r"[A-Za-z]+|\d+")
_ROW_COLUMN = re.compile(
    r"(?:(?P<block>.*?)[\W_]*)?\b(?:r|row)\W*(?P<row>\d+)\W*(?:c|col|column)\W*(?P<column>\d+)", re.I
)
#: Rows run to ZZ; longer words are words.
_LETTERS = 2


@dataclass(frozen=True)
class NameParts:
    """The two labels of a core's name, in the order in which they stand, and what stands before them.

    Attributes
    ----------
    first, second : str
        Letters in capitals, numbers without leading zeros.
    block : str
        In small letters; empty when the name has none.
    """

    first: str
    second: str
    block: str = ""

    @property
    def labels(self) -> tuple[str, str]:
        """Both labels."""
        return self.first, self.second

    @property
    def mixed(self) -> bool:
        """Whether one label is letters and the other a number, so that they can be told apart in either order."""
        return self.first.isdigit() != self.second.isdigit()


def label(text: str) -> str:
    """A label of a row or column as it is compared: capitals, no leading zeros, 12.0 as 12."""
    text = re.sub(r"^(\d+)\.0+$", r"\1", text.strip())
    return (text.lstrip("0") or "0") if text.isascii() and text.isdigit() else text.upper()


def name_parts(name: str) -> NameParts | None:
    """Take a core's name apart; None when it does not end in two labels, a row's and a column's.

    Examples
    --------
    >>> name_parts("2:A-04")
    NameParts(first='A', second='4', block='2')
    >>> name_parts("control") is None
    True
    """
    name = name.strip()
    if not name.isascii():
        return None
    spelled = _ROW_COLUMN.fullmatch(name)
    if spelled is not None:
        return NameParts(label(spelled["row"]), label(spelled["column"]), (spelled["block"] or "").casefold())
    pieces = list(_PIECES.finditer(name))
    if len(pieces) < 2 or pieces[-1].end() != len(name):
        return None
    first, second = pieces[-2], pieces[-1]
    parts = NameParts(label(first[0]), label(second[0]), name[: first.start()].rstrip(" -_.,:;/").casefold())
    letters = [piece[0] for piece in (first, second) if piece[0].isalpha()]
    # two numbers need something between them, and nothing before them that could belong to the first
    clear = parts.mixed or (not letters and not parts.block)
    return parts if clear and all(len(text) <= _LETTERS for text in letters) else None
