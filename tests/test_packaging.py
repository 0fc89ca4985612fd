"""Our generic import names are ours alone, and the tree is what it says it is."""

import importlib
import sys
from importlib import metadata
from pathlib import Path

import pytest

import runtime

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["compressor", "export", "runtime"])
def test_no_other_distribution_owns_our_names(name):
    owners = set(metadata.packages_distributions().get(name, ["edge-compressor"]))
    assert owners == {"edge-compressor"}, f"{owners} install a top-level {name!r} over ours"
    assert Path(importlib.import_module(name).__file__).parent == ROOT / name


def test_the_version_is_the_distributions():
    assert metadata.version("edge-compressor") == runtime.__version__


def test_recipes_and_tests_are_no_packages():
    assert not list((ROOT / "recipes").rglob("*.py"))
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_no_module_hides_one_of_another_library():

    ours = {
        path.stem
        for name in ("compressor", "export", "runtime")
        for path in (ROOT / name).glob("*.py")
    }
    taken = sys.stdlib_module_names | {"onnx", "tensorrt", "torch", "timm", "click", "rich"}
    assert not (ours - {"__init__", "__main__"}) & taken


def test_the_shipped_teacher_is_small_and_safe():
    from safetensors import safe_open

    path = ROOT / "recipes" / "quickstart" / "teacher.safetensors"
    assert path.stat().st_size < 2_000_000
    with safe_open(path, "np") as file:
        assert file.metadata()["made_by"] == "tools/train_quickstart_teacher.py"
