"""``MANIFEST.csv``: cores of known score, each with its image and its patient.

Columns: ``image, core, score, patient``; optionally ``cores`` (the file with the cores of the slide) and ``split``.
Files are named relative to the manifest. ``core`` is the name of a core on the slide, or empty or ``*`` where the image
is one core.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_her2.errors import CoresError
from napari_her2.scores import SCORES
from napari_her2.spreadsheet import Sheet, read_sheet, unescaped

__all__ = ["Manifest", "ManifestCore", "parse_score", "read_manifest", "split_by_patient"]

_NEEDED = ("image", "core", "score", "patient")
_OPTIONAL = ("cores", "split")


@dataclass(frozen=True)
class ManifestCore:
    """One row.

    Attributes
    ----------
    line : int
        Where it stands in the file, from 1.
    image : Path
        Of the slide, or of the one core.
    core : str
        Name on the slide; "" where the image is one core.
    score : int
        0 to 3.
    patient : str
        "" where it is not known: the core then stands for a patient of its own.
    cores : Path or None
        File with the cores of the slide.
    split : str
        Such as "train" or "test"; "" where there is none.
    """

    line: int
    image: Path
    core: str
    score: int
    patient: str
    cores: Path | None = None
    split: str = ""

    @property
    def person(self) -> str:
        """The patient, or what stands for one."""
        return self.patient or f"core in line {self.line}"


@dataclass(frozen=True)
class Manifest:
    """Cores of known score.

    Attributes
    ----------
    name : str
        File name.
    sha256 : str
        Checksum of the file, hexadecimal.
    rows : tuple of ManifestCore
        In the order of the file.
    """

    name: str
    sha256: str
    rows: tuple[ManifestCore, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def images(self) -> dict[Path, list[ManifestCore]]:
        """The rows of each image, in the order in which the images appear."""
        out: dict[Path, list[ManifestCore]] = {}
        for row in self.rows:
            out.setdefault(row.image, []).append(row)
        return out

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, in order of appearance."""
        return tuple(dict.fromkeys(row.split for row in self.rows if row.split))

    def of_split(self, name: str) -> Manifest:
        """The rows of one split.

        Raises
        ------
        CoresError
            If there is no such split.
        """
        if name not in self.splits:
            known = ", ".join(self.splits) or "none"
            raise CoresError(f'{self.name} has no split "{name}": its splits are {known}.')
        return replace(self, rows=tuple(row for row in self.rows if row.split == name))


def parse_score(text: str) -> int | None:
    """The score that a cell means: 0, 1, 1+, 2, 2+, 3, 3+; None where it means none.

    Examples
    --------
    >>> parse_score("2+"), parse_score(" 3 "), parse_score("1.0"), parse_score("+"), parse_score("4")
    (2, 3, 1, None, None)
    """
    text = text.strip().replace(" ", "")
    plain = text.removesuffix("+").removesuffix(".0")
    if plain not in ("0", "1", "2", "3") or (plain == "0" and text.endswith("+")):
        return None
    return int(plain)


def read_manifest(path: str | Path) -> Manifest:
    """Read and check a manifest; see the module for its columns.

    Parameters
    ----------
    path : str or Path
        Text separated by comma, semicolon or tab, or XLSX. Columns of other names are passed over.

    Raises
    ------
    CoresError
        In one sentence with its line: no file, a missing column, an unknown score, an image or cores file that is not
        there, a core named twice, an image that is one core and a slide at once, a patient in two splits, no row.
    """
    path = Path(path)
    sheet = read_sheet(path)
    columns = _columns(sheet, path.name)
    rows = []
    for line, cells in zip(sheet.lines[1:], sheet.rows[1:], strict=True):
        if any(cells):
            rows.append(_row(path, line, {name: unescaped(cells[k].strip()) for name, k in columns.items()}))
    if not rows:
        raise CoresError(f"{path.name} names no core: give one row for each core, under {', '.join(_NEEDED)}.")
    _check_cores(path.name, rows)
    _check_splits(path.name, rows)
    return Manifest(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), tuple(rows))


def _columns(sheet: Sheet, name: str) -> dict[str, int]:
    header = [cell.strip().casefold() for cell in sheet.rows[0]] if sheet.rows else []
    lacking = [column for column in _NEEDED if column not in header]
    if lacking:
        what = f"column {lacking[0]}" if len(lacking) == 1 else f"columns {', '.join(lacking)}"
        raise CoresError(f"{name} has no {what}: a manifest needs {', '.join(_NEEDED)}.")
    for column in (*_NEEDED, *_OPTIONAL):
        if header.count(column) > 1:
            raise CoresError(f"{name} has two columns {column}: keep one of them.")
    return {column: header.index(column) for column in (*_NEEDED, *_OPTIONAL) if column in header}


