"""The packages behind the extras: imported late, named with their versions, their complaints in one line."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from types import ModuleType

from napari_her2.errors import ModelError

__all__ = ["imported", "packaged", "said"]


def imported(module: str, extra: str) -> ModuleType:
    """A module of the package behind an extra.

    Raises
    ------
    ModelError
        If it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ModelError(
            f'{module} cannot be imported ({error}): install it with python -m pip install "napari-her2[{extra}]".'
        ) from error


def packaged(distribution: str) -> str:
    """Name and version of an installed package."""
    return f"{distribution} {version(distribution)}"


def said(error: Exception) -> str:
    """The last line of what a library says is wrong, without its full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()[:200].rstrip(".")
