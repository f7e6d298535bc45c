from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_her2.agreement import confusion, coverage_curve, reliability
from napari_her2.errors import CoresError, OutputError
from napari_her2.evaluate import EvaluatedCore, PartFile, evaluate, place_of
from napari_her2.export.plots import confusion_svg, coverage_svg, reliability_svg
from napari_her2.scores import SCORES


def core(line: int, truth: int, *likely: float, patient: str = "", doubt: bool = False) -> EvaluatedCore:
    shares = (likely[0], likely[1], likely[2], likely[3])
    said = SCORES[int(np.argmax(shares))]
    return EvaluatedCore(line, "tma", f"A-{line}", patient or f"p{line}", truth, said, shares, indeterminate=doubt)


CORES = (
    core(5, 3, 0.9, 0.1, 0, 0),
    core(2, 0, 0.8, 0.2, 0, 0),
    core(3, 1, 0, 0.4, 0.6, 0, doubt=True),
    core(4, 2, 0, 0, 0.7, 0.3),
    core(7, 0, 0, 0.0, 0.1, 0.9),
    EvaluatedCore(6, "tma", "A-6", "p6", 2, reason="Not scorable."),
)


def test_the_worst_are_the_farthest_off_then_the_surest():
    found = evaluate(CORES, draws=20)
    assert [c.line for c in found.worst()] == [5, 7, 3]
    assert [c.line for c in found.worst(1)] == [5]
    assert [c.line for c in found.cores] == [2, 3, 4, 5, 6, 7]
    assert [c.line for c in found.unscored] == [6]
    assert (found.table.sum(), found.patients) == (5, 5)


def test_indeterminate_cores_count_but_in_the_lines_on_determinate_ones():
    found = evaluate(CORES, draws=20).figures
    assert (found["accuracy"].value, found["accuracy"].n) == (pytest.approx(2 / 5), 5)
    assert (found["determinate_accuracy"].value, found["determinate_accuracy"].n) == (0.5, 4)
    assert found["determinate_share"].value == 0.8
    right = evaluate(CORES[1:2], draws=20).figures["determinate_accuracy"]
    assert (right.value, right.low, right.high) == (1, pytest.approx(0.025), 1)
    assert "determinate_accuracy" not in evaluate(CORES[2:3], draws=20).figures


def test_nothing_scored_is_said_with_the_first_reason():
    with pytest.raises(CoresError, match=r"None of the 1 cores could be scored: Not scorable\."):
        evaluate(CORES[5:])


def test_a_part_file_gives_back_what_it_got(tmp_path: Path):
    told = {"model": "ab", "cuts": (0.5, 1.3, 2.2)}
    part = PartFile(tmp_path / "x.part", told)
    assert part.read() == {}
    part.begin({})
    for one in CORES[:3]:
        part.add(one)
    # NaN is not equal to itself, but written alike
    assert list(map(repr, part.read().values())) == list(map(repr, CORES[:3]))
    with part.path.open("a") as file:
        file.write('{"line": 9, "ima')
    done = part.read()
    assert list(done) == [5, 2, 3]
    part.begin(done)
    part.add(CORES[3])
    assert list(part.read()) == [5, 2, 3, 4]
    with pytest.raises(OutputError, match="of another model"):
        PartFile(part.path, told | {"model": "cd"}).read()


def test_the_place_of_a_core():
    assert place_of(CORES[0]) is None
    place = place_of(EvaluatedCore(2, "tma", "", "p", 0, y=5, x=6, diameter=7))
    assert place is not None
    assert (place.name, place.y, place.x, place.diameter) == ("A-1", 5, 6, 7)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.25, 1)), min_size=1, max_size=30))
@settings(max_examples=30)
def test_pictures_are_whole_and_stay_inside(pairs: list[tuple[int, float]]):
    truth = np.array([t for t, _ in pairs])
    likely = np.array([[p, *[(1 - p) / 3] * 3] for _, p in pairs])
    bins, curve = reliability(truth, likely), coverage_curve(truth, likely)
    table = confusion(truth, likely.argmax(1))
    for picture in (confusion_svg(table), reliability_svg(bins), coverage_svg(curve, 0.85)):
        tree = ET.fromstring(picture)
        assert tree.get("aria-label")
        for disc in tree.iter("circle"):
            assert 62 - 0.1 <= float(disc.get("cx", "")) <= 322.1
            assert 16 - 0.1 <= float(disc.get("cy", "")) <= 276.1
    numbers = [t.text for t in ET.fromstring(confusion_svg(table)).iter("text")]
    assert sum(int(n) for n in numbers if n and n.isdigit()) >= len(pairs)
    discs = list(ET.fromstring(reliability_svg(bins)).iter("circle"))
    assert len(discs) == sum(b.n > 0 for b in bins)
