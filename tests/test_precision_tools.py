"""The comparison with ModelOpt ends with a message where ModelOpt is missing."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "precision_tools.py"


@pytest.mark.skipif(importlib.util.find_spec("modelopt") is not None, reason="it is installed")
def test_without_modelopt_it_says_what_to_install(tmp_path):
    words = ["model:weights", "--train", tmp_path, "--held-out", tmp_path, "--out", tmp_path]
    done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pip install 'nvidia-modelopt[onnx]'" in done.stdout
    assert list(tmp_path.iterdir()) == []
