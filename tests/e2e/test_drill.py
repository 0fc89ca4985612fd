"""A fixed sample of the hostile drill, and real runs that take a few signals."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
KINDS = {"recipes", "images", "CSVs", "bundles", "packed bundles", "reports"}


def drill(kept: Path, *words: str) -> str:
    """Run the drill in a process of its own, for it changes the one that it runs in.

    It limits memory and CPU time, not how long something takes: a machine may be busy. Where a case
    has a fault it says how to repeat it.
    """
    command = [sys.executable, "-m", "drill", "--kept", str(kept), *words]
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'plugins'}"}
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **paths}, capture_output=True)
    said = (done.stderr + done.stdout).decode()
    assert done.returncode == 0, said
    return said


def test_300_hostile_inputs_are_treated_right(tmp_path):
    said = drill(tmp_path, "--cases", "300", "--kills", "0", "--terms", "0")
    rows = re.findall(r"^\| ([^|]+?) +\| (\d+) +\| ([^|]+?) +\|.*\| 0 +\|$", said, re.MULTILINE)
    assert {kind for kind, _, _ in rows} == KINDS
    assert sum(int(cases) for _, cases, _ in rows) == 300
    # If everything were refused, or nothing, the changes would not try much.
    assert all({"0", "2"} <= set(re.findall(r"(\d+):", codes)) for _, _, codes in rows), said


def test_runs_that_are_killed_or_told_to_stop_end_with_the_same_bits(tmp_path):
    said = drill(tmp_path, "--cases", "0", "--kills", "3", "--terms", "1", "--small")
    assert re.search(r"^\| all +\| 3 +\| 1 +\|$", said, re.MULTILINE), said
    assert "0 faults" in said
