"""The benchmarks of label selection run from end to end; their figures are for other machines."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def run(script, *words):
    command = [sys.executable, str(BENCHMARKS / script), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=230)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_selection(write_recipe, tmp_path):
    words = ["--budget", 4, "--budget", 8, "--seeds", 2, "--out", tmp_path / "out"]
    for name in ("random", "stratified-random", "cold-paws", "k-center@map"):
        words += ["--strategy", name]
    printed = run("selection.py", write_recipe(), *words)
    tables = json.loads((tmp_path / "out" / "selection.json").read_text())["tables"]["recipe"]
    assert list(tables) == ["nearest label", "linear"]
    for rows in tables.values():
        assert len(rows) == 8
        for row in rows:
            assert (row["above_random"] is None) == (row["strategy"] == "random")
            assert 0 <= row["accuracy"]["mean"] <= 1
            if row["strategy"] == "stratified-random":
                assert row["classes_found"]["mean"] == 2
            assert f"{row['accuracy']['mean']:.3f}" in printed


def test_selection_scale(tmp_path):
    words = ["--points", 150, "--points", 300, "--reference", 150, "--out", tmp_path]
    printed = run("selection_scale.py", *words)
    cells = json.loads((tmp_path / "scale.json").read_text())["cells"]
    assert list(cells) == ["cold-paws-cosine 150", "scikit-learn 150", "cold-paws-cosine 300"]
    for cell in cells.values():
        assert cell["import_mb"] <= cell["mb"]
        assert cell["map_s"] + cell["choice_s"] == pytest.approx(cell["seconds"], abs=0.5)
    assert run("selection_scale.py", *words) == printed  # what is there is not run again
