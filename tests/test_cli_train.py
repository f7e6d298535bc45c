"""`napari-her2 train`, on slides of discs and with networks of random weights."""

from __future__ import annotations

import json
import os
import re
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from napari_her2.cli import app
from napari_her2.export.csv import write_csv
from napari_her2.models import DEFAULT_MODEL, ScoringModel, load_model
from napari_her2.pyramid import LevelSpec, PyramidSpec
from napari_her2.scores import CoreScore
from napari_her2.scoring import score_cores
from napari_her2.slide import Slide
from napari_her2.table import cores_table
from napari_her2.training import lab_features, lab_stacked, stacked
from napari_her2.training.laboratory import LabParams
from tiny_model import many_discs, small_densenet, write_tiny_model

SCORES = ("0", "1+", "2+", "3+")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ScoringModel:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return many_discs(48)[0]


@pytest.fixture
def slide(tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A slide of 48 discs of 24 patients with its cores beside it."""
    monkeypatch.setenv("NAPARI_HER2_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("napari_her2.cli.train._DRAWS", 40)
    monkeypatch.setattr("napari_her2.cli.train.LabParams", partial(LabParams, steps=50, pull=1.0))
    Image.fromarray(picture).save(tmp_path / "tma.png")
    write_csv(tmp_path / "tma.cores.csv", cores_table("tma", many_discs(48)[1], {}, None))
    return tmp_path


def manifest(folder: Path, *, drop: int = 0, splits: tuple[str, ...] = (), rows: tuple[str, ...] = ()) -> Path:
    """Labels of the discs; splits are given to 8 cores each, the last to all that are left."""
    grid = many_discs(48)[1]
    lines = ["image,core,score,patient" + (",split" if splits else "")]
    for number, core in enumerate(grid.cores[: 48 - drop]):
        end = f",{splits[min(number // 8, len(splits) - 1)]}" if splits else ""
        lines.append(f"tma.png,{core.name},{core.reader_score},{core.patient_id}{end}")
    path = folder / "labels.csv"
    path.write_text("\n".join([*lines, *rows]) + "\n")
    return path


def cli(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def run(folder: Path, tiny: ScoringModel, *more: object, output: object = "ours") -> Result:
    basic = ("--model", tiny.folder, "--pixel-size", 1, "--device", "cpu", "--cache", folder / "cache", "--folds", 3)
    return cli("train", folder / "labels.csv", "-o", output, *basic, *more)


def sentence(result: Result, pattern: str) -> None:
    assert "Traceback" not in result.output
    assert re.search(pattern, " ".join(result.stderr.split())), result.stderr


def test_labels_become_a_model_with_its_report(slide: Path, tiny: ScoringModel, monkeypatch: pytest.MonkeyPatch):
    manifest(slide)
    result = run(slide, tiny)
    assert result.exit_code == 0, result.output
    assert "use it with --model ours" in result.stdout
    assert "48 cores of 24 patients not learned from" in result.stdout
    model = load_model("ours")
    model.verify()
    assert model.card["learned from"]["labels"] == "labels.csv"
    assert model.card["base model"]["checksum"] == tiny.sha256
    folder = slide / "models" / "ours"
    names = {
        "model.safetensors",
        "model.onnx",
        "training.html",
        "training.json",
        "evaluation.html",
        "learning_curve.svg",
    }
    assert {path.name for path in folder.iterdir()} == names
    record = json.loads((folder / "training.json").read_text())
    assert set(record["compared"]) == {"trained head", "current model", "current model, recalibrated"}
    assert np.sum(record["compared"]["trained head"]["table"]) == 48
    assert record["compared"]["trained head"]["figures"]["accuracy"]["value"] == record["figures"]["accuracy"]["value"]
    assert record["figures"]["quadratic_kappa"]["value"] > 0.5
    assert record["gains_over_recalibrating"]["quadratic_kappa"]["low"] is not None
    assert record["measured_on"] == "3 folds by patient"
    page = (folder / "training.html").read_text()
    assert page.count("<svg") == 4
    assert "Research use only" in page
    assert tiny.sha256 in page
    for text in (page, json.dumps(record)):
        assert "p00" not in text
        assert str(slide) not in text
    assert (folder / "learning_curve.svg").read_text().startswith('<svg xmlns="http://www.w3.org/2000/svg"')

    # again: not unasked; and nothing is encoded a second time
    sentence(run(slide, tiny), "a model ours already")
    monkeypatch.setattr(lab_features, "open_encoder", lambda *_: pytest.fail("encoded again"))
    monkeypatch.setattr("napari_her2.training.lab_train.open_encoder", lambda *_: pytest.fail("encoded again"))
    result = run(slide, tiny, "--overwrite")
    assert result.exit_code == 0, result.output
    assert load_model("ours").sha256 == model.sha256


def test_a_split_test_is_measured_on_and_not_learned_from(slide: Path, tiny: ScoringModel):
    manifest(slide, splits=("test", "train"))
    result = run(slide, tiny, output=slide / "out" / "mine")
    assert result.exit_code == 0, result.output
    assert "8 cores of 4 patients not learned from" in result.stdout
    model = load_model(slide / "out" / "mine")
    assert model.name == "mine"
    assert model.card["learned from"]["cores"] == 40
    assert model.card["on cores kept apart"]["on"] == "8 cores of 4 patients"
    record = json.loads((slide / "out" / "mine" / "training.json").read_text())
    assert (record["measured_on"], record["split"]) == ("cores kept apart", "test")
    assert len(record["cores"]) == 8


def test_stopped_it_says_that_what_was_encoded_is_kept(
    slide: Path, tiny: ScoringModel, monkeypatch: pytest.MonkeyPatch
):
    manifest(slide)
    encode = lab_features._encode

    def stopping(*arguments: object) -> object:
        if len(list((slide / "cache").glob("*.npz"))) == 5:
            raise KeyboardInterrupt
        return encode(*arguments)

    monkeypatch.setattr(lab_features, "_encode", stopping)
    result = run(slide, tiny)
    assert result.exit_code == 130
    sentence(result, "the same command goes on from here")
    assert len(list((slide / "cache").iterdir())) == 5
    assert not (slide / "models" / "ours" / "model.safetensors").exists()


def test_bad_wishes_are_one_sentence(slide: Path, tiny: ScoringModel):
    sentence(run(slide, tiny), "no file")
    manifest(slide, drop=20)
    result = run(slide, tiny)
    assert result.exit_code == 1
    sentence(result, r"Too few labels .* at least 8 cores of each score.*lacking are cores of 0 \(7 of 4 patients\)")
    manifest(slide, rows=("none.png,*,2,x",))
    sentence(run(slide, tiny), "line 50: there is no image none.png")
    manifest(slide, rows=("tma.png,Z-9,,x",))
    sentence(run(slide, tiny), r'line 50: the score is ""')
    (slide / "bad.png").write_text("no")
    path = manifest(slide, rows=())
    path.write_text(path.read_text().replace("tma.png,A-1,", "bad.png,*,", 1))
    sentence(run(slide, tiny), "bad.png is not an image")
    manifest(slide, rows=("tma.png,Z-9,1,x",))
    sentence(run(slide, tiny), "tma has no core Z-9, which labels.csv names")
    manifest(slide)
    path.write_text(re.sub(r",p\d+", ",one", path.read_text()))
    sentence(run(slide, tiny), r"12 of 1 patient")
    assert run(slide, tiny, "--device", "abacus").exit_code == 2
    assert run(slide, tiny, "--folds", 1).exit_code == 2
    sentence(run(slide, tiny, output=DEFAULT_MODEL), "came with the plugin")
    manifest(slide)
    result = cli("train", path, "-o", "x", "--model", tiny.folder, "--cache", slide / "cache", "--device", "cpu")
    sentence(result, "pixel size")


def test_cores_without_tissue_are_named_and_left_out(slide: Path, tiny: ScoringModel, picture: np.ndarray):
    Image.fromarray(np.full((100, 100, 3), 238, np.uint8)).save(slide / "glass.png")
    manifest(slide, rows=("glass.png,*,3,x",))
    result = run(slide, tiny)
    assert result.exit_code == 3
    sentence(result, "glass A-1 is not learned from: hardly any of it is tissue")
    assert load_model("ours").card["learned from"]["cores"] == 48


def scores(folder: Path, model: ScoringModel) -> list[CoreScore]:
    slide = Slide.open(folder / "tma.png", mpp=1.0)
    return list(score_cores(slide, many_discs(48)[1].cores, model, device="cpu"))


@pytest.mark.parametrize(("design", "counts"), [("full-resolution", [7, 0]), ("whole-core", [0, 1])])
def test_a_head_for_one_magnification(
    slide: Path, tiny: ScoringModel, monkeypatch: pytest.MonkeyPatch, design: str, counts: list[int]
):
    manifest(slide)
    assert run(slide, tiny, output="all").exit_code == 0
    # what was encoded for all magnifications serves each alone
    monkeypatch.setattr("napari_her2.training.lab_train.open_encoder", lambda *_: pytest.fail("encoded again"))
    result = run(slide, tiny, "--design", design)
    assert result.exit_code == 0, result.output
    model = load_model("ours")
    assert [level.count for level in model.spec.levels] == counts
    assert model.calibration.level_weights == tuple(float(count > 0) for count in counts)
    assert model.card["looks at"].endswith("alone")
    assert model.card["base model"]["name"] == "tiny"
    record = json.loads((slide / "models" / "ours" / "training.json").read_text())
    everything = json.loads((slide / "models" / "all" / "training.json").read_text())
    # held against the current model as it is, with all its magnifications
    for judge in ("current model", "current model, recalibrated"):
        assert record["compared"][judge] == everything["compared"][judge]
    assert record["compared"]["trained head"] != everything["compared"]["trained head"]
    scored = scores(slide, model)
    assert [sum(score.probabilities) for score in scored] == pytest.approx([1] * 48)
    right = [score.score == SCORES[k % 4] for k, score in enumerate(scored)]
    assert np.mean(right) > 0.6


def test_a_magnification_that_is_not_there_is_one_sentence(slide: Path, tiny: ScoringModel):
    manifest(slide)
    assert run(slide, tiny, "--design", "whole-core").exit_code == 0
    result = run(slide, load_model("ours"), "--design", "full-resolution", output="other")
    assert result.exit_code == 1
    sentence(result, "ours does not look at full resolution: choose another model")
    assert run(slide, tiny, "--design", "abacus").exit_code == 2
    assert run(slide, tiny, "--steps", 3).exit_code == 2


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published design with three small patches and a small net."""
    spec = PyramidSpec(mpp=1.0, patch=32, levels=(LevelSpec(2, 1.0), LevelSpec(1, 0.0)))
    monkeypatch.setattr(lab_stacked, "PyramidSpec", lambda: spec)
    monkeypatch.setattr("torchvision.models.densenet201", small_densenet)


@pytest.mark.usefixtures("small")
def test_the_published_design_is_learned_and_goes_on_after_ctrl_c(
    slide: Path, tiny: ScoringModel, monkeypatch: pytest.MonkeyPatch
):
    manifest(slide)
    wishes = ("--design", "densenet201", "--steps", 5)
    result = run(slide, tiny, *wishes, output="unbroken")
    assert result.exit_code == 0, result.output
    sentence(result, r"A step of 4 cores takes .* s here, so the 4 steps that are left take about .* matter of hours")
    sentence(result, r"The stacks of these 48 cores take 0\.0 GB in .*stacks, which may be deleted")
    model = load_model("unbroken")
    model.verify()
    assert model.stacked
    assert "in their own colours" in model.why_not_scored(normalised=True)
    parts = [model.card["learned from"]["cores"], int(model.card["calibrated on"].split()[0])]
    record = json.loads((slide / "models" / "unbroken" / "training.json").read_text())
    assert sum(parts) + len(record["cores"]) == 48
    assert parts[0] > 24
    assert record["measured_on"] == "cores kept apart"
    assert set(record["compared"]) == {"trained network", "current model", "current model, recalibrated"}
    assert record["learning_curve"][-1]["held_out"] is not None
    page = (slide / "models" / "unbroken" / "training.html").read_text()
    assert "figures of the trained network" in page
    assert sum(scores(slide, model)[0].probabilities) == pytest.approx(1, abs=1e-5)

    monkeypatch.setattr("napari_her2.training.stacks.sample", lambda *_: pytest.fail("stacked again"))
    take = stacked._Fit.take

    def taken(fit: stacked._Fit, *arguments: object) -> None:
        take(fit, *arguments)
        if fit.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(stacked._Fit, "take", taken)
    result = run(slide, tiny, *wishes)
    assert result.exit_code == 130
    sentence(result, "stopping after this step")
    sentence(result, "the same command goes on from here")
    assert not (slide / "models" / "ours" / "model.safetensors").exists()
    assert len(list((slide / "cache" / "fits").iterdir())) == 1
    result = run(slide, tiny, *wishes)
    assert result.exit_code == 0, result.output
    sentence(result, "so the 2 steps that are left")
    assert load_model("ours").sha256 == model.sha256
    assert not list((slide / "cache" / "fits").iterdir())
    assert run(slide, tiny, *wishes, "--seed", 1, output="other").exit_code == 1  # stacked anew


@pytest.mark.usefixtures("small")
def test_the_published_design_takes_the_splits_that_are_given(slide: Path, tiny: ScoringModel):
    manifest(slide, splits=("test", "validation", "train"))
    result = run(slide, tiny, "--design", "densenet201", "--steps", 1)
    assert result.exit_code == 0, result.output
    model = load_model("ours")
    assert model.card["learned from"]["cores"] == 32
    assert model.card["calibrated on"].startswith("8 cores of 4 patients")
    assert model.card["on cores kept apart"]["on"] == "8 cores of 4 patients"
    record = json.loads((slide / "models" / "ours" / "training.json").read_text())
    assert record["split"] == "test"
    assert {core["line"] for core in record["cores"]} == set(range(2, 10))


@pytest.mark.usefixtures("small")
def test_the_published_design_says_before_any_work_what_stands_in_its_way(
    slide: Path, tiny: ScoringModel, monkeypatch: pytest.MonkeyPatch
):
    wishes = ("--design", "densenet201", "--steps", 1)
    path = manifest(slide, drop=20)
    sentence(run(slide, tiny, *wishes), "Too few labels")
    manifest(slide, splits=("test", "validation"))
    sentence(run(slide, tiny, *wishes), 'All cores of labels.csv are in the split "test" or "validation"')
    manifest(slide, splits=("validation", "train"))
    text = path.read_text()
    path.write_text(re.sub(r"(,[012]\+?,p\d+,)validation", r"\1train", text))
    sentence(run(slide, tiny, *wishes), r"No core of 0 or 1\+ or 2\+ is left to see when to stop by")
    manifest(slide)
    monkeypatch.setattr("napari_her2.training.save.find_spec", lambda name: None)
    sentence(run(slide, tiny, *wishes), r"cannot be written without onnx and onnxscript: .*napari-her2\[train\]")
    assert not (slide / "cache" / "stacks").exists()
    other = replace(tiny, network={"design": "stacked", "patches": 3})
    monkeypatch.setattr("napari_her2.cli.options.ModelOptions.load", lambda self: other)
    sentence(run(slide, tiny, *wishes), "judges cores as a whole and cannot be compared with")
