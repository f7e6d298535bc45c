"""Cores that were punched from the same patient."""

from __future__ import annotations

from napari_her2.cores import CoreGrid

__all__ = ["replicates"]


def replicates(grid: CoreGrid) -> dict[str, list[str]]:
    """Patients of whom more than one core holds tissue, in the order in which they come, with the names of those."""
    names: dict[str, list[str]] = {}
    for core in grid.scorable:
        if core.patient_id:
            names.setdefault(core.patient_id, []).append(core.name)
    return {patient: cores for patient, cores in names.items() if len(cores) > 1}
