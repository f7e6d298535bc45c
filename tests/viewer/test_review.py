"""Going from core to core, and how far the model and the reader agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_her2.cores import Core
from napari_her2.scores import SCORES, CoreScore
from napari_her2.viewer.cores_scores import set_scores
from napari_her2.viewer.grid_editor import GridEditor
from napari_her2.viewer.reading import give_reading
from napari_her2.viewer.review import LEAST_READ, Opinions, Review, agreement
from napari_her2.viewer.selection import selected_names


@pytest.fixture
def review(found, score_of):
    """The discs with scores but for B-4; B-3 is uncertain."""
    grid = found.grid()
    scores = [score_of(core, SCORES[core.column]) for core in grid if core.name != "B-4"]
    scores = [replace(s, indeterminate=True, reason="Between.") if s.core.name == "B-3" else s for s in scores]
    set_scores(found.cores_layer, found.slide, scores)
    found.watch.settle()
    return Review(GridEditor(found))


def chosen(review) -> list[str]:
    return selected_names(review.session.cores_layer)


def read(review, name: str, score: str) -> None:
    review.show(name)
    give_reading(review.editor, score)


def test_queues_hold_the_cores_that_they_say(review):
    read(review, "A-1", "0")
    read(review, "A-2", "3+")
    layer = review.session.cores_layer
    table = layer.features.copy()
    table.loc[3, "measured_score"] = "2+"
    table["flags"] = ["", "", "Unfamiliar: a sentence.", *[""] * 5]
    layer.features = table
    assert review.names("Opinions differ") == ["A-2", "A-4"]
    assert review.names("Uncertain") == ["B-3"]
    assert review.names("Flagged") == ["A-3"]
    assert review.names("Not read") == ["A-3", "A-4", "B-1", "B-2", "B-3", "B-4"]
    assert len(review.names("All")) == 8
    review.show("A-3")
    assert review.here().flags == ("Unfamiliar: a sentence.",)


def test_next_and_previous_go_round_the_queue_from_any_core(review, viewer):
    review.go()
    assert chosen(review) == ["A-1"]
    review.go(-1)
    assert chosen(review) == ["B-4"]
    review.go()
    assert chosen(review) == ["A-1"]
    for name in ("A-1", "A-2", "A-4"):
        read(review, name, "2+")
    review.queue = "Not read"
    review.show("A-2")
    review.go()
    assert chosen(review) == ["A-3"]
    review.go()
    assert chosen(review) == ["B-1"]
    review.go(-1)
    assert chosen(review) == ["A-3"]
    core = review.session.grid()["A-3"]
    assert np.allclose(viewer.camera.center[-2:], review.session.image.data_to_world((core.y, core.x)))


def test_a_zoom_that_the_user_chose_stays(review, viewer):
    review.go()
    first = viewer.camera.zoom
    viewer.camera.zoom = 4 * first
    review.go()
    assert viewer.camera.zoom == 4 * first
    viewer.camera.zoom = first / 50
    review.go()
    assert viewer.camera.zoom == pytest.approx(first)


def test_an_empty_queue_is_said(review):
    review.queue = "Flagged"
    review.go()
    assert review.session.sentences[-1] == ("No core is left in the queue: flagged.", False)
    assert chosen(review) == []


def opinion(k: int, reader: int, model: int, patient: str = "") -> Opinions:
    core = Core(str(k), 0, k, 0, 0, 10, reader_score=SCORES[reader], patient_id=patient)
    return Opinions(core, CoreScore(core, SCORES[model], tuple(float(i == model) for i in range(4))))


def test_agreement_is_not_told_from_too_few():
    few = [opinion(k, k % 4, k % 4) for k in range(LEAST_READ - 1)]
    assert agreement(few).sentence.startswith(f"Too few to tell: {LEAST_READ} cores")
    assert agreement([]).sentence.endswith("(none yet).")
    unread = Opinions(Core("x", 0, 0, 0, 0, 10), few[0].score)
    assert agreement([*few, unread]).n == LEAST_READ - 1


def test_agreement_counts_and_its_interval_is_over_patients():
    pairs = [(k % 4, k % 4) for k in range(20)] + [(1, 2), (2, 1), (0, 1), (3, 3)]
    alone = agreement([opinion(k, *pair) for k, pair in enumerate(pairs)])
    assert (alone.n, np.trace(alone.table)) == (24, 21)
    assert alone.accuracy == pytest.approx(21 / 24)
    # 3 cores one step off; expected by chance from margins 6,6,6,6 against 5,7,6,6
    chance = sum((i - j) ** 2 * a * b / 24 for i, a in enumerate((6, 6, 6, 6)) for j, b in enumerate((5, 7, 6, 6)))
    assert alone.kappa == pytest.approx(1 - 3 / chance)
    assert alone.low[0] < alone.accuracy <= alone.high[0]
    assert "21 of 24 cores alike: 88 % (95 % interval " in alone.sentence
    assert "n = 24" in alone.sentence
    few_patients = agreement([opinion(k, *pair, patient=str(k // 8)) for k, pair in enumerate(pairs)])
    assert few_patients.kappa == alone.kappa
    assert not np.allclose(few_patients.low, alone.low)


def test_one_score_alone_has_no_kappa():
    assert "needs cores of more than one score" in agreement([opinion(k, 2, 2) for k in range(12)]).sentence
