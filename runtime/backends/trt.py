"""The TensorRT backend: an engine as a session; cuda-python moves the bytes, no torch is needed.

Input and output live in page-locked host memory and in device buffers that are made once, for the
largest batch of the engine's profile. A request is: copy in, run, copy out, on one stream, then
wait. For a batch size that comes again the three are captured into a CUDA graph and replayed as
one launch; small students are otherwise bound by the time that launching takes.

Not yet run on a GPU; the tests that do are marked `gpu`.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np

from runtime.arrays import AnyArray
from runtime.backends import engine_manifest
from runtime.backends.base import Availability, Outputs, Provider, SessionOptions
from runtime.backends.gpu import import_cuda
from runtime.backends.tensorrt_flavour import (
    ENGINE_SUFFIX,
    FLAVOURS,
    import_flavour,
    installed_version,
)
from runtime.errors import InputError, MissingDependencyError

GRAPH_AFTER = 3
"""Requests of one batch size before they are captured: TensorRT sets itself up in the first."""


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


class TrtSession:
    """One engine, opened by the TensorRT that built it, after its manifest was checked."""

    def __init__(self, path: Path, *, cuda_graphs: bool = True) -> None:
        # Before anything of the file is deserialised.
        self.manifest = engine_manifest.verify(path)
        trt, self._cuda = import_flavour(self.manifest.flavour), import_cuda()
        self._logger = trt.Logger(trt.Logger.ERROR)
        runtime = trt.Runtime(self._logger)
        self._engine = runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise InputError(
                f"{path}: {self.manifest.flavour} {trt.__version__} refused to deserialise it, "
                "though its manifest fits.\n"
                f"  {engine_manifest.rebuild(path, self.manifest.flavour, None)}"
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise MissingDependencyError(f"{path}: no memory on the GPU for this engine")
        self._stream = self._call(self._cuda.cudaStreamCreate())
        most = self.manifest.profile.max_batch
        names = [self._engine.get_tensor_name(n) for n in range(self._engine.num_io_tensors)]
        self._buffers = {name: self._buffer(trt, name, most) for name in names}
        inputs = [n for n in names if self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        self._input = self._buffers[inputs[0]]
        self._outputs = [self._buffers[name] for name in names if name not in inputs]
        self._lock = threading.Lock()
        self._cuda_graphs = cuda_graphs
        self._graphs: dict[int, Any] = {}
        self._seen: dict[int, int] = {}

    @property
    def takes(self) -> Literal["float32", "uint8"]:
        """The engine's input: normalised float32, or pixels."""
        return "uint8" if self._input.dtype == np.uint8 else "float32"

    def run(self, images: AnyArray) -> Outputs:
        """Answer one batch, host memory to host memory; callers wait for each other.

        Args:
            images: float32 [B, 3, S, S] normalised, or uint8 [B, S, S, 3] as `takes` says.
        """
        batch = self._accept(images)
        with self._lock:  # the buffers are one set
            np.copyto(self._input.host[:batch], images)
            self._replay(batch)
            answers = {each.name: each.host[:batch].copy() for each in self._outputs}
        return Outputs(embedding=answers["embedding"], logits=answers.get("logits"))

    def device_ms(self, images: AnyArray, runs: int) -> list[float]:
        """Time `runs` inferences without the copies, between two events on the stream."""
        batch, cuda = self._accept(images), self._cuda
        np.copyto(self._input.host[:batch], images)
        self._copy_in(batch)
        self._bind(batch)
        before, after = self._call(cuda.cudaEventCreate()), self._call(cuda.cudaEventCreate())
        times = []
        try:
            for _ in range(runs):
                self._call(cuda.cudaEventRecord(before, self._stream))
                self._infer()
                self._call(cuda.cudaEventRecord(after, self._stream))
                self._call(cuda.cudaEventSynchronize(after))
                times.append(float(self._call(cuda.cudaEventElapsedTime(before, after))))
        finally:
            self._call(cuda.cudaEventDestroy(before))
            self._call(cuda.cudaEventDestroy(after))
        return times

    def graphs_pay(
        self, images: AnyArray, *, runs: int = 50, clock: Callable[[], float] | None = None
    ) -> bool:
        """Measure whether a captured graph is faster than three launches, and keep the faster.

        Both are timed in turns, after a warm-up.
        """
        clock = clock or time.perf_counter
        medians: Mapping[bool, list[float]] = {True: [], False: []}
        for turn in range(2 * (runs + GRAPH_AFTER)):
            self._cuda_graphs = turn % 2 == 0
            started = clock()
            self.run(images)
            if turn >= 2 * GRAPH_AFTER:
                medians[self._cuda_graphs].append(clock() - started)
        self._cuda_graphs = bool(np.median(medians[True]) < np.median(medians[False]))
        return self._cuda_graphs

    def close(self) -> None:
        """Free the memory. Nothing can be run afterwards."""
        cuda = self._cuda
        for graph in self._graphs.values():
            self._call(cuda.cudaGraphExecDestroy(graph))
        for each in self._buffers.values():
            self._call(cuda.cudaFree(each.device))
            self._call(cuda.cudaFreeHost(each.host_pointer))
        self._call(cuda.cudaStreamDestroy(self._stream))
        self._graphs, self._buffers = {}, {}

    def _accept(self, images: AnyArray) -> int:
        profile, want = self.manifest.profile, self._input
        if images.shape[1:] != want.shape or images.dtype != want.dtype:
            raise ValueError(
                f"wanted {want.dtype} [B, {', '.join(map(str, want.shape))}], "
                f"got {images.dtype} {images.shape}"
            )
        if not profile.min_batch <= len(images) <= profile.max_batch:
            raise InputError(
                f"a batch of {len(images)}: this engine takes {profile.min_batch} to "
                f"{profile.max_batch} images. Build it with a wider `export.batches`."
            )
        return len(images)

    def _replay(self, batch: int) -> None:
        """Run one request, from a captured graph if there is one."""
        if batch in self._graphs and self._cuda_graphs:
            self._call(self._cuda.cudaGraphLaunch(self._graphs[batch], self._stream))
        else:
            self._bind(batch)
            self._launch(batch)
            self._seen[batch] = self._seen.get(batch, 0) + 1
            if self._cuda_graphs and self._seen[batch] >= GRAPH_AFTER:
                self._call(self._cuda.cudaStreamSynchronize(self._stream))
                self._capture(batch)
        self._call(self._cuda.cudaStreamSynchronize(self._stream))

    def _capture(self, batch: int) -> None:
        """Capture the launches of a request of this size as a graph."""
        cuda = self._cuda
        mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call(cuda.cudaStreamBeginCapture(self._stream, mode))
        self._launch(batch)
        graph = self._call(cuda.cudaStreamEndCapture(self._stream))
        self._graphs[batch] = self._call(cuda.cudaGraphInstantiate(graph, 0))
        self._call(cuda.cudaGraphDestroy(graph))

    def _bind(self, batch: int) -> None:
        self._context.set_input_shape(self._input.name, (batch, *self._input.shape))
        for each in self._buffers.values():
            self._context.set_tensor_address(each.name, each.device)

    def _launch(self, batch: int) -> None:
        self._copy_in(batch)
        self._infer()
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        for each in self._outputs:
            self._copy(each.host_pointer, each.device, each.bytes_of(batch), kind)

    def _copy_in(self, batch: int) -> None:
        kind, each = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice, self._input
        self._copy(each.device, each.host_pointer, each.bytes_of(batch), kind)

    def _infer(self) -> None:
        if not self._context.execute_async_v3(int(self._stream)):
            raise MissingDependencyError("TensorRT could not start the engine on this GPU")

    def _copy(self, to: int, source: int, size: int, kind: Any) -> None:
        self._call(self._cuda.cudaMemcpyAsync(to, source, size, kind, self._stream))

    def _buffer(self, trt: Any, name: str, most: int) -> Buffer:
        shape = tuple(self._engine.get_tensor_shape(name))[1:]
        dtype = np.dtype(trt.nptype(self._engine.get_tensor_dtype(name)))
        size = most * prod(shape) * dtype.itemsize
        pointer = int(self._call(self._cuda.cudaMallocHost(size)))
        raw = (ctypes.c_uint8 * size).from_address(pointer)
        host = np.frombuffer(raw, dtype).reshape(most, *shape)
        return Buffer(
            name, shape, dtype, host, pointer, int(self._call(self._cuda.cudaMalloc(size)))
        )

    def _call(self, answer: tuple[Any, ...]) -> Any:
        """Return the result of a CUDA call, or raise its error."""
        status, *values = answer
        if status != self._cuda.cudaError_t.cudaSuccess:
            _, said = self._cuda.cudaGetErrorString(status)
            words = said.decode() if isinstance(said, bytes) else str(said)
            raise MissingDependencyError(
                f"CUDA: {words} ({status!s}).\n"
                "  Is the GPU free, and does nvidia-smi answer? A smaller `export.batches` needs "
                "less memory."
            )
        return values[0] if values else None


