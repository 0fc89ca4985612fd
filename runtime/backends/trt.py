"""The TensorRT backend: an engine as a session; cuda-bindings move the bytes, no torch is needed.

Input and output live in page-locked host memory and in device buffers that are made once, for the
largest batch of the engine's profile. A request is: copy in, run, copy out, on one stream, then
wait; more images than that batch are answered in parts. For a batch size that comes again the three
are captured into a CUDA graph and replayed as one launch; small students are otherwise bound by the
time that launching takes.

Run over a stand-in for TensorRT and CUDA (tests/plugins); the tests on a GPU are marked `gpu`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import numpy as np

from runtime.arrays import AnyArray
from runtime.backends.base import (
    Availability,
    DeviceTimes,
    Outputs,
    Proof,
    Provider,
    SessionOptions,
)
from runtime.backends.nvidia import engine_manifest
from runtime.backends.nvidia.cuda import Cuda, Holdings
from runtime.backends.nvidia.graphs import GRAPH_AFTER, Graphs
from runtime.backends.nvidia.loaded_engine import LoadedEngine, load
from runtime.backends.nvidia.tensorrt_flavour import ENGINE_SUFFIX, FLAVOURS, installed_version

IN_A_ROW = 10
"""Inferences between two events, where they are launched one by one."""


class TrtSession:
    """One engine, opened by the TensorRT that built it, after its manifest was checked.

    Several threads may use it; they wait for each other. What it holds on the GPU is freed by
    `close`, when it is dropped, and when opening it fails.
    """

    def __init__(self, path: Path, *, cuda_graphs: bool = True) -> None:
        # Before anything of the file is deserialised.
        self.manifest = engine_manifest.verify(path)
        self._cuda, self._holdings = Cuda(), Holdings()
        self._lock = threading.Lock()
        self._cuda_graphs, self._graphs = cuda_graphs, Graphs()
        self._compiled_for = set[int]()
        self._open: LoadedEngine | None = None
        try:
            self._open = load(path, self.manifest, self._cuda, self._holdings)
        except BaseException:
            self._holdings.close()
            raise
        self._holdings.free_with(self)

    @property
    def takes(self) -> Literal["float32", "uint8"]:
        """The engine's input: normalised float32, or pixels."""
        return "uint8" if self._loaded.memory.input.dtype == np.uint8 else "float32"

    def run(self, images: AnyArray) -> Outputs:
        """Answer any number of images, host memory to host memory, in batches of the profile.

        Args:
            images: float32 [B, 3, S, S] normalised, or uint8 [B, S, S, 3] as `takes` says.

        Raises:
            MissingDependencyError: the GPU has no memory for it, or fails.
            InputError: TensorRT refuses what the engine's manifest allows.
            ValueError: the images are of another shape or type, or the session is closed.
        """
        return self._answer(images, graphs=None)

    def device_ms(self, images: AnyArray, runs: int) -> DeviceTimes:
        """Time so many inferences without the copies, between two events on the stream.

        An inference is replayed from a CUDA graph where it can be captured. Elsewhere a time is the
        mean of ten that are launched in a row: of a small student, how long the launches take.
        """
        self._require_images(images)
        sizes, cuda = self._sizes_of(len(images)), self._cuda
        with self._lock, closing(Holdings()) as held:
            loaded = self._loaded
            graph = loaded.captured_inference(sizes[0], held) if len(sizes) == 1 else None
            before, after = (
                held.hold(cuda(cuda.api.cudaEventCreate()), cuda.api.cudaEventDestroy)
                for _ in range(2)
            )
            stream, times = loaded.stream, list[float]()
            for _ in range(runs):
                cuda(cuda.api.cudaEventRecord(before, stream))
                if graph is not None:
                    cuda(cuda.api.cudaGraphLaunch(graph, stream))
                else:
                    for size in list(sizes) * IN_A_ROW:
                        loaded.infer(loaded.context, size)
                cuda(cuda.api.cudaEventRecord(after, stream))
                cuda(cuda.api.cudaEventSynchronize(after))
                times.append(float(cuda(cuda.api.cudaEventElapsedTime(before, after))))
        inferences = IN_A_ROW if graph is None else 1
        return DeviceTimes(tuple(ms / inferences for ms in times), as_graph=graph is not None)

    def graphs_pay(
        self, images: AnyArray, *, runs: int = 50, clock: Callable[[], float] = time.perf_counter
    ) -> bool:
        """Measure whether a captured graph is faster than three launches, and keep the faster.

        Both are timed in turns, after a warm-up. False where the engine cannot be captured.
        """
        times: dict[bool, list[float]] = {True: [], False: []}
        for turn in range(2 * (runs + GRAPH_AFTER)):
            graphs = turn % 2 == 0
            started = clock()
            self._answer(images, graphs=graphs)
            if turn >= 2 * GRAPH_AFTER:
                times[graphs].append(clock() - started)
        pay = bool(np.median(times[True]) < np.median(times[False]))
        with self._lock:
            sizes = set(self._sizes_of(len(images)))
            (self._graphs.slower.difference_update if pay else self._graphs.slower.update)(sizes)
            return pay and sizes <= set(self._graphs.ready)

    def close(self) -> None:
        """Free the memory. Nothing can be run afterwards; a second call does nothing."""
        with self._lock:
            self._open, self._graphs = None, Graphs()
            self._holdings.close()

    @property
    def _loaded(self) -> LoadedEngine:
        if self._open is None:
            raise ValueError("this session is closed")
        return self._open

    def _answer(self, images: AnyArray, *, graphs: bool | None) -> Outputs:
        """Answer images; `graphs`: whether to use CUDA graphs, None as was found to be faster."""
        self._require_images(images)
        with self._lock:  # the buffers are one set
            memory = self._loaded.memory
            found = {each.name: [each.host[:0].copy()] for each in memory.outputs}
            start = 0
            for size in self._sizes_of(len(images)):
                part = images[start : start + size]
                start += len(part)
                np.copyto(memory.input.host[: len(part)], part)
                # Fewer than the profile's least: the last image again, to be left out afterwards.
                memory.input.host[len(part) : size] = memory.input.host[len(part) - 1]
                default = self._cuda_graphs and size not in self._graphs.slower
                self._request(size, graphs=default if graphs is None else graphs)
                for each in memory.outputs:
                    found[each.name].append(each.host[: len(part)].copy())
        joined = {name: np.concatenate(parts) for name, parts in found.items()}
        return Outputs(embedding=joined["embedding"], logits=joined.get("logits"))

    def _require_images(self, images: AnyArray) -> None:
        want = self._loaded.memory.input
        if images.shape[1:] != want.shape or images.dtype != want.dtype:
            raise ValueError(
                f"wanted {want.dtype} [B, {', '.join(map(str, want.shape))}], "
                f"got {images.dtype} {images.shape}"
            )

    def _sizes_of(self, images: int) -> Sequence[int]:
        """Split a number of images into batches of the profile, the last one filled up."""
        profile = self.manifest.profile
        whole, rest = divmod(images, profile.max_batch)
        sizes = [profile.max_batch] * whole
        return [*sizes, max(rest, profile.min_batch)] if rest else sizes

    def _request(self, batch: int, *, graphs: bool) -> None:
        """Run what lies in the input's host memory, from a captured graph if there is one."""
        loaded, graph = self._loaded, self._graphs.ready.get(batch) if graphs else None
        if graph is not None:
            self._cuda(self._cuda.api.cudaGraphLaunch(graph, loaded.stream))
            loaded.wait()
            return
        loaded.launch(loaded.context, batch)
        loaded.wait()
        if batch not in self._compiled_for:
            self._compiled_for.add(batch)
            loaded.contexts.keep_compiled()
        if graphs and self._graphs.due(batch):
            self._graphs.keep(batch, loaded.captured_request(batch, self._holdings))


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
        return "; ".join(engine_manifest.machine_problems(manifest, local)) or None

    def open(self, path: Path, options: SessionOptions) -> TrtSession:
        """Open an engine, after its manifest was compared with file and machine."""
        return TrtSession(path)

    def proof(self, path: Path, options: SessionOptions) -> Proof | None:
        """Return what the layers showed when the engine was built."""
        found = engine_manifest.load(path)
        source = f"the layers that TensorRT's {found.inspected_by} listed"
        return Proof(source, types=found.weights_found, not_proved=found.not_proved)

    def provider_of(self, provider: Provider) -> str:
        """Return the ledger's name for an engine."""
        return "tensorrt-engine"
