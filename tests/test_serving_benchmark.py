"""benchmarks/serving.py runs from end to end on a bundle made by hand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra `serve`")
SCRIPT = Path(__file__).parent.parent / "benchmarks" / "serving.py"


def test_every_client_is_answered_and_counted(sound_bundle, tmp_path):
    words = ["--seconds", "0.5", "--clients", "2", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(sound_bundle), *words],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    cells = json.loads((tmp_path / "serving.json").read_text())["cells"]
    assert [(each["server"], each["clients"]) for each in cells] == [
        ("no server", 1),
        ("batch 1", 2),
        ("batch 8", 2),
        ("batch 8", 500),
    ]
    assert all(each["images"] > 0 and each["other"] == 0 for each in cells)
    assert cells[-1]["refused (503)"] > 0
    assert "batch 8" in done.stdout
