"""What the dialog of training shows of a comparison."""

from __future__ import annotations

from napari_her2.evaluate import EvaluatedCore, evaluate
from napari_her2.scores import SCORES
from napari_her2.viewer.widgets.train_dialog import _tables


def judged(pairs):
    cores = [
        EvaluatedCore(k, "tma", str(k), str(k), truth, SCORES[said], tuple(0.7 if i == said else 0.1 for i in range(4)))
        for k, (truth, said) in enumerate(pairs)
    ]
    return evaluate(cores, draws=20)


def test_each_judge_has_its_table_with_n_and_figures():
    pairs = [(k % 4, k % 4) for k in range(12)] + [(1, 2)] * 5
    html = _tables({"trained head": judged(pairs), "current model": judged([(k % 4, 0) for k in range(12)])})
    assert html.count("rows: you, columns: model") == 2
    first, second = html.split("Current model")
    assert "Trained head" in first
    assert ">5</td>" in first  # the five that are one step off
    assert "n = 17" in first
    assert f"Right {12 / 17:.0%} (" in first
    assert "Quadratic kappa 0.00" in second
    assert second.count('bgcolor="#2e8b57"') == 4
