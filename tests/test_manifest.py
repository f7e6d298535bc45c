from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_her2.errors import CoresError
from napari_her2.manifest import Manifest, ManifestCore, parse_score, read_manifest, split_by_patient

HEADER = "image,core,score,patient"


def write(folder: Path, *lines: str, header: str = HEADER, name: str = "manifest.csv") -> Path:
    for image in ("a.svs", "b.svs", "core.jpg", "a.cores.csv"):
        (folder / image).touch()
    path = folder / name
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_rows_are_read_and_paths_are_those_beside_the_manifest(tmp_path: Path):
    lines = ("a.svs,A-1,2+,p1,a.cores.csv", "a.svs,A-2,0,p2,a.cores.csv", "core.jpg,*,3,p1,", "b.svs,A-1,1,,")
    manifest = read_manifest(write(tmp_path, *lines, header="image,core,score,patient,cores"))
    assert [r.score for r in manifest.rows] == [2, 0, 3, 1]
    assert [r.core for r in manifest.rows] == ["A-1", "A-2", "", "A-1"]
    assert [r.line for r in manifest.rows] == [2, 3, 4, 5]
    assert manifest.rows[0].image == tmp_path / "a.svs"
    assert manifest.rows[0].cores == tmp_path / "a.cores.csv"
    assert manifest.rows[2].cores is None
    assert manifest.rows[3].person == "core in line 5"
    assert [len(rows) for rows in manifest.images.values()] == [2, 1, 1]
    assert manifest.name == "manifest.csv"


def test_semicolons_other_columns_and_capitals_do_no_harm(tmp_path: Path):
    path = write(tmp_path, "x;p1;a.svs;A-1;1+", header="Site;Patient;Image;Core;Score")
    (row,) = read_manifest(path).rows
    assert (row.patient, row.core, row.score) == ("p1", "A-1", 1)


@pytest.mark.parametrize(
    ("lines", "header", "says"),
    [
        (["a.svs,A-1,2+"], "image,core,score", "has no column patient"),
        (["1,2"], "x,y", "has no columns image, core, score, patient"),
        (["a.svs,A-1,2+,p,q"], "image,core,score,patient,patient", "two columns patient"),
        (["a.svs,A-1,high,p"], HEADER, r'line 2: the score is "high": it can be 0, 1\+, 2\+, 3\+'),
        (["a.svs,A-1,,p"], HEADER, 'the score is ""'),
        (["c.svs,A-1,1,p"], HEADER, "no image c.svs: paths are relative to the manifest"),
        ([",A-1,1,p"], HEADER, "line 2 names no image"),
        (["a.svs,A-1,1,p,c.csv"], f"{HEADER},cores", "no cores file c.csv"),
        (["a.svs,A-1,1,p", "a.svs,A-2,1,p", "./a.svs,A-1,2,p"], HEADER, "core A-1 of a.svs twice, in lines 2 and 4"),
        (["core.jpg,,1,p", "core.jpg,*,1,p"], HEADER, "image core.jpg twice"),
        (["a.svs,A-1,1,p", "a.svs,,1,p"], HEADER, "in line 3, one core"),
        (["a.svs,A-1,1,p,a.cores.csv", "a.svs,A-2,1,p,"], f"{HEADER},cores", "different cores files"),
        (["a.svs,A-1,1,p,train", "b.svs,A-1,1,p,test"], f"{HEADER},split", "patient p is in split train"),
        (["a.svs,A-1,1,p,train", "b.svs,A-1,1,q,"], f"{HEADER},split", "line 3 has no split"),
        ([], HEADER, "no core|no table"),
    ],
)
def test_what_is_wrong_is_one_sentence(lines: list[str], header: str, says: str, tmp_path: Path):
    with pytest.raises(CoresError, match=says) as caught:
        read_manifest(write(tmp_path, *lines, header=header))
    assert "\n" not in str(caught.value)


def test_no_manifest(tmp_path: Path):
    with pytest.raises(CoresError, match="no file"):
        read_manifest(tmp_path / "absent.csv")


def test_one_split_of_several(tmp_path: Path):
    path = write(tmp_path, "a.svs,A-1,1,p,train", "b.svs,A-1,2,q,test", header=f"{HEADER},split")
    manifest = read_manifest(path)
    assert manifest.splits == ("train", "test")
    assert [r.patient for r in manifest.of_split("test").rows] == ["q"]
    with pytest.raises(CoresError, match='no split "blind": its splits are train, test'):
        manifest.of_split("blind")


@given(st.text(max_size=5))
def test_a_score_is_one_of_four_or_none(text: str):
    score = parse_score(text)
    assert score is None or str(score) in text


def test_all_ways_to_write_a_score():
    assert [parse_score(t) for t in ("0", "1", "1+", "2.0", "3 +", "0+", "", "1++", "03")] == [
        *(0, 1, 1, 2, 3),
        *(None, None, None, None),
    ]


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    rows = draw(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), min_size=3, max_size=80))
    rows = [(0, 0), (1, 1), (2, 2), *rows]
    cores = tuple(ManifestCore(k + 2, Path("a"), f"A-{k}", score, f"p{who}") for k, (who, score) in enumerate(rows))
    return Manifest("m.csv", "", cores)


@given(manifests(), st.integers(0, 5))
def test_a_patient_is_in_one_split_whatever_the_order(manifest: Manifest, seed: int):
    shares = {"train": 0.7, "validation": 0.1, "test": 0.2}
    split = split_by_patient(manifest, shares, seed=seed)
    of_patient = {(row.patient, row.split) for row in split.rows}
    assert len(of_patient) == len({row.patient for row in manifest.rows})
    assert set(split.splits) == set(shares)
    turned = split_by_patient(Manifest("m.csv", "", manifest.rows[::-1]), shares, seed=seed)
    assert {(r.core, r.split) for r in turned.rows} == {(r.core, r.split) for r in split.rows}


def test_every_split_gets_its_share_of_each_score():
    rows = tuple(ManifestCore(k, Path("a"), f"A-{k}", (k % 20 == 0) + 2 * (k % 5 == 1), f"p{k}") for k in range(200))
    split = split_by_patient(Manifest("m.csv", "", rows), {"train": 0.8, "test": 0.2})
    cores = Counter((r.split, r.score) for r in split.rows)
    assert [cores["test", s] for s in (0, 1, 2)] == [30, 2, 8]
    again = split_by_patient(Manifest("m.csv", "", rows), {"train": 0.8, "test": 0.2}, seed=1)
    assert again.rows != split.rows


def test_more_splits_than_patients():
    rows = (ManifestCore(2, Path("a"), "A-1", 1, "p"), ManifestCore(3, Path("a"), "A-2", 1, "p"))
    with pytest.raises(CoresError, match="1 patients: 2 splits"):
        split_by_patient(Manifest("m.csv", "", rows), {"train": 1, "test": 1})
