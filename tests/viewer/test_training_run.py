"""Training on what was read: refused when too few, cancelled, saved; the fit itself is tested where it is written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_her2.cores import CoreGrid
from napari_her2.errors import ModelError
from napari_her2.scores import SCORES
from napari_her2.training import laboratory
from napari_her2.training.laboratory import CoreFeatures, LabParams
from napari_her2.viewer.training_run import labels_of, save_trained, start_training, why_not

QUICK = LabParams(folds=3, steps=5, draws=20)


@pytest.fixture
def read(found, grid_of_discs):
    """Every core of the discs read as its column says, by six patients."""
    cores = [replace(c, reader_score=SCORES[c.column], patient_id=f"P{i % 6}") for i, c in enumerate(grid_of_discs)]
    found.watch.edit("reading", CoreGrid(tuple(cores)))
    return found


@pytest.fixture
def enough(monkeypatch):
    """Two cores of each score are enough for a test."""
    for module in ("lab_folds", "laboratory"):
        monkeypatch.setattr(f"napari_her2.training.{module}.too_few", lambda labels: "")


def ended(run, qtbot):
    qtbot.waitUntil(lambda: not run.running, timeout=20_000)


def test_labels_are_those_of_all_open_slides(read, viewer, image, qtbot):
    labels = labels_of(read)
    assert len(labels.cores) == 8
    assert labels.pairs[:2] == [(0, "P0"), (1, "P1")]
    assert labels.sentence == "You read 8 cores: 2 of 0, 2 of 1+, 2 of 2+, 2 of 3+; of 6 patients."
    viewer.add_image(image.data, rgb=True, name="second", scale=(2, 2), units=("um", "um"))
    read.find()
    qtbot.waitUntil(lambda: not read.busy)
    cores = [replace(c, reader_score="1+") if c.name == "A-1" else c for c in read.grid()]
    read.watch.edit("reading", CoreGrid(tuple(cores)))
    both = labels_of(read)
    assert len(both.cores) == 9
    assert "on 2 slides" in both.sentence
    assert "1 cores without a patient" in both.sentence


def test_too_few_labels_are_refused_with_how_many_are_needed(read, found):
    assert "at least 8 cores of each score" in why_not(read, labels_of(read))
    assert start_training(read, labels_of(read)) is None
    text, bad = read.sentences[-1]
    assert bad
    assert text.startswith("Too few labels to learn from")
    assert not read.working


def test_nothing_read_is_said(found):
    assert why_not(found, labels_of(found)).startswith("No core was read yet")


def features(slide, cores, *_, **__):
    for core in cores:
        hidden = np.zeros((3, 4, 2), np.float16)
        yield CoreFeatures(slide.name, core.name, SCORES.index(core.reader_score), core.patient_id, np.zeros(4), hidden)


class Compared:
    values = np.zeros(8)
    better = True
    sentence = "Better."


def test_a_run_reads_tries_and_fits_and_is_saved(read, qtbot, enough, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(laboratory, "collect", features)
    monkeypatch.setattr(laboratory, "default_cache", lambda: tmp_path)

    def cross_validate(cores, base, params, progress):
        progress(1, 3)
        return Compared()

    def fit_head(cores, base, params, apart):
        seen.append((len(cores), base, apart))
        return "head", base.calibration, []

    monkeypatch.setattr(laboratory, "cross_validate", cross_validate)
    monkeypatch.setattr(laboratory, "fit_head", fit_head)
    run = start_training(read, labels_of(read), QUICK)
    assert read.working
    assert read.why_no_scoring() == "tma is being trained on."
    ended(run, qtbot)
    assert seen == [(8, read.model, Compared.values)]
    assert run.trained.comparison.better
    assert run.trained.source == "tma"
    assert not read.working

    saved = replace(read.model, name="ours", weights_sha256="cd" * 32)
    monkeypatch.setattr(laboratory, "laboratory_card", lambda *_: {})
    monkeypatch.setattr(laboratory, "save_laboratory_model", lambda *_: saved)
    learned = []
    read.learned.connect(learned.append)
    before = read.model
    save_trained(read, run.trained, "ours", use=False)
    assert (read.model, learned) == (before, [saved])
    save_trained(read, run.trained, "ours", use=True)
    assert read.model is saved


def test_a_run_can_be_cancelled_between_cores(read, qtbot, enough, monkeypatch, tmp_path):
    import threading

    gate, entered = threading.Semaphore(0), []

    def slowly(slide, cores, *_, **__):
        entered.append(cores[0].name)
        assert gate.acquire(timeout=20)
        yield from features(slide, cores)

    monkeypatch.setattr(laboratory, "collect", slowly)
    monkeypatch.setattr(laboratory, "default_cache", lambda: tmp_path)
    run = start_training(read, labels_of(read), QUICK)
    gate.release()
    qtbot.waitUntil(lambda: len(entered) == 2)
    assert run.progress_text() == "Reading cores: 1 of 8"
    read.cancel()
    gate.release()
    ended(run, qtbot)
    assert run.trained is None
    assert len(entered) == 2
    assert read.sentences[-1] == ("Training was cancelled.", False)


def test_an_error_is_one_sentence(read, qtbot, enough, monkeypatch, tmp_path):
    def fails(*_, **__):
        raise ModelError("This model cannot be trained on.")
        yield

    monkeypatch.setattr(laboratory, "collect", fails)
    monkeypatch.setattr(laboratory, "default_cache", lambda: tmp_path)
    run = start_training(read, labels_of(read), QUICK)
    ended(run, qtbot)
    assert read.sentences[-1] == ("This model cannot be trained on.", True)
