"""The commands that the README shows run, in their order and with their options."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compressor.cli import app
from runtime import __main__ as device
from runtime.cli import guarded

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
OTHER_TESTS = ("make ", "pip install ")
"""Run by CI itself (`make`), or by `make base` and tests/test_packaging.py (`pip`)."""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with `photos` of two classes and `other-photos`."""
    folder, rng = tmp_path_factory.mktemp("project"), np.random.default_rng(0)
    for name, channel, count in (
        ("photos/blue", 2, 40),
        ("photos/red", 0, 40),
        ("other-photos", 1, 4),
    ):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 128, (32, 32, 3), np.uint8)
            pixels[..., channel] += 100
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")
    return folder


@pytest.fixture
def command(project, monkeypatch, capsys):
    """Run a command line in the project: its exit code and everything that it printed."""
    monkeypatch.chdir(project)

    def run(line):
        program, *words = shlex.split(line)
        if program == "python":
            assert words[:2] == ["-m", "runtime"]
            program, words = "runtime", words[2:]
        monkeypatch.setattr(sys, "argv", [program, *words])
        with pytest.raises(SystemExit) as ended:
            guarded(device.main) if program == "runtime" else app.main()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out + printed.err

    return run


def small(project, write_recipe):
    """The recipe of the README, with networks and images small enough for a test."""
    changes = {
        "name": "photos-cpu",
        "data.images": "photos",
        "data.ood": "other-photos",
        "require": {"undecided": "pass", "size_mb": 50},
        "check": {"robustness_images": 2},
        "export": {"precisions": ["fp32"]},
    }
    write_recipe(changes, project / "recipe.yaml")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_command_of_the_readme_runs(command, project, write_recipe):
    shown = [line for line in COMMANDS if line and not line.startswith(OTHER_TESTS)]
    assert len(shown) >= 8
    for line in shown:
        if line.startswith("python -m runtime"):  # the bundle has travelled
            (project / "runs" / "photos-cpu" / "bundle").rename(project / "bundle")
        code, printed = command(line)
        assert code == 0, (line, printed)
        if line.startswith("compressor init"):
            assert (project / "recipe.yaml").is_file()
            small(project, write_recipe)
