"""The memory of an engine's inputs and outputs: page-locked on the host, and on the GPU."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from runtime.arrays import AnyArray
from runtime.backends.nvidia.cuda import Cuda, Holdings


@dataclass(frozen=True)
class Buffer:
    """The host and device memory of one input or output of an engine."""

    name: str
    shape: tuple[int, ...]
    """Of one image, without the batch."""
    dtype: np.dtype[Any]
    host: AnyArray
    """Page-locked, [largest batch, ...]."""
    host_pointer: int
    device: int
    """Address on the device."""

    def bytes_of(self, batch: int) -> int:
        """Return the bytes of so many images."""
        return batch * prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Memory:
    """An engine's only input, and its outputs."""

    input: Buffer
    outputs: tuple[Buffer, ...]

    @property
    def all(self) -> tuple[Buffer, ...]:
        """Input and outputs."""
        return (self.input, *self.outputs)


def allocate(trt: Any, engine: Any, most: int, cuda: Cuda, holdings: Holdings) -> Memory:
    """Allocate what an engine reads and writes, for `most` images.

    Raises:
        MissingDependencyError: there is not enough memory; what was allocated is held.
    """

    def buffer(name: str) -> Buffer:
        shape = tuple(engine.get_tensor_shape(name))[1:]
        dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
        size = most * prod(shape) * dtype.itemsize
        api = cuda.api
        pointer = int(holdings.hold(cuda(api.cudaMallocHost(size)), api.cudaFreeHost))
        device = int(holdings.hold(cuda(api.cudaMalloc(size)), api.cudaFree))
        raw = (ctypes.c_uint8 * size).from_address(pointer)
        host = np.frombuffer(raw, dtype).reshape(most, *shape)
        return Buffer(name, shape, dtype, host, pointer, device)

    names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
    is_input = {name: engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names}
    (taken,) = (buffer(name) for name in names if is_input[name])
    return Memory(taken, tuple(buffer(name) for name in names if not is_input[name]))
