from __future__ import annotations

import pytest
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_her2.viewer import ask


@pytest.mark.parametrize(("press", "answer"), [("Replace them", True), ("Cancel", False), (None, False)])
def test_only_the_button_that_agrees_agrees(qtbot, monkeypatch, press, answer):
    seen = {}

    def answered(box):
        seen["question"], seen["default"] = box.text(), box.defaultButton().text()
        for button in box.buttons():
            if button.text() == press:
                button.click()

    monkeypatch.setattr(QMessageBox, "exec", answered)
    assert ask.confirm("There are results.", "Replace them") is answer
    assert seen == {"question": "There are results.", "default": "Cancel"}


def test_a_folder_or_a_file_can_be_refused(qtbot, monkeypatch, tmp_path):
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("", ""))
    assert ask.folder() is None
    assert ask.model() is None
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "m.safetensors"), ""))
    assert ask.folder() == tmp_path
    assert ask.model() == tmp_path / "m.safetensors"
