"""The backends there are, and the one that opens a file. A new backend is one line here."""

from __future__ import annotations

from pathlib import Path

from runtime.backends.base import Backend, Provider, Session, SessionOptions
from runtime.backends.litert.backend import LiteRt
from runtime.backends.ncnn.backend import Ncnn
from runtime.backends.openvino.backend import OpenVino
from runtime.backends.ort import OnnxRuntime
from runtime.backends.trt import TensorRT
from runtime.errors import InputError

BACKENDS: list[Backend] = [OnnxRuntime(), TensorRT(), Ncnn(), LiteRt(), OpenVino()]
"""The first that opens a kind of file is the one that runs it."""


def backend_of(path: Path) -> Backend:
    """Return the backend that opens a file, by its ending.

    Raises:
        InputError: there is no such file, or no backend opens it.
    """
    for backend in BACKENDS:
        if path.suffix in backend.suffixes:
            return backend
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    known = ", ".join(suffix for backend in BACKENDS for suffix in backend.suffixes)
    raise InputError(f"{path}: no backend opens a file of this kind; known: {known}")


def open_session(
    path: Path, *, provider: Provider, threads: int | None = None, batches: tuple[int, int] = (1, 8)
) -> Session:
    """Open a file of the student with its backend.

    Args:
        path: such as a `.onnx` or `.engine` file.
        provider: see `SessionOptions`, as the other two.
        threads: CPU threads within one operator.
        batches: smallest and largest batch to come.

    Raises:
        InputError: the file is missing or damaged, or is for another machine.
        MissingDependencyError: the backend is not installed, or did not start as ordered.
    """
    return backend_of(path).open(path, SessionOptions(provider, threads, batches))
