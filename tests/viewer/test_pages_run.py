"""Pages of cores, written by the viewer's Export on the slide of two cores."""

# ruff: noqa: F401, F811 (fixtures)

from __future__ import annotations

import errno
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_measuring import PICTURE, STAINS, grid_of_discs, image, measured, measuring, ready, said

from napari_her2.export import Run
from napari_her2.measure import MeasureParams
from napari_her2.scores import Places
from napari_her2.slide import Slide
from napari_her2.viewer import ask, pages_run
from napari_her2.viewer.cores_scores import set_scores
from napari_her2.viewer.measuring import Measuring
from napari_her2.viewer.pages_run import export_with_pages, why_no_pages
from napari_her2.viewer.stain_layers import keep_stains

UPPER = Places(*(np.array(a, float) for a in ([100, 300], [200, 200], [200, 200], [3, 0], [1, 0], [1, 0])))


def export(measuring, qtbot, folder: Path) -> None:
    export_with_pages(measuring, folder)
    qtbot.waitUntil(lambda: not measuring.session.working, timeout=120_000)


def links(folder: Path) -> list[str]:
    """Pages that the report of a folder links to."""
    return re.findall(r'href="(tma\.pages/[^"]+)"', (folder / "tma.report.html").read_text(encoding="utf-8"))


def cells(folder: Path, core: str) -> list[int]:
    """How many outlines of cells the page of a core has, path by path."""
    text = (folder / f"tma.pages/{core}.html").read_text(encoding="utf-8")
    return [path.count("M") for path in re.findall(r'<path d="(M[^"]*Z)"', text)]


def test_the_pages_show_the_cells_of_the_table_and_the_report_links_to_them(measured, qtbot, tmp_path):
    export(measured, qtbot, tmp_path)
    assert said(measured) == (f"2 of 2 pages written to {tmp_path}: tma.report.html links to them.", False)
    assert links(tmp_path) == ["tma.pages/A-1.html", "tma.pages/A-2.html"]
    assert not list(tmp_path.rglob(".*"))
    assert sum(cells(tmp_path, "A-1")) == measured.measured()["A-1"].count > 60  # the whole core is in the picture


def test_regions_and_tumour_count_as_they_did_when_a_core_was_measured(measured, qtbot, score_of, tmp_path):
    session, before = measured.session, measured.measured()["A-1"].count
    set_scores(session.cores_layer, session.slide, [replace(score_of(session.grid()["A-1"], "3+"), places=UPPER)])
    session.changed.emit()
    export(measured, qtbot, tmp_path / "before")
    assert said(measured)[1]
    assert "A-1 was scored after it was measured, measure it again." in said(measured)[0]
    assert links(tmp_path / "before") == ["tma.pages/A-2.html"]
    measured.measure(["A-1"])
    qtbot.waitUntil(lambda: not session.working, timeout=60_000)
    export(measured, qtbot, tmp_path / "after")
    assert links(tmp_path / "after") == ["tma.pages/A-1.html", "tma.pages/A-2.html"]
    assert sum(cells(tmp_path / "after", "A-1")) == measured.measured()["A-1"].count < before


def test_figures_that_pixels_no_longer_give_have_no_page(measured, qtbot, tmp_path, monkeypatch):
    monkeypatch.setattr(Measuring, "base", MeasureParams(min_cells=10_000, threads=1))
    export(measured, qtbot, tmp_path)
    text, bad = said(measured)
    assert bad
    assert text.startswith("0 of 2 pages written. A-1: ")
    assert "other cells of A-1 are counted now than in the table, measure it again." in text
    assert text.endswith("1 more could not be written.")
    assert links(tmp_path) == []


def test_cancel_keeps_the_pages_that_are_done(measured, qtbot, tmp_path, monkeypatch):
    again = pages_run.field_again

    def cancelling(run: Run, *args):
        measured.session.cancel()
        return again(run, *args)

    monkeypatch.setattr(pages_run, "field_again", cancelling)
    export(measured, qtbot, tmp_path)
    assert said(measured) == (f"Cancelled: 1 of 2 pages written to {tmp_path}: tma.report.html links to them.", False)
    assert links(tmp_path) == ["tma.pages/A-1.html"]
    assert [path.name for path in (tmp_path / "tma.pages").iterdir()] == ["A-1.html"]


def test_a_full_disk_is_one_sentence(measured, qtbot, tmp_path, monkeypatch):
    write = Path.write_text

    def full(path: Path, *args, **kwargs):
        if path.parent.name == "tma.pages":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", full)
    export(measured, qtbot, tmp_path)
    text, bad = said(measured)
    assert bad
    assert text.endswith("is full: free some space, or choose another folder.")
    assert text.count("A-1") == 2  # told once, and the other core is not tried
    assert links(tmp_path) == []


def test_a_slide_that_is_gone_is_one_sentence(measured, qtbot, tmp_path):
    class Gone:
        shape, dtype, ndim = PICTURE.shape, PICTURE.dtype, 3

        def __getitem__(self, key):
            raise FileNotFoundError(2, "No such file or directory")

    measured.session.slide = Slide.from_arrays(Gone(), name="tma", mpp=0.5)
    export(measured, qtbot, tmp_path)
    text, bad = said(measured)
    assert bad
    assert "tma cannot be read" in text
    assert "\n" not in text
    assert links(tmp_path) == []


def test_nothing_is_replaced_unasked(measured, qtbot, tmp_path, answers):
    export(measured, qtbot, tmp_path)
    page = tmp_path / "tma.pages/A-1.html"
    before = page.stat().st_mtime_ns
    answers.append(False)
    export(measured, qtbot, tmp_path)
    assert page.stat().st_mtime_ns == before
    answers.append(True)
    export(measured, qtbot, tmp_path)
    assert page.stat().st_mtime_ns > before
    assert not said(measured)[1]


def test_pages_ask_for_measured_cores_of_this_pixel_size(measured):
    assert why_no_pages(measured) == ""
    measured.session.give_mpp(0.6)
    assert "another pixel size" in why_no_pages(measured)


def test_the_box_core_pages_in_a_real_viewer(make_viewer, add_widget, qtbot, tmp_path, monkeypatch):
    viewer = make_viewer()
    _, widget = add_widget(viewer)
    session, box = widget.session, widget.results_box
    keep_stains(viewer.add_image(PICTURE, rgb=True, name="tma two", scale=(0.5, 0.5), units=("um", "um")), STAINS)
    widget.cores_box.find.click()
    qtbot.waitUntil(lambda: not session.busy, timeout=60_000)
    assert not box.pages.isEnabled()
    assert "Measure cores first" in box.pages.toolTip()
    widget.measure_box.all.click()
    qtbot.waitUntil(lambda: not session.working and len(widget.measuring.measured()) == 2, timeout=60_000)
    assert box.pages.isEnabled()
    assert not box.pages.isChecked()
    box.pages.click()
    monkeypatch.setattr(ask, "folder", lambda *_: tmp_path)
    seen = []
    session.changed.connect(lambda: seen.append((widget.progress.text.text(), box.export.isEnabled())))
    box.export.click()
    qtbot.waitUntil(lambda: "pages written to" in widget.status.text(), timeout=120_000)
    assert ("1 of 2 pages written, a few seconds left", False) in seen
    assert sorted(path.name for path in (tmp_path / "tma two.pages").iterdir()) == ["A-1.html", "A-2.html"]
    assert box.export.isEnabled()
    assert widget.status.objectName() == ""
