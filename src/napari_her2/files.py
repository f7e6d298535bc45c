"""Writing files so that what stands under its final name is whole: checked folders, safe names, rename at the end."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from napari_her2.errors import OutputError

__all__ = ["check_folder", "safe_name", "writing"]

#: Bytes of a name that leave room for the longest ending and a temporary prefix (file systems allow 255).
_MAX_NAME_BYTES = 180
_WINDOWS_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def safe_name(name: str) -> str:
    """A name that every file system takes as the name of one file in the folder asked for.

    Examples
    --------
    >>> safe_name("../TMA 3: HER2"), safe_name("nul"), safe_name("")
    ('_TMA 3_ HER2', '_nul', 'image')
    """
    name = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*]', "_", name).lstrip(". ")
    name = name.encode("utf-8", "replace")[:_MAX_NAME_BYTES].decode("utf-8", "ignore").rstrip(". ")
    return f"_{name}" if _WINDOWS_DEVICES.match(name) else name or "image"


def check_folder(folder: str | Path) -> Path:
    """Make the folder if need be, and see that files can be written there, before any work is done.

    Raises
    ------
    OutputError
        If it cannot be made or written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _refused(folder, error) from error
    return folder


@contextmanager
def writing(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary name in the folder of `path` to write to; it takes the name `path` when the block ends well.

    Raises
    ------
    OutputError
        If `path` exists and `overwrite` is False, or it cannot be written (folder, rights, full disk).
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already: choose another folder, or allow overwriting (--overwrite).")
    temporary = path.with_name(f".{uuid4().hex[:8]}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        temporary.unlink(missing_ok=True) if temporary.parent.is_dir() else None


def _refused(path: Path, error: OSError) -> OutputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(f"The disk of {path} is full: free some space, or choose another folder.")
    why = error.strerror or type(error).__name__
    return OutputError(f"{path} cannot be written ({why}): choose another folder with -o.")
