"""docs/whole_job.py does the whole job through the API, in a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
def test_the_script_of_the_documents_runs(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "whole_job.py"), "job"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^epoch [12]: loss", done.stdout, re.MULTILINE)) == 4
    assert "label first: " in done.stdout
    assert "the bundle passes here: True" in done.stdout
    assert (tmp_path / "job" / "run" / "bundle" / "student.fp32.onnx").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["job"]
