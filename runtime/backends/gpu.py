"""The NVIDIA GPU of this machine, as reported by the CUDA runtime and the driver."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import Any

from runtime.errors import MissingDependencyError


@dataclass(frozen=True)
class Gpu:
    """One GPU and what drives it."""

    name: str
    compute_capability: str
    """Such as `8.9`."""
    cuda: str
    """Newest CUDA version that the driver supports, such as `13.0`."""
    driver: str | None
    """Version of the driver; None without nvidia-smi (Jetson)."""


def find() -> Gpu | None:
    """Return the first GPU that CUDA sees, or None: no GPU, no driver, or no cuda-python."""
    try:
        cuda = import_cuda()
    except MissingDependencyError:
        return None
    status, count = cuda.cudaGetDeviceCount()
    if status != cuda.cudaError_t.cudaSuccess or not count:
        return None
    _, properties = cuda.cudaGetDeviceProperties(0)
    _, version = cuda.cudaDriverGetVersion()
    return Gpu(
        name=properties.name.decode(errors="replace").rstrip("\0"),
        compute_capability=f"{properties.major}.{properties.minor}",
        cuda=f"{version // 1000}.{version % 1000 // 10}",
        driver=_driver(),
    )


def import_cuda() -> Any:
    """The `cuda.bindings.runtime` module of cuda-python.

    Raises:
        MissingDependencyError: it is not installed, or finds no CUDA libraries.
    """
    try:
        from cuda.bindings import runtime
    except (ImportError, RuntimeError) as error:  # RuntimeError: no libcudart beside it
        raise MissingDependencyError(
            f"cuda-python cannot be imported: {error}\n"
            "  pip install 'edge-compressor[tensorrt]' (or [tensorrt-rtx])"
        ) from error
    return runtime


def _driver() -> str | None:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = answer.stdout.split()
    return lines[0] if lines else None
