from __future__ import annotations

import errno
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_her2.colours import SCORE_COLOURS
from napari_her2.cores import Core, CoreGrid
from napari_her2.errors import CoresError, OutputError
from napari_her2.export import Run, check_results, write_pages, write_results
from napari_her2.membrane.field import CellField
from napari_her2.membrane.measurement import Measurement
from napari_her2.regions import Region
from napari_her2.slide import Slide
from napari_her2.stain import Stains

MADE = {
    "rules": "ASCO/CAP breast 2018/2023",
    "batch": "",
    "thresholds_od": {"faint": 0.025, "moderate": 0.08, "intense": 0.27, "outline": 1.0},
    "stains": Stains().to_dict(),
}


@pytest.fixture
def run() -> Run:
    """Three cores: one with cells to show, one without, and one whose name is markup; nothing was scored."""
    pixels = np.full((300, 900, 3), (236, 233, 240), np.uint8)
    cores = [Core(f"A-{k + 1}", 0, k, 150.0, 150.0 + 300 * k, 280.0) for k in range(3)]
    cores[0] = replace(cores[0], patient_id="Frau Müller", note="Größe <b>")
    cores[2] = replace(cores[2], name="<A>/3")
    for core in cores:
        pixels[100:200, int(core.x) - 50 : int(core.x) + 50] = (150, 120, 90)
    outlines = np.full((3, 32, 2), 40, np.float32)
    field = CellField(10, 10, 280.0, 140.0, 2, 3, 4, (0, 0, 2, 1), np.array([2, 2, 3], np.uint8), outlines)
    flags, region = ("Fold: 3 %.",), Region("leave out", ((20.0, 30.0), (40.0, 30.0), (40.0, 70.0)))
    cells = Measurement(
        *(
            "2+",
            "2+: 75 % of 4 cells have <membranes>.",
            (25.0, 0.0, 50.0, 25.0),
            175.0,
            0.123,
            0.61,
            0.42,
            0.1,
            0.5,
            4,
        ),
        flags=flags,
        regions=(region,),
    )
    measured = {
        "A-1": cells,
        "A-2": Measurement(sentence="Not scorable: 3 tumour-like cells (150 needed).", tissue_fraction=0.2),
        "<A>/3": replace(cells, regions=(), percent=(0.0, 0.0, 0.0, 100.0)),
    }
    slide = Slide.from_arrays(pixels, name="tma #1", mpp=0.5, mpp_source="given")
    provenance = {"measurement": MADE, "slide_flags": ["The slide is pale."]}
    grid = CoreGrid(tuple(cores))
    return Run(slide, grid, {}, provenance=provenance, measured=measured, fields={"A-1": field})


def text_of(folder: Path, file: str) -> str:
    return (folder / "tma #1.pages" / file).read_text(encoding="utf-8")


def test_a_page_a_core_linked_from_the_report_and_back(tmp_path: Path, run: Run):
    pages = list(write_pages(tmp_path, run))
    links = {page.core: page.link for page in pages}
    assert links == {
        "A-1": "tma%20%231.pages/A-1.html",
        "A-2": "tma%20%231.pages/A-2.html",
        "<A>/3": "tma%20%231.pages/_A__3.html",
    }
    assert not any(page.failure for page in pages)
    write_results(tmp_path, replace(run, pages=links), overwrite=True)
    report = (tmp_path / "tma #1.report.html").read_text(encoding="utf-8")
    assert all(f'href="{link}"' in report for link in links.values())
    assert 'href="../tma%20%231.report.html#core-3"' in text_of(tmp_path, "_A__3.html")
    assert 'id="core-3"' in report


