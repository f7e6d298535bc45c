from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_her2.errors import OutputError
from napari_her2.files import check_folder, safe_name, writing


@given(st.text())
def test_a_safe_name_names_one_file_in_its_folder(name: str) -> None:
    safe = safe_name(name)
    assert safe
    assert Path(safe).name == safe
    assert not set(safe) & set('<>:"/\\|?*\0\n')
    assert not safe.startswith((".", " "))
    assert not safe.endswith((".", " "))
    assert len(safe.encode()) <= 181
    assert safe_name(safe) == safe


@pytest.mark.parametrize(
    ("name", "safe"),
    [("slide 1", "slide 1"), ("../../etc/passwd", "_.._etc_passwd"), ("CON.tif", "_CON.tif"), ("..", "image")],
)
def test_safe_names(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def write_half(path: Path, error: Exception, *, overwrite: bool = False) -> None:
    with writing(path, overwrite=overwrite) as temporary:
        temporary.write_text("half")
        assert temporary.parent == path.parent
        raise error


def test_a_file_takes_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(RuntimeError):
        write_half(path, RuntimeError())
    assert list(tmp_path.iterdir()) == []
    with writing(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "whole"


def test_overwriting_must_be_asked_for_and_a_failure_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OutputError, match="exists already"), writing(path):
        pass
    with pytest.raises(RuntimeError):
        write_half(path, RuntimeError(), overwrite=True)
    assert path.read_text() == "old"
    with writing(path, overwrite=True) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"disk of .* is full"):
        write_half(tmp_path / "a.txt", OSError(errno.ENOSPC, "No space left on device"))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        with pytest.raises(OutputError, match="cannot be written"):
            check_folder(folder)
    with pytest.raises(OutputError, match="cannot be written"), writing(tmp_path / "absent" / "a.txt") as temporary:
        temporary.write_text("")
    assert check_folder(tmp_path / "new" / "deep").is_dir()
