"""Choosing cores on the layer: all, none, the others, whole rows and columns."""

from __future__ import annotations

from napari.layers import Shapes

from napari_her2.cores import CoreState

__all__ = [
    "invert",
    "select_all",
    "select_columns",
    "select_none",
    "select_patients",
    "select_rows",
    "selected_names",
    "selection_text",
]


def selected_names(layer: Shapes) -> list[str]:
    """Names of the selected cores, in the order of the layer."""
    names = layer.features["core"]
    return [str(names.iloc[i]) for i in sorted(layer.selected_data) if i < len(names)]


def selection_text(layer: Shapes) -> str:
    """How many are selected, as in "7 of 140 cores selected"."""
    chosen = [i for i in layer.selected_data if i < layer.nshapes]
    text = f"{len(chosen)} of {layer.nshapes} cores selected"
    empty = sum(layer.features["state"].iloc[i] != CoreState.TISSUE for i in chosen)
    return f"{text}, {empty} without tissue" if empty else text


def select_all(layer: Shapes) -> None:
    """Select every core that holds tissue."""
    layer.selected_data = _tissue(layer)


def select_none(layer: Shapes) -> None:
    """Select nothing."""
    layer.selected_data = set()


def invert(layer: Shapes) -> None:
    """Select the cores with tissue that are not selected."""
    layer.selected_data = _tissue(layer) - set(layer.selected_data)


def select_rows(layer: Shapes) -> None:
    """Widen the selection to the whole rows of the cores selected."""
    _widen(layer, "row")


def select_columns(layer: Shapes) -> None:
    """Widen the selection to the whole columns of the cores selected."""
    _widen(layer, "column")


def select_patients(layer: Shapes) -> None:
    """Widen the selection to all cores of the patients of the cores selected."""
    patients = list(layer.features["patient_id"])
    wanted = {patients[i] for i in layer.selected_data if patients[i]}
    layer.selected_data = {i for i in _tissue(layer) if patients[i] in wanted} | set(layer.selected_data)


def _widen(layer: Shapes, axis: str) -> None:
    lines = list(zip(layer.features["block"], layer.features[axis], strict=True))
    # cores off the grid stand in row -1 and column -1, which are no lines
    wanted = {lines[i] for i in layer.selected_data if lines[i][1] >= 0}
    layer.selected_data = {i for i in _tissue(layer) if lines[i] in wanted} | set(layer.selected_data)


def _tissue(layer: Shapes) -> set[int]:
    return {i for i, state in enumerate(layer.features["state"]) if state == CoreState.TISSUE}