def _row(path: Path, line: int, cells: Mapping[str, str]) -> ManifestCore:
    where = f"{path.name}, line {line}"
    score = parse_score(cells["score"])
    if score is None:
        raise CoresError(f'{where}: the score is "{cells["score"]}": it can be {", ".join(SCORES)}.')
    if not cells["image"]:
        raise CoresError(f"{where} names no image.")
    image = path.parent / cells["image"]
    if not image.is_file():
        raise CoresError(f"{where}: there is no image {cells['image']}: paths are relative to the manifest.")
    cores = path.parent / cells["cores"] if cells.get("cores") else None
    if cores is not None and not cores.is_file():
        raise CoresError(f"{where}: there is no cores file {cells['cores']}: paths are relative to the manifest.")
    core = "" if cells["core"] == "*" else cells["core"]
    return ManifestCore(line, image, core, score, cells["patient"], cores, cells.get("split", ""))


def _check_cores(name: str, rows: list[ManifestCore]) -> None:
    first: dict[tuple[Path, str], ManifestCore] = {}
    for row in rows:
        earlier = first.setdefault((row.image.resolve(), row.core), row)
        if earlier is not row:
            what = f"core {row.core} of {row.image.name}" if row.core else f"image {row.image.name}"
            raise CoresError(f"{name} names {what} twice, in lines {earlier.line} and {row.line}: keep one of them.")
    files: dict[Path, ManifestCore] = {}
    for row in rows:
        earlier = files.setdefault(row.image.resolve(), row)
        if bool(earlier.core) != bool(row.core):
            whole = row.line if not row.core else earlier.line
            raise CoresError(
                f"{name}: {row.image.name} is a slide with cores and, in line {whole}, one core: name its core there."
            )
        if earlier.cores != row.cores:
            raise CoresError(
                f"{name}: lines {earlier.line} and {row.line} give {row.image.name} different cores files: give one."
            )


def _check_splits(name: str, rows: list[ManifestCore]) -> None:
    if not any(row.split for row in rows):
        return
    first: dict[str, ManifestCore] = {}
    for row in rows:
        if not row.split:
            raise CoresError(f"{name}, line {row.line} has no split, others have: give every row one, or none.")
        earlier = first.setdefault(row.person, row)
        if earlier.split != row.split:
            raise CoresError(
                f"{name}: patient {row.patient} is in split {earlier.split} (line {earlier.line}) and in {row.split} "
                f"(line {row.line}): a patient belongs to one, or the figures flatter."
            )


def split_by_patient(manifest: Manifest, shares: Mapping[str, float], *, seed: int = 0) -> Manifest:
    """Give every row a split, all cores of a patient the same; splits that are there are replaced.

    Patients are drawn in random order, each to the split that lacks most cores of the patient's highest score, so that
    every split gets its share of the rare scores. The order of the rows changes nothing.

    Parameters
    ----------
    manifest : Manifest
    shares : mapping of str to float
        Share of each split, more than 0; they need not sum to 1.
    seed : int
        Another seed draws other patients.

    Raises
    ------
    CoresError
        If there are fewer patients than splits.
    """
    cores: dict[str, list[int]] = {}
    for row in manifest.rows:
        cores.setdefault(row.person, []).append(row.score)
    if len(cores) < len(shares):
        raise CoresError(f"{manifest.name} has {len(cores)} patients: {len(shares)} splits need one each.")
    names, total = list(shares), sum(shares.values())
    wanted = np.array([shares[name] / total for name in names])
    people = sorted(cores)
    order = [people[k] for k in np.random.default_rng(seed).permutation(len(people))]
    # many cores first: what is left over must be small
    order.sort(key=lambda person: -len(cores[person]))
    given = np.zeros((len(names), len(SCORES)))
    of_patient: dict[str, str] = {}
    for person in order:
        high = max(cores[person])
        behind = wanted * (given[:, high].sum() + len(cores[person])) - given[:, high]
        empty = [k for k in range(len(names)) if not given[k].any()]
        left = len(order) - len(of_patient)
        chosen = empty[0] if len(empty) >= left else int(np.argmax(behind))
        given[chosen, high] += len(cores[person])
        of_patient[person] = names[chosen]
    return replace(manifest, rows=tuple(replace(row, split=of_patient[row.person]) for row in manifest.rows))
