"""A fixed sample of the hostile drill, and real runs that take a few signals."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KINDS = {"recipes", "images", "CSVs", "bundles", "packed bundles", "reports"}


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What the drill said of 300 cases and four signals; a fault comes with how to repeat it.

    It runs in a process of its own, for it changes the one that it runs in. It limits memory and
    CPU time, not how long something takes: a machine may be busy.
    """
    words = ["--cases", "300", "--kills", "3", "--terms", "1", "--small", "--kept"]
    command = [sys.executable, "-m", "drill", *words, str(tmp_path_factory.mktemp("kept"))]
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'plugins'}"}
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **paths}, capture_output=True)
    said = (done.stderr + done.stdout).decode()
    assert done.returncode == 0, said
    return said


@pytest.mark.timeout(1800)
def test_300_hostile_inputs_are_treated_right(said):
    rows = re.findall(r"^\| ([^|]+?) +\| (\d+) +\| ([^|]+?) +\|.*\| 0 +\|$", said, re.MULTILINE)
    assert {kind for kind, _, _ in rows} == KINDS
    assert sum(int(cases) for _, cases, _ in rows) == 300
    # If everything were refused, or nothing, the changes would not try much.
    assert all({"0", "2"} <= set(re.findall(r"(\d+):", codes)) for _, _, codes in rows), said


@pytest.mark.timeout(1800)
def test_runs_that_are_killed_or_told_to_stop_end_with_the_same_bits(said):
    assert re.search(r"^\| all +\| 3 +\| 1 +\|$", said, re.MULTILINE), said
    assert "0 faults" in said
