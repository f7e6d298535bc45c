"""`demo`, `models` and `sample`."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

__all__ = ["list_models", "run_demo", "show_model", "write_sample"]


def run_demo(folder: Path, no_viewer: bool) -> None:
    """The sample slide in the viewer; with no display, its results in `folder`."""
    from napari_her2.cli.measure import measuring
    from napari_her2.cli.options import MeasureOptions
    from napari_her2.cli.work import Options, work
    from napari_her2.models import load_model
    from napari_her2.sample import sample_slide

    if not no_viewer and _has_display() and importlib.util.find_spec("napari"):
        from napari_her2.viewer.demo import open_demo

        open_demo()
        return
    work([sample_slide()], folder, Options(overwrite=True, measure=measuring(MeasureOptions())), load_model())
    report = next(folder.glob("*.report.html"))
    why = "The" if no_viewer else "No display: the"
    typer.echo(f"{why} sample slide was scored into {folder}; open {report}.")


def _has_display() -> bool:
    if sys.platform in ("win32", "darwin"):
        return True
    return any(os.environ.get(variable) for variable in ("DISPLAY", "WAYLAND_DISPLAY"))


def write_sample(path: Path, seed: int, overwrite: bool) -> None:
    """Generate a slide and say where it is."""
    from napari_her2.files import check_folder
    from napari_her2.sample import write_sample_slide

    check_folder(path.parent)
    console = Console(stderr=True)
    with console.status("Generating tissue"):
        written = write_sample_slide(path, seed=seed, overwrite=overwrite)
    typer.echo(f"A generated slide was written to {written}.")


def list_models() -> None:
    """One line for each installed model."""
    from napari_her2.models import DEFAULT_MODEL, installed_models

    table = Table("model", "version", "MiB", "µm per pixel", "", box=None, pad_edge=False, header_style="bold")
    for model in installed_models():
        size = sum(file.stat().st_size for file in (model.weights_path, model.onnx_path)) / 2**20
        default = "default" if model.name == DEFAULT_MODEL else ""
        table.add_row(model.name, model.version, f"{size:.1f}", f"{model.spec.mpp:g}", default)
    Console().print(table if table.row_count else "No model is installed: install napari-her2 again.")


def show_model(name: str) -> None:
    """The card of a model, after its files were compared with their checksums."""
    from napari_her2.models import load_model

    model = load_model(name)
    model.verify()
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    facts: dict[str, Any] = {
        "model": f"{model.name} {model.version}",
        "checksum": f"{model.sha256} (files are unchanged)",
        "licence": model.licence,
        **model.card,
    }
    for key, value in facts.items():
        for n, (label, text) in enumerate(_lines(key.replace("_", " "), value)):
            table.add_row(label if n == 0 or label != key else "", text)
    Console().print(table)


def _lines(label: str, value: Any) -> list[tuple[str, str]]:
    """What is nested becomes one line each, its label in front."""
    if isinstance(value, dict):
        return [line for key, inner in value.items() for line in _lines(f"{label}: {key}".replace("_", " "), inner)]
    if isinstance(value, (list, tuple)):
        return [(label, ", ".join(str(v) for v in value))]
    return [(label, f"{value:.4g}" if isinstance(value, float) else str(value))]
