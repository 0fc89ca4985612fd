"""Make the files: ONNX and the bundle that travels to the device.

export.to_onnx(student, "student.onnx")
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from export.onnx_file import to_onnx

__all__ = ["to_onnx"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name in __all__:
        return getattr(import_module("export.onnx_file"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
