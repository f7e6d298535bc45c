from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_her2.errors import StainError
from napari_her2.membrane import BREAST, GASTRIC_BIOPSY, GASTRIC_RESECTION, RULES, RuleSet, Thresholds, low_remark
from napari_her2.scores import SCORES


@pytest.mark.parametrize(
    ("counts", "score"),
    [
        ((100, 0, 0, 0), "0"),
        ((90, 10, 0, 0), "0"),
        ((89, 11, 0, 0), "1+"),
        ((80, 10, 6, 4), "2+"),
        ((80, 9, 11, 0), "2+"),
        ((89, 0, 0, 11), "3+"),
        ((90, 0, 0, 10), "2+"),
    ],
)
def test_breast(counts: tuple[int, int, int, int], score: str):
    assert BREAST.score(counts)[0] == score


@given(st.tuples(*[st.integers(0, 400)] * 4).filter(any), st.sampled_from(list(RULES.values())))
def test_margins_are_above_0_where_the_rule_is_passed(counts: tuple[int, int, int, int], rules: RuleSet):
    margins = rules.margins(counts)
    assert rules.score(counts)[0] == SCORES[int((margins > 1e-9).sum())]


def test_the_sentence_explains():
    assert BREAST.score((200, 100, 146, 794)) == ("3+", "3+: 64 % of 1,240 cells have complete intense membranes.")
    assert BREAST.score((0, 0, 0, 0))[0] == ""


def test_a_biopsy_needs_five_cells():
    assert GASTRIC_BIOPSY.score((995, 0, 0, 5))[0] == "3+"
    assert GASTRIC_RESECTION.score((995, 0, 0, 5))[0] == "0"
    assert GASTRIC_BIOPSY.score((996, 0, 0, 4))[0] == "0"


@given(st.tuples(*[st.integers(0, 300)] * 4), st.integers(0, 2), st.sampled_from(sorted(RULES)))
def test_stronger_cells_never_lower_a_score(counts: tuple[int, int, int, int], k: int, rules: str):
    if counts[k]:
        more = list(counts)
        more[k] -= 1
        more[k + 1] += 1
        rule = RULES[rules]
        assert rule.score((more[0], more[1], more[2], more[3]))[0] >= rule.score(counts)[0]


def test_low_is_a_remark_and_waits_for_ish():
    percent = (50.0, 50.0, 0.0, 0.0)
    assert "low" in low_remark("1+", percent)
    assert low_remark("2+", percent).startswith("Equivocal")
    assert "HER2-low" in low_remark("2+", percent, "negative")
    assert "positive" in low_remark("2+", percent, "positive")
    assert "ultralow" in low_remark("0", (95.0, 5.0, 0.0, 0.0))
    assert low_remark("0", (100.0, 0.0, 0.0, 0.0)) == low_remark("3+", percent) == ""
    with pytest.raises(ValueError, match="ISH"):
        low_remark("2+", percent, "maybe")


@pytest.mark.parametrize("values", [(0.2, 0.1, 0.3), (0.1, 0.2, math.inf), (0.0, 0.1, 0.2)])
def test_thresholds_must_rise(values: tuple[float, float, float]):
    with pytest.raises(StainError, match="rise"):
        Thresholds(*values)
    with pytest.raises(StainError, match="share"):
        Thresholds(outline=1.5)


def test_thresholds_of_another_version_are_refused_with_what_to_do():
    assert Thresholds.from_dict({"faint": 0.03, "outline": 0.7}) == Thresholds(faint=0.03, outline=0.7)
    with pytest.raises(StainError, match="calibrate again"):
        Thresholds.from_dict({"faint": 0.03, "partial": 0.15})