class TensorRT:
    """Opens TensorRT engines on the GPU that they were built for."""

    name = "TensorRT"
    suffixes = (ENGINE_SUFFIX,)
    uses_threads = False

    def available(self) -> Availability:
        """Look which flavours are installed."""
        versions = {flavour: installed_version(flavour) for flavour in FLAVOURS}
        if installed := [f"{name} {version}" for name, version in versions.items() if version]:
            return Availability(ready=True, details=", ".join(installed))
        how = "pip install 'edge-compressor[tensorrt]' (or [tensorrt-rtx]); with JetPack: nothing"
        details = "not installed: no engines are built here"
        return Availability(ready=False, details=details, install=how)

    def why_not_here(self, path: Path) -> str | None:
        """Compare the engine's manifest with this machine.

        Raises:
            InputError: the engine is damaged or has no manifest.
        """
        manifest = engine_manifest.load(path)
        if engine_manifest.file_problems(path, manifest):
            engine_manifest.verify(path)  # raises, and tells the user what to do
        local = engine_manifest.LocalMachine.detect(manifest.flavour)
        if reasons := engine_manifest.machine_problems(manifest, local):
            return "; ".join(reasons)
        try:
            import_cuda()
        except MissingDependencyError as error:
            return str(error).splitlines()[0]
        return None

    def open(self, path: Path, options: SessionOptions) -> TrtSession:
        """Open an engine, after its manifest was compared with file and machine."""
        return TrtSession(path)

    def provider_of(self, provider: Provider) -> str:
        """Return the ledger's name for an engine."""
        return "tensorrt-engine"
