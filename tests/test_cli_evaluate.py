"""`evaluate` and `calibrate`, on a slide of discs and with an engine that looks at brown only."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from discs import MockEngine, discs_grid, discs_picture
from napari_her2.cli import app
from napari_her2.export.csv import write_csv
from napari_her2.models import ScoringModel
from napari_her2.table import cores_table

FILES = ["evaluation.html", "evaluation.json"]
NAMES = [f"{row}-{column}" for row in "AB" for column in (1, 2, 3, 4)]


@pytest.fixture
def engine(mock_engine: MockEngine, mock_model: ScoringModel, monkeypatch: pytest.MonkeyPatch) -> MockEngine:
    monkeypatch.setattr("napari_her2.models.load_model", lambda name="": mock_model)
    monkeypatch.setattr("napari_her2.cli.evaluate._DRAWS", 40)
    return mock_engine


@pytest.fixture
def tma(tmp_path: Path) -> Path:
    """A slide of 2 x 4 discs, its cores beside it, and one picture of one core."""
    Image.fromarray(discs_picture()).save(tmp_path / "tma.png")
    write_csv(tmp_path / "tma.cores.csv", cores_table("tma", discs_grid(), {}, None))
    Image.fromarray(discs_picture(1, 1)).save(tmp_path / "single.png")
    return tmp_path


def manifest(folder: Path, scores: str = "01230123", *more: str, header: str = "image,core,score,patient") -> Path:
    rows = [f"tma.png,{name},{s},p{k // 2}" for k, (name, s) in enumerate(zip(NAMES, scores, strict=False))]
    path = folder / "manifest.csv"
    path.write_text("\n".join([header, *rows, *more]) + "\n")
    return path


def cli(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def run(folder: Path, *arguments: object) -> Result:
    return cli("evaluate", folder / "manifest.csv", "-o", folder / "out", "--pixel-size", 2, *arguments)


def record(folder: Path) -> dict:
    return json.loads((folder / "out" / "evaluation.json").read_text())


def sentence(result: Result, says: str) -> None:
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("napari-her2: ")
    assert re.search(says, line), line


def test_the_discs_are_what_they_are(tma: Path, engine: MockEngine):
    manifest(tma, "01230123", "single.png,*,0,p9")
    result = run(tma)
    assert result.exit_code == 0, result.output
    assert "Research use only" in result.stdout
    assert sorted(p.name for p in (tma / "out").iterdir()) == FILES
    found = record(tma)
    assert found["table"] == [[3, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 2]]
    assert found["figures"]["quadratic_kappa"]["value"] == 1
    assert found["figures"]["accuracy"]["low"] < 1  # nine cores are no proof
    assert (found["cores_scored"], found["patients"]) == (9, 5)
    assert found["model"]["sha256"] == "ab" * 32
    assert found["manifest"] == "manifest.csv"
    assert "recalibration" not in found["model"]
    assert engine.runs == 9


def test_patients_and_folders_stay_out_of_what_is_written(tma: Path, engine: MockEngine):
    manifest(tma, "0123", "single.png,,0,Mrs Smith")
    assert run(tma).exit_code == 0
    for name in FILES:
        text = (tma / "out" / name).read_text()
        assert "Smith" not in text
        assert str(tma) not in text
    assert [core["patient"] for core in record(tma)["cores"]] == [1, 1, 2, 2, 3]


def test_the_report_shows_figures_pictures_and_the_worst(tma: Path, engine: MockEngine):
    manifest(tma, "31230123")
    assert run(tma).exit_code == 0
    page = (tma / "out" / "evaluation.html").read_text()
    assert "Research use only" in page
    assert page.count("<svg") == 3
    assert "checksum " + "ab" * 32 in page
    assert "1 of 1 wrong scores" in page
    assert page.count("data:image/jpeg") == 1
    assert "tma · A-1" in page
    assert not re.search(r'(src|href)="http', page)
    assert "Quadratic weighted kappa" in page
    assert record(tma)["figures"]["off_by_two"] == pytest.approx({"value": 0.125, "n": 8, "low": 0, "high": 0.375})


def test_what_cannot_be_scored_is_listed_with_its_reason(tma: Path, engine: MockEngine):
    (tma / "bad.png").write_text("no")
    Image.fromarray(np.full((200, 200, 3), 238, np.uint8)).save(tma / "glass.png")
    manifest(tma, "0123", "bad.png,,2,x", "tma.png,Z-9,1,y", "glass.png,*,3,z")
    result = run(tma)
    assert result.exit_code == 3
    found = record(tma)
    assert (found["cores_scored"], found["cores_unscored"]) == (4, 3)
    why = [core["reason"] for core in found["cores"][4:]]
    assert "bad.png is not an image" in why[0]
    assert why[1] == "tma has no core Z-9."
    assert "Not scorable" in why[2]
    assert found["cores"][4]["value"] is None
    assert "tma has no core Z-9." in (tma / "out" / "evaluation.html").read_text()


def test_nothing_is_overwritten_unasked(tma: Path, engine: MockEngine):
    manifest(tma)
    assert run(tma).exit_code == 0
    result = run(tma)
    assert result.exit_code == 1
    sentence(result, "already holds evaluation.json")
    assert engine.runs == 8
    assert run(tma, "--overwrite").exit_code == 0
    assert engine.runs == 16


def test_a_stopped_run_goes_on_and_ends_the_same(tma: Path, engine: MockEngine, monkeypatch: pytest.MonkeyPatch):
    manifest(tma, "01230122")
    assert run(tma).exit_code == 0
    whole = record(tma)
    judge = MockEngine.run
    engine.runs = 0

    def stopping(self: MockEngine, pixels: np.ndarray) -> np.ndarray:
        if self.runs == 5:
            raise KeyboardInterrupt
        return judge(self, pixels)

    monkeypatch.setattr(MockEngine, "run", stopping)
    result = run(tma, "--overwrite")
    assert result.exit_code == 130
    assert "stopped after 5 of 8 cores" in result.stderr
    part = tma / "out" / "evaluation.part"
    part.write_text(part.read_text()[:-40])  # a kill in the middle of a line
    monkeypatch.setattr(MockEngine, "run", judge)
    result = run(tma, "--overwrite")
    assert result.exit_code == 0
    assert engine.runs == 5 + 4
    assert "4 cores were scored before" in result.stderr
    assert record(tma) == whole
    assert not part.exists()


def test_a_part_of_another_run_is_not_gone_on_with(tma: Path, engine: MockEngine):
    manifest(tma)
    (tma / "out").mkdir()
    (tma / "out" / "evaluation.part").write_text('{"model": "other"}\n')
    result = run(tma)
    assert result.exit_code == 1
    sentence(result, "of another model, manifest or seed")
    assert run(tma, "--overwrite").exit_code == 0


def test_one_split(tma: Path, engine: MockEngine):
    rows = [f"tma.png,{name},{k % 4},p{k},{'test' if k < 4 else 'train'}" for k, name in enumerate(NAMES)]
    manifest(tma, "", *rows, header="image,core,score,patient,split")
    assert run(tma, "--split", "test").exit_code == 0
    assert record(tma)["cores_scored"] == 4
    result = run(tma, "--split", "blind")
    sentence(result, 'no split "blind"')


def test_cores_are_found_where_no_file_tells_them(tma: Path, engine: MockEngine):
    (tma / "tma.cores.csv").unlink()
    manifest(tma)
    result = run(tma)
    assert result.exit_code == 0, result.output
    assert "were found and named" in result.stderr
    assert record(tma)["figures"]["accuracy"]["value"] == 1


def test_bad_wishes(tma: Path, engine: MockEngine):
    result = run(tma)
    assert result.exit_code == 1
    sentence(result, "no file")
    (tma / "glass.png").write_bytes((tma / "single.png").read_bytes())
    manifest(tma, "")
    sentence(run(tma), "names no core|no table")
    manifest(tma, "0")
    result = cli("evaluate", tma / "manifest.csv", "-o", tma / "out")
    assert result.exit_code == 1
    sentence(result, "None of the 1 cores could be scored: .*pixel")
    assert run(tma, "--device", "abacus").exit_code == 2


def calibrated(folder: Path, controls: Path, *more: object) -> Result:
    return cli("calibrate", controls, "--batch", "run 7", "-o", folder / "run7.json", "--pixel-size", 2, *more)


def test_controls_move_the_cut_points_and_scores_tell_so(tma: Path, engine: MockEngine):
    """A laboratory whose brown is stronger: what the engine calls 1+ is its 0, and so on."""
    path = manifest(tma, "00120012")
    assert run(tma).exit_code == 0
    before = record(tma)
    result = calibrated(tma, path)
    assert result.exit_code == 0, result.output
    assert "8 control cores (4 of 0, 2 of 1+, 2 of 2+)" in result.stdout
    assert "No control showed 3+" in result.stdout
    result = run(tma, "--calibration", tma / "run7.json", "--overwrite")
    assert result.exit_code == 0, result.output
    assert "calibrated for run 7" in result.stdout
    after = record(tma)
    assert after["figures"]["accuracy"]["value"] > before["figures"]["accuracy"]["value"]
    assert after["model"]["recalibration"]["batch"] == "run 7"
    assert "refitted for batch run 7 on 8 control cores" in (tma / "out" / "evaluation.html").read_text()


def test_scores_made_with_a_calibration_carry_its_name(tma: Path, engine: MockEngine):
    assert calibrated(tma, manifest(tma, "0012")).exit_code == 0
    arguments = ("score", tma / "tma.png", "-o", tma / "scored", "--cores", tma / "tma.cores.csv", "--pixel-size", 2)
    assert cli(*arguments, "--calibration", tma / "run7.json").exit_code == 0
    model = json.loads((tma / "scored" / "tma.run.json").read_text())["model"]
    assert model["recalibration"]["batch"] == "run 7"
    assert model["recalibration"]["n"] == 4
    sentence(cli(*arguments, "--calibration", tma / "manifest.csv", "--overwrite"), "no calibration of napari-her2")


def test_reader_scores_beside_a_models_scores_are_controls(tma: Path, engine: MockEngine):
    """The same controls by manifest and by table give the same cut points, also from scores of another batch."""
    assert calibrated(tma, manifest(tma, "0012")).exit_code == 0
    by_manifest = json.loads((tma / "run7.json").read_text())
    for more in ((), ("--calibration", tma / "run7.json")):
        folder = tma / f"scored{len(more)}"
        arguments = ("score", tma / "tma.png", "-o", folder, "--cores", tma / "tma.cores.csv", "--pixel-size", 2)
        assert cli(*arguments, *more).exit_code == 0
        table = folder / "tma.cores.csv"
        lines = [line.split(",") for line in table.read_text().splitlines()]
        column = lines[0].index("reader_score")
        for line, score in zip(lines[1:], ("0", "0", "1+", "2+"), strict=False):
            line[column] = score
        table.write_text("\n".join(",".join(line) for line in lines) + "\n")
        output = folder / "again.json"
        result = cli("calibrate", table, "--batch", "run 7", "-o", output)
        assert result.exit_code == 0, result.output
        again = json.loads(output.read_text())
        assert again["cuts"] == pytest.approx(by_manifest["cuts"], abs=0.02)
        assert again["old_cuts"] == by_manifest["old_cuts"]
    (folder / "tma.run.json").write_text('{"model": {"name": "old", "sha256": "cd"}}')
    sentence(cli("calibrate", table, "--batch", "b", "-o", tma / "x.json"), r"another model \(old\)")


def test_normalised_colours_are_told_everywhere_and_calibrations_keep_to_them(tma: Path, engine: MockEngine):
    path, table = manifest(tma, "0012"), tma / "scored" / "tma.cores.csv"
    arguments = ("score", tma / "tma.png", "-o", tma / "scored", "--cores", tma / "tma.cores.csv", "--pixel-size", 2)
    assert cli(*arguments, "--no-measure", "--normalise").exit_code == 0
    told = json.loads((tma / "scored" / "tma.run.json").read_text())
    assert told["parameters"]["normalise"]
    assert set(told["normalised"]) == {"stains", "reference"}
    assert told["seconds"]["stains"] > 0
    assert set(pd.read_csv(table)["normalised"].dropna()) == {"yes"}
    assert "normalised to the model" in (tma / "scored" / "tma.report.html").read_text(encoding="utf-8")
    # made with the one, refused by the other
    assert "run7.json --normalise" in calibrated(tma, path, "--normalise").stdout.replace("\n", "")
    assert json.loads((tma / "run7.json").read_text())["normalised"]
    with_it = ("--calibration", tma / "run7.json", "--overwrite")
    assert cli(*arguments, *with_it, "--normalise").exit_code == 0
    sentence(cli(*arguments, *with_it), "run 7 was made with normalised colours")
    assert run(tma, *with_it[:2], "--normalise").exit_code == 0
    assert record(tma)["normalised"]
    assert "normalised to the model" in (tma / "out" / "evaluation.html").read_text(encoding="utf-8")
    assert calibrated(tma, path, "--overwrite").exit_code == 0
    sentence(cli(*arguments, *with_it, "--normalise"), "run 7 was made without normalised colours")
    assert cli(*arguments, *with_it).exit_code == 0
    assert json.loads((tma / "scored" / "tma.run.json").read_text())["normalised"] is None
    assert set(pd.read_csv(table)["normalised"].dropna()) == {"no"}


def test_controls_of_a_table_say_themselves_how_they_were_scored(tma: Path, engine: MockEngine):
    manifest(tma, "0012")
    scores = dict(zip(NAMES, ("0", "0", "1+", "2+"), strict=False))
    arguments = ("score", tma / "tma.png", "-o", tma / "s", "--cores", tma / "tma.cores.csv", "--pixel-size", 2)
    assert cli(*arguments, "--no-measure", "--normalise").exit_code == 0
    table = pd.read_csv(tma / "s" / "tma.cores.csv", dtype=str, keep_default_na=False)
    table["reader_score"] = [scores.get(name, "") for name in table["core"]]
    table.to_csv(tma / "s" / "tma.cores.csv", index=False)
    controls = ("calibrate", tma / "s" / "tma.cores.csv", "--batch", "b", "-o", tma / "b.json", "--overwrite")
    assert cli(*controls).exit_code == 0
    assert json.loads((tma / "b.json").read_text())["normalised"]
    table.assign(normalised=["no", *table["normalised"][1:]]).to_csv(tma / "s" / "tma.cores.csv", index=False)
    sentence(cli(*controls), "with and without normalised colours")
    table.assign(normalised="no").to_csv(tma / "s" / "tma.cores.csv", index=False)
    sentence(cli(*controls, "--normalise"), "scored without normalised colours")


@pytest.mark.parametrize(
    ("scores", "says"), [("01", "2 scorable control cores of 2 scores: at least 3"), ("1111", "of 1 score:")]
)
def test_too_few_controls(scores: str, says: str, tma: Path, engine: MockEngine):
    result = calibrated(tma, manifest(tma, scores))
    assert result.exit_code == 1
    sentence(result, says)
    assert not (tma / "run7.json").exists()


def test_a_calibration_is_not_overwritten_unasked(tma: Path, engine: MockEngine):
    path = manifest(tma, "0123")
    assert calibrated(tma, path).exit_code == 0
    runs = engine.runs
    sentence(calibrated(tma, path), "exists already")
    assert engine.runs == runs
    assert calibrated(tma, path, "--overwrite").exit_code == 0


def test_tables_without_reader_scores_or_scores_are_no_controls(tma: Path, engine: MockEngine):
    sentence_of = cli("calibrate", tma / "tma.cores.csv", "--batch", "b", "-o", tma / "x.json")
    assert sentence_of.exit_code == 1
    assert "has no reader score" in sentence_of.stderr
