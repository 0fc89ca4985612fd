"""The NVIDIA GPU of this machine, as reported by the CUDA runtime and the driver.

Always the first that CUDA shows (device 0); CUDA_VISIBLE_DEVICES=1 makes another one the first.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from functools import lru_cache
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
    """Return the first GPU that CUDA sees, or None: `why_none` says why."""
    found = _look()
    return found if isinstance(found, Gpu) else None


def why_none() -> str:
    """Return why CUDA sees no GPU here, with the way out, in one line; empty if it sees one."""
    found = _look()
    return "" if isinstance(found, Gpu) else found


def import_cuda() -> Any:
    """The module `cuda.bindings.runtime` of the package cuda-bindings.

    Raises:
        MissingDependencyError: it is not installed, or finds no CUDA libraries.
    """
    try:
        from cuda.bindings import runtime
    except (ImportError, RuntimeError) as error:  # RuntimeError: no libcudart beside it
        raise MissingDependencyError(
            f"cuda-bindings cannot be imported: {error}\n"
            "  pip install 'edge-compressor[tensorrt]' (or [tensorrt-rtx]); where TensorRT is "
            "there already (Jetson, NVIDIA's containers): pip install 'cuda-bindings>=12.9'"
        ) from error
    return runtime


@lru_cache(maxsize=1)
def _look() -> Gpu | str:
    """Look once in a process: it starts nvidia-smi, which takes up to two seconds."""
    try:
        cuda = import_cuda()
        status, count = cuda.cudaGetDeviceCount()
        if status != cuda.cudaError_t.cudaSuccess or not count:
            return _why(cuda, status)
        status, properties = cuda.cudaGetDeviceProperties(0)
        if status != cuda.cudaError_t.cudaSuccess:
            return _why(cuda, status)
        _, version = cuda.cudaDriverGetVersion()
    except MissingDependencyError as error:
        return " ".join(line.strip() for line in str(error).splitlines())
    except RuntimeError as error:  # cuda-bindings 12 loads the driver at the first call
        return f"no NVIDIA driver can be loaded ({error}); install one, and look at nvidia-smi"
    return Gpu(
        name=properties.name.decode(errors="replace").rstrip("\0"),
        compute_capability=f"{properties.major}.{properties.minor}",
        cuda=_version(version),
        driver=_driver(),
    )


def _why(cuda: Any, status: Any) -> str:
    errors = cuda.cudaError_t
    if status == errors.cudaErrorInsufficientDriver:
        _, of_driver = cuda.cudaDriverGetVersion()
        _, of_bindings = cuda.cudaRuntimeGetVersion()
        if not of_driver:
            return "no NVIDIA driver is installed; install one, and look at nvidia-smi"
        major = of_driver // 1000
        return (
            f"the driver is too old: it supports CUDA {_version(of_driver)}, and the installed "
            f"cuda-bindings need {_version(of_bindings)}; a newer driver, or: "
            f"pip install 'cuda-bindings<{major + 1}'"
        )
    if status in (errors.cudaSuccess, errors.cudaErrorNoDevice):
        if (shown := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
            return f"CUDA sees no GPU, with CUDA_VISIBLE_DEVICES={shown}"
        return "CUDA sees no GPU; look at nvidia-smi"
    _, said = cuda.cudaGetErrorString(status)
    return f"CUDA: {said.decode() if isinstance(said, bytes) else said} ({status!s})"


def _version(number: int) -> str:
    """CUDA's 12060 is 12.6."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _driver() -> str | None:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = answer.stdout.split()
    return lines[0] if lines else None
