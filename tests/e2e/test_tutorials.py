"""The tutorials run: the notebook cell by cell, the commands one after the other."""

import re
import shlex
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from compressor.cli import app
from runtime import __main__ as device
from runtime.cli import guarded

pytestmark = pytest.mark.usefixtures("session_cache")  # both make the quickstart's student

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
MADE = {
    "compressor run quickstart/cpu.yaml": "runs/quickstart/report.html",
    "compressor run quickstart/cpu.yaml --out runs/closed-form --set distill.epochs=0": (
        "runs/closed-form/bundle/manifest.json"
    ),
    "compressor run quickstart/cpu.yaml --set 'export.precisions=[fp32, fp16]'": (
        "runs/quickstart/bundle/student.fp16.onnx"
    ),
    "python -m runtime check runs/quickstart/bundle --out checked": "checked/report.html",
    "compressor pack runs/quickstart/bundle --tar student.tar": "student.tar",
}
"""What must be there after a command."""


def commands():
    text = (TUTORIALS / "command_line.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]


def test_the_notebook_runs(tmp_path):
    notebook = nbformat.read(TUTORIALS / "first_student.ipynb", as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    assert (tmp_path / "first-student" / "run" / "report.html").is_file()


def test_the_commands_run_in_their_order(tmp_path, monkeypatch, capsys):
    told = commands()
    assert set(MADE) <= set(told)
    monkeypatch.chdir(tmp_path)
    for line in told:
        program, *words = shlex.split(line)
        if on_device := program == "python":
            assert words[:2] == ["-m", "runtime"]
            program, words = "runtime", words[2:]
        monkeypatch.setattr(sys, "argv", [program, *words])
        with pytest.raises(SystemExit) as ended:
            guarded(device.main) if on_device else app.main()
        assert not ended.value.code, f"{line}\n{capsys.readouterr()}"
        if line in MADE:
            assert (tmp_path / MADE[line]).is_file(), line
