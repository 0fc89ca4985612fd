"""What an import costs: the device's packages stay light, the command line answers at once."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "torchvision", "timm", "sklearn", "onnx", "onnxruntime", "onnxscript", "scipy",
         "safetensors", "pydantic", "ruamel", "rich", "tensorrt"}  # fmt: skip


def loaded_by(statement):
    """Top-level modules that a statement loads in a fresh interpreter."""
    code = f"import sys; {statement}; print(' '.join({{m.split('.')[0] for m in sys.modules}}))"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(answer.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import compressor",
        "import runtime",
        "import export",
        "import runtime.evaluation.check, runtime.report.markdown, runtime.__main__",
        "import compressor.cli.app",
        "import compressor.data.dataset, compressor.pipeline.storage.store, export.bundle",
    ],
)
def test_nothing_heavy_is_loaded(statement):
    assert not loaded_by(statement) & HEAVY


@pytest.mark.parametrize("package", ["compressor", "export", "runtime"])
def test_all_names_exactly_what_is_public(package):
    """Each name of `__all__` can be imported, and no other public name is there beforehand."""
    code = (
        f"import {package} as it, types; "
        "public = [n for n, v in vars(it).items() if not n.startswith('_') "
        "and not isinstance(v, types.ModuleType)]; "
        "assert not set(public) - set(it.__all__) - {'TYPE_CHECKING', 'import_module'}, public; "
        "[getattr(it, name) for name in it.__all__]; "
        "assert list(it.__all__) == sorted(it.__all__), 'not sorted'; "
        "print(hasattr(it, 'nothing'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


def test_recipes_are_read_without_torch():
    assert not loaded_by("import compressor.recipe.plan, compressor.pipeline.runner") & {
        "torch",
        "timm",
        "onnx",
    }
