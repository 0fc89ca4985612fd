"""What libraries refuse to do with a graph, as the one error that costs one file and no run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from runtime.backends.ort_library import load_errors
from runtime.errors import FileNotMadeError


@contextmanager
def refused_by(tool: str) -> Iterator[None]:
    """Raise what a tool raises on a graph that it cannot handle as `FileNotMadeError`.

    Args:
        tool: whose code runs inside, such as `ONNX Runtime's quantiser`. None of ours should.
    """
    try:
        yield
    except _refusals() as error:
        lines = str(error).strip().splitlines() or [""]
        raise FileNotMadeError(f"{tool} refused: {type(error).__name__}: {lines[0]}") from error


UNFORESEEN = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError,
              ValueError)  # fmt: skip
"""What Python code of a library raises on a network that it was not made for."""


def _refusals() -> tuple[type[Exception], ...]:
    """What onnx and ONNX Runtime raise on graphs that they were not made for."""
    import onnx

    return (
        *UNFORESEEN,
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        *load_errors(),
    )
