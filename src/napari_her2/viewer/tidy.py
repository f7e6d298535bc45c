"""After the user has drawn, moved, copied or deleted shapes: features that agree with the shapes again."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from napari.layers import Shapes

from napari_her2.cores import CoreState
from napari_her2.table import COLUMNS, TEXT_COLUMNS
from napari_her2.viewer.cores_layer import SCORE_COLUMNS, appearance, geometry, is_near, user_note, write_features

__all__ = ["moved_cores", "put_back", "tidy"]


def moved_cores(layer: Shapes) -> list[str]:
    """Names of the scored cores whose shapes no longer lie where they were scored."""
    table = layer.features
    away = ~is_near(geometry(layer), _noted(layer))
    scored = (table["her2_score"] != "").to_numpy() & (table["core"] != "").to_numpy()
    return [str(n) for n in table["core"][away & scored & ~_copies(layer)]]


def put_back(layer: Shapes, names: Iterable[str]) -> None:
    """Move shapes back to where their features say that they were."""
    wanted = set(names)
    now, noted, data = geometry(layer), _noted(layer), list(layer.data)
    for i, name in enumerate(layer.features["core"]):
        if name in wanted and np.isfinite(noted[i]).all():
            data[i] = noted[i, :2] + (data[i] - now[i, :2]) * (noted[i, 2] / now[i, 2])
    layer.data = data


def tidy(layer: Shapes) -> list[str]:
    """Make the features agree with the shapes.

    A shape without a name, or with the name of an earlier one, is a new core: it gets a name of its own ("new-1")
    and no score. A core that lies elsewhere than where it was scored loses its score.

    Returns
    -------
    list of str
        Names of the new cores.
    """
    table = layer.features.copy()
    now, noted = geometry(layer), _noted(layer)
    new = (table["core"].fillna("") == "").to_numpy() | _copies(layer)
    changed = new | ~is_near(now, noted)
    if not changed.any():
        return []
    um = (table["diameter_um"] / table["diameter"]).median()
    for column in ("patient_id", "reader_score", "block", "note", *SCORE_COLUMNS):
        rows = changed if column in SCORE_COLUMNS else new
        table.loc[rows, column] = "" if column in TEXT_COLUMNS else np.nan
    table["note"] = [user_note(n) if c else n for n, c in zip(table["note"], changed, strict=True)]
    taken, names = set(table["core"][~new]), []
    for _ in range(int(new.sum())):
        number = next(n for n in range(1, len(table) + 2) if f"new-{n}" not in taken)
        names.append(f"new-{number}")
        taken.add(names[-1])
    table.loc[new, "core"] = names
    table.loc[new, "state"] = str(CoreState.TISSUE)
    table.loc[new, ["row", "column"]] = -1
    if len(table) > new.sum():
        table.loc[new, "image"] = table["image"][~new].iloc[0]
    for k, column in enumerate(("y", "x", "diameter")):
        table.loc[changed, column] = now[changed, k]
        table.loc[changed, f"{column}_um"] = now[changed, k] * um
    write_features(layer, table[[*COLUMNS, *(c for c in table.columns if c not in COLUMNS)]])
    layer.edge_width = appearance(table)[1]
    return names


def _noted(layer: Shapes) -> npt.NDArray[np.float64]:
    """Places as the features have them, in the manner of `geometry`."""
    return np.asarray(layer.features[["y", "x", "diameter"]].to_numpy(np.float64))


def _copies(layer: Shapes) -> npt.NDArray[np.bool_]:
    names = layer.features["core"]
    return np.asarray(names.duplicated().to_numpy())
