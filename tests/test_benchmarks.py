"""The benchmarks run from end to end on a tiny recipe; their figures are for other machines."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def recipe(write_recipe, tmp_path):
    rng = np.random.default_rng(1)
    (tmp_path / "other").mkdir()
    for number in range(8):
        pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "other" / f"{number}.png")
    return write_recipe({"data.ood": str(tmp_path / "other"), "distill.epochs": 2})


def run(script, *words):
    command = [sys.executable, str(BENCHMARKS / script), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=230)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(600)
def test_methods_and_heads(recipe, tmp_path):
    out = tmp_path / "out"
    words = [recipe, "--student", "cnn", "--method", "tintem", "--method", "supervised"]
    words += ["--seeds", 2, "--jobs", 2, "--out", out]
    printed = run("methods.py", *words)
    found = json.loads((out / "methods.json").read_text())["tables"]["recipe"]["cnn"]
    assert list(found) == ["tintem", "supervised"]
    for figures in found.values():
        for name in ("kNN", "linear", "kNN agrees", "linear agrees", "OOD AUROC", "OOD FPR95"):
            assert 0 <= figures[name]["low"] <= figures[name]["high"] <= 1
            assert len(figures[name]["seeds"]) == 2
        assert -1 <= figures["similarity r"]["low"] <= figures["similarity r"]["high"] <= 1
        mean = f"{figures['kNN']['mean']:.3f}"
        assert mean in printed
    # What is there is not run again.
    times = {path: path.stat().st_mtime_ns for path in out.rglob("seen.npz")}
    assert len(times) == 4
    assert run("methods.py", *words) == printed
    assert times == {path: path.stat().st_mtime_ns for path in out.rglob("seen.npz")}

    folder = out / "recipe" / "cnn-tintem-0" / "run"
    printed = run("heads.py", folder, "--width", 8, "--width", 24, "--steps", 5, "--out", out)
    heads = json.loads((out / "heads.json").read_text())["heads"]
    identity = next(each for each in heads if each["head"] == "identity")
    assert identity["cosine_mae"][0] == 0
    assert identity["cosine_correlation"][0] == pytest.approx(1)
    assert "learned, joint" in printed

    printed = run("few_labels.py", folder, "--seeds", 2, "--out", out)
    cells = json.loads((out / "few_labels.json").read_text())
    assert set(cells) >= {f"run | student | per class {n} | 1" for n in (1, 2, 5)}
    for cell in cells.values():
        assert set(cell["probes"]) == {"propagation", "linear", "prototypes", "voting"}
        assert cell["chosen"] in cell["probes"]
    assert "| 2 a class" in printed
    assert "| ECE of chosen |" in printed