def test_a_page_stands_alone_and_says_what_it_is(tmp_path: Path, run: Run):
    list(write_pages(tmp_path, run))
    text = text_of(tmp_path, "A-1.html")
    assert "Research use only" in text
    assert not any(word in text for word in ("http://", "https://", 'src="/', "<script", "<link", "url(", "@import"))
    assert text.count("data:image/jpeg;base64,") == 4  # the core, two stains, and the square once for both pictures
    for said in (
        *("The slide is pale.", "⚑ Fold: 3 %.", "2+: 75 % of 4 cells have &lt;membranes&gt;.", "Größe &lt;b&gt;"),
        *(
            "175 of 300",
            "0.123 OD",
            "61 %",
            "42 %",
            "50.0 %",
            "0.080 OD",
            "0.270 OD",
            "3 of the core's 4",
            "grey, left out",
        ),
    ):
        assert said in text, said
    assert "Müller" not in text  # like the report, it names no patient
    assert "Scored by the network" not in text
    drawn = re.findall(r'<path d="(M[^"]*)" stroke="(#\w+)"', text)
    assert [(path.count("M"), colour) for path, colour in drawn if "Z" in path] == [
        (2, SCORE_COLOURS["2+"]),
        (1, SCORE_COLOURS["3+"]),
    ]


def test_a_core_without_counted_cells_has_its_pictures_and_the_reason(tmp_path: Path, run: Run):
    list(write_pages(tmp_path, run))
    text = text_of(tmp_path, "A-2.html")
    assert text.count("data:image/jpeg;base64,") == 3
    assert "Not scorable: 3 tumour-like cells (150 needed)." in text
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text)


def test_a_page_that_fails_costs_only_itself(tmp_path: Path, run: Run):
    class Damaged:
        shape, dtype, ndim = run.slide.levels[0].shape, np.dtype(np.uint8), 3

        def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
            if key[1].start < 20:
                raise ValueError("bad tile")
            return run.slide.levels[0][key]

    damaged = replace(run, slide=Slide.from_arrays(Damaged(), name="tma #1", mpp=0.5))
    first, *others = write_pages(tmp_path, damaged)
    assert first.link == ""
    assert first.failure.startswith("Its page was not written: tma #1 cannot be read around")
    assert all(page.link for page in others)
    assert not (tmp_path / "tma #1.pages" / "A-1.html").exists()


def test_nothing_is_replaced_unasked_and_failed_cores_have_no_page(tmp_path: Path, run: Run):
    run = replace(run, measured={**run.measured, "A-2": Measurement(failed=True)})
    assert len(list(write_pages(tmp_path, run))) == 2
    assert all("exists already" in page.failure for page in write_pages(tmp_path, run))
    assert all(page.link for page in write_pages(tmp_path, run, overwrite=True))
    # what an earlier run wrote of a core that is not measured now would contradict the report
    list(write_pages(tmp_path, replace(run, measured={"A-1": run.measured["A-1"]}), overwrite=True))
    assert [path.name for path in (tmp_path / "tma #1.pages").iterdir()] == ["A-1.html"]
    with pytest.raises(OutputError, match=r"already holds tma #1\.pages"):
        check_results(tmp_path, "tma #1")


def test_a_full_disk_is_told_once_and_leaves_no_page_of_an_earlier_run(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    assert len(list(write_pages(tmp_path, run))) == 3

    def full(path: Path, *_: object, **__: object) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    (page,) = write_pages(tmp_path, run, overwrite=True)
    assert "is full: free some space" in page.failure
    assert not (tmp_path / "tma #1.pages").exists()


def test_cells_may_be_made_when_a_page_needs_them(tmp_path: Path, run: Run):
    def field_of(core: Core) -> CellField | None:
        if core.name == "A-2":
            raise CoresError("measure it again.")
        return run.fields.get(core.name)

    pages = list(write_pages(tmp_path, replace(run, fields={}), field_of=field_of))
    assert [page.failure for page in pages] == ["", "Its page was not written: measure it again.", ""]
    assert "Cells at full resolution" in text_of(tmp_path, "A-1.html")


def test_names_that_are_one_file_are_numbered(tmp_path: Path, run: Run):
    names = ("a/1", "A_1", "A:1")
    cores = tuple(replace(core, name=name) for core, name in zip(run.grid, names, strict=True))
    measured = dict.fromkeys(names, run.measured["A-2"])
    pages = list(write_pages(tmp_path, replace(run, grid=CoreGrid(cores), measured=measured)))
    assert [page.link.rpartition("/")[2] for page in pages] == ["a_1.html", "A_1-2.html", "A_1-3.html"]
