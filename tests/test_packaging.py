"""Our generic import names are ours alone, and the tree is what it says it is."""

import importlib
import sys
from importlib import metadata
from pathlib import Path

import pytest

import runtime

if sys.version_info < (3, 11):
    pytest.skip("reads pyproject.toml with tomllib", allow_module_level=True)

import tomllib

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


def test_the_pinned_versions_are_among_those_that_every_extra_takes():
    """Else pip walks back to old versions of what asks for another one, or refuses."""
    requirements = pytest.importorskip("packaging.requirements")
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.lower().split("==") for line in lines if "==" in line)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    parsed = [requirements.Requirement(line) for group in groups for line in group]
    unfit = {
        str(each): pinned[each.name.lower()]
        for each in parsed
        if each.name.lower() in pinned and not each.specifier.contains(pinned[each.name.lower()])
    }
    assert unfit == {}


def test_a_gpu_without_torch_gets_cuda_and_cudnn_and_the_bindings_that_are_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert [line.split(">=")[0] for line in extras["gpu"]] == ["onnxruntime-gpu[cuda,cudnn]"]
    for flavour in ("tensorrt", "tensorrt-rtx"):
        assert any(line.startswith("cuda-bindings>=12.9") for line in extras[flavour])


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_the_shipped_networks_are_small_and_safe(role):
    from safetensors import safe_open

    path = ROOT / "recipes" / "quickstart" / f"{role}.safetensors"
    assert path.stat().st_size < 2_000_000
    with safe_open(path, "np") as file:
        assert file.metadata()["made_by"] == "tools/train_quickstart.py"
