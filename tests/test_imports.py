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
        "import runtime",
        "import runtime.evaluation.check, runtime.report.markdown, runtime.__main__",
        "import compressor.cli.app",
        "import compressor.data.dataset, compressor.pipeline.stage, export.bundle",
    ],
)
def test_nothing_heavy_is_loaded(statement):
    assert not loaded_by(statement) & HEAVY


def test_recipes_are_read_without_torch():
    assert not loaded_by("import compressor.recipe.plan, compressor.pipeline.runner") & {
        "torch",
        "timm",
        "onnx",
    }
