"""What a device has: the wheel, numpy, Pillow, click and one backend. Runs in such an environment.

`make base` makes it; elsewhere (where training packages are installed) these tests are skipped.
"""

import re
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    find_spec("torch") is not None, reason="for an environment without training packages"
)


def call(*words):
    return subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True)


def test_no_training_package_is_there():
    for name in ("torch", "timm", "sklearn", "onnx", "pydantic"):
        assert find_spec(name) is None


def test_the_runtime_is_imported_and_helps():
    import runtime

    assert "site-packages" in runtime.__file__  # the wheel, not the checkout
    answer = call("runtime", "--help")
    assert answer.returncode == 0
    assert "check" in answer.stdout


def test_commands_that_need_more_say_what_to_install():
    for words in (["run", "x.yaml"], ["targets"], ["schema"]):
        answer = call("compressor", *words)
        assert answer.returncode == 3
        assert "pip install 'edge-compressor[train,cpu]'" in answer.stderr
        assert "Traceback" not in answer.stderr


def test_init_says_what_to_install_and_audit_runs(tmp_path):
    answer = call("compressor", "init", str(tmp_path))
    assert answer.returncode == 3
    assert "pip install" in answer.stderr
    from PIL import Image

    for number in range(12):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    answer = call("compressor", "audit", str(tmp_path))
    assert answer.returncode == 0, answer.stderr
    assert "12 usable images" in answer.stdout


def test_the_doctor_runs_without_them():
    answer = call("compressor", "doctor")
    assert answer.returncode == 0
    assert "to train: pip install 'edge-compressor[train]'" in answer.stdout


def test_it_takes_less_than_150_mb_beyond_python():
    """Every file that pip unpacked; bytecode comes as modules are used (`pip --no-compile`)."""
    wanted, found = ["edge-compressor", "onnxruntime"], dict[str, int]()
    while wanted:
        name = wanted.pop()
        distribution = metadata.distribution(name)
        files = [path for path in distribution.files or () if path.suffix != ".pyc"]
        found[name] = sum(Path(path.locate()).stat().st_size for path in files)
        needed = [line for line in distribution.requires or () if "extra ==" not in line]
        names = {re.split(r"[^\w.-]", line)[0] for line in needed}
        wanted += [each for each in names if each not in found and is_installed(each)]
    assert {"numpy", "pillow", "click", "onnxruntime"} <= found.keys()
    assert 50e6 < sum(found.values()) < 150e6, found


def is_installed(name):
    try:
        return bool(metadata.distribution(name))
    except metadata.PackageNotFoundError:  # of other platforms alone
        return False
