"""What the README promises is there: commands, options, files, the test command of CI."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from napari_her2.cli import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf8") if (ROOT / "README.md").exists() else ""

pytestmark = pytest.mark.skipif(not README, reason="no README beside the tests: they run from an installed copy")


def test_every_command_in_it_exists_with_its_options():
    group = typer.main.get_command(app)
    calls = re.findall(r"^napari-her2 (\w+)(.*?)(?:#.*)?$", README, re.MULTILINE)
    assert len(calls) >= 7
    for name, rest in calls:
        command = group.commands[name]  # type: ignore[attr-defined]
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--?[a-z][\w-]*", rest)) <= known, name


def test_its_python_example_is_code():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    compile(code, "README.md", "exec")
    for module in re.findall(r"from (napari_her2\.\w+) import (\w+)", code):
        assert hasattr(__import__(module[0], fromlist=[module[1]]), module[1])


def test_its_pictures_are_in_the_repository():
    pictures = re.findall(r"/main/(docs/images/\S+?)\)", README)
    assert pictures
    for picture in pictures:
        assert (ROOT / picture).is_file()


def test_it_says_research_use_only_and_keeps_the_papers_figure_out():
    assert "Research use only" in README
    assert "84.7" not in README


def test_ci_runs_its_test_command():
    (command,) = re.findall(r"<!-- tests -->\n```sh\n(.*?)\n```", README)
    assert command.startswith("python -m pip install ")
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf8")
