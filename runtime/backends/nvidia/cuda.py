"""Calls of the CUDA runtime, whose refusals are raised; and what a session holds on the GPU."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from runtime.backends.nvidia.gpu import import_cuda
from runtime.errors import MissingDependencyError


class Cuda:
    """The CUDA runtime: `cuda(cuda.api.cudaMalloc(64))` returns the address, or raises."""

    def __init__(self) -> None:
        """Raises MissingDependencyError where cuda-bindings are not installed."""
        self.api = import_cuda()

    def __call__(self, answer: tuple[Any, ...]) -> Any:
        """Return the result of a call.

        Raises:
            MissingDependencyError: CUDA refused it; a full memory is told with the way out.
        """
        status, *values = answer
        if status == self.api.cudaError_t.cudaSuccess:
            return values[0] if values else None
        self.forget_error()
        if status == self.api.cudaError_t.cudaErrorMemoryAllocation:
            raise memory_full(self.api)
        _, said = self.api.cudaGetErrorString(status)
        words = said.decode() if isinstance(said, bytes) else str(said)
        raise MissingDependencyError(
            f"CUDA: {words} ({status!s}).\n  Is the GPU free, and does nvidia-smi answer?"
        )

    def forget_error(self) -> None:
        """Clear CUDA's last error: TensorRT looks at it, and would take it for its own."""
        self.api.cudaGetLastError()


def memory_full(api: Any) -> MissingDependencyError:
    """Return the error of a GPU without memory, with how much of it is free."""
    status, free, total = api.cudaMemGetInfo()
    amount = ""
    if status == api.cudaError_t.cudaSuccess:
        amount = f" ({(total - free) / 1e9:.1f} of {total / 1e9:.1f} GB in use)"
    return MissingDependencyError(
        f"the GPU's memory is full{amount}.\n  Is another process on it (nvidia-smi)? An FP16 or "
        "INT8 engine needs less, and so does one for a target file with smaller `batches`."
    )


class Holdings:
    """What is held on the GPU, to be freed once."""

    def __init__(self) -> None:
        self._held: list[Callable[[], object]] = []

    def hold(self, value: Any, free: Callable[[Any], object]) -> Any:
        """Return the value; `free` is called with it in the end, the last one first."""
        self._held.append(lambda: free(value))
        return value

    def take(self, other: Holdings) -> None:
        """Hold what another one held, which then holds nothing."""
        self._held += other._held
        other._held.clear()

    def close(self) -> None:
        """Free everything; a second call does nothing."""
        _free(self._held)

    def free_with(self, owner: object) -> None:
        """Free everything when the owner is dropped; nothing that is held may refer to it."""
        weakref.finalize(owner, _free, self._held)


def _free(held: list[Callable[[], object]]) -> None:
    while held:
        held.pop()()  # returns CUDA's answer: a GPU that fell off refuses, and nothing can be done
