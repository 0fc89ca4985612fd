"""The benchmark of runtimes runs from end to end on a tiny student; its figures are for others."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "backends.py"


@pytest.fixture
def pictures(tmp_path):
    """Twelve pictures of two classes, red and blue."""
    rng = np.random.default_rng(0)
    for name, channel in (("red", 0), ("blue", 2)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 100, (40, 40, 3), np.uint8)
            pixels[..., channel] += 120
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    return tmp_path / "images"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_runtime_and_precision_has_a_row_with_figures_or_the_reason(pictures, tmp_path):
    words = [
        pictures,
        "--model",
        "test_efficientnet",
        "--size",
        "32",
        "--seconds",
        "0.05",
        "--threads",
        "1",
    ]
    command = [sys.executable, SCRIPT, *words, "--out", tmp_path / "out"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = json.loads((tmp_path / "out/backends.json").read_text())["students"]
    student = found["test_efficientnet"]
    assert (student["weights"], student["answered"]) == ("random weights", 6)
    rows = {(row["runtime"], row["precision"]): row for row in student["rows"]}
    for precision in ("fp32", "fp16", "int8"):
        row = rows["ONNX Runtime", precision]
        assert row["why_not"] == ""
        assert [each["batch"] for each in row["latency"]] == [1]
        assert all(0 < each["median_ms"] <= each["p95_ms"] for each in row["latency"])
        low, high = row["agreement"][1:]
        assert 0 <= low <= row["agreement"][0] <= high <= 1
    sizes = [rows["ONNX Runtime", each]["size_mb"] for each in ("int8", "fp16", "fp32")]
    assert sizes == sorted(sizes)
    assert rows["ONNX Runtime", "fp32"]["cosine_min"] > 0.99999
    for row in student["rows"]:
        assert bool(row["why_not"]) != bool(row["latency"])
        assert row["runtime"] in printed
    # What is there is not measured again
    again = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert again == printed
