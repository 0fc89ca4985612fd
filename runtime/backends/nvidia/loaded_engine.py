"""An engine on the GPU with its stream and memory, and what can be put on the stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from runtime.backends.nvidia.buffers import Buffer, Memory, allocate
from runtime.backends.nvidia.contexts import Contexts, require
from runtime.backends.nvidia.cuda import Cuda, Holdings
from runtime.backends.nvidia.engine_manifest import EngineManifest, rebuild
from runtime.backends.nvidia.graphs import capture
from runtime.backends.nvidia.tensorrt_flavour import import_flavour
from runtime.errors import InputError, MissingDependencyError, ToolError
from runtime.files import device_cache


@dataclass
class LoadedEngine:
    """An engine, ready to run."""

    cuda: Cuda
    stream: Any
    memory: Memory
    contexts: Contexts
    context: Any
    """The one for all sizes that are launched one by one."""

    def wait(self) -> None:
        """Wait until all work on the stream is done."""
        self.cuda(self.cuda.api.cudaStreamSynchronize(self.stream))

    def launch(self, context: Any, batch: int) -> None:
        """Put a request on the stream: copy in, run, copy out."""
        kinds, given = self.cuda.api.cudaMemcpyKind, self.memory.input
        self._copy(given, batch, given.device, given.host_pointer, kinds.cudaMemcpyHostToDevice)
        self.infer(context, batch)
        for each in self.memory.outputs:
            self._copy(each, batch, each.host_pointer, each.device, kinds.cudaMemcpyDeviceToHost)

    def infer(self, context: Any, batch: int) -> None:
        """Put an inference of what lies in device memory on the stream.

        Raises:
            InputError: TensorRT refuses the batch.
            MissingDependencyError: it could not start.
        """
        given = self.memory.input
        require(context.set_input_shape(given.name, (batch, *given.shape)), f"a batch of {batch}")
        for each in self.memory.all:
            require(context.set_tensor_address(each.name, each.device), f"`{each.name}`")
        if not context.execute_async_v3(int(self.stream)):
            self.cuda.forget_error()
            raise MissingDependencyError(
                "TensorRT could not start the engine on this GPU. Is its memory full, or another "
                "process on it (nvidia-smi)?"
            )

    def captured_request(self, batch: int, holdings: Holdings) -> Any | None:
        """Capture a request in a context of its own: a graph belongs to the state of its context.

        Args:
            batch: its size.
            holdings: take the graph and its context.

        Returns:
            The graph; None where it cannot be captured.
        """
        held = Holdings()
        try:
            context = held.hold(self.contexts.make(self.stream), let_go)
            launch = partial(self.launch, context, batch)
            launch()  # TensorRT sets a context up in the first inference of a shape
            self.wait()
            graph = self._captured(context, launch, held)
        except ToolError:  # no memory for one more context
            graph = None
        if graph is not None:
            holdings.take(held)
        held.close()
        return graph

    def captured_inference(self, batch: int, holdings: Holdings) -> Any | None:
        """Capture the inference alone, after it ran once; None where it cannot be captured."""
        infer = partial(self.infer, self.context, batch)
        infer()
        self.wait()
        return self._captured(self.context, infer, holdings)

    def drop(self) -> None:
        """Let go of the contexts while their stream and memory are still there."""
        self.context = self.contexts = None  # type: ignore[assignment]

    def _captured(self, context: Any, launch: Callable[[], None], held: Holdings) -> Any | None:
        capturable = getattr(context, "is_stream_capturable", None)  # TensorRT-RTX knows
        if capturable is not None and not capturable(int(self.stream)):
            return None
        return capture(self.cuda, self.stream, launch, held)

    def _copy(self, buffer: Buffer, batch: int, to: int, source: int, kind: Any) -> None:
        size = buffer.bytes_of(batch)
        self.cuda(self.cuda.api.cudaMemcpyAsync(to, source, size, kind, self.stream))


def load(path: Path, manifest: EngineManifest, cuda: Cuda, holdings: Holdings) -> LoadedEngine:
    """Bring an engine onto the GPU.

    Args:
        path: the engine, whose manifest was verified.
        manifest: of the engine.
        cuda: the CUDA runtime.
        holdings: take everything that is made, also if loading fails half way.

    Raises:
        InputError: TensorRT refuses the engine.
        MissingDependencyError: the flavour is not installed, or the GPU's memory is full.
    """
    trt, hold = import_flavour(manifest.flavour), holdings.hold
    logger = hold(trt.Logger(trt.Logger.ERROR), let_go)
    runtime = hold(trt.Runtime(logger), let_go)
    engine = hold(runtime.deserialize_cuda_engine(path.read_bytes()), let_go)
    if engine is None:
        raise InputError(
            f"{path}: {manifest.flavour} {trt.__version__} refused to deserialise it, though its "
            f"manifest fits.\n  {rebuild(path, manifest.flavour, None)}"
        )
    # Not bound to the default stream, whose work in another thread would end a capture.
    stream = cuda(cuda.api.cudaStreamCreateWithFlags(cuda.api.cudaStreamNonBlocking))
    hold(stream, cuda.api.cudaStreamDestroy)
    compiled = device_cache(f"{manifest.flavour}/{manifest.engine_sha256}")
    contexts = Contexts(trt, engine, cuda, compiled=compiled)
    memory = allocate(trt, engine, manifest.profile.max_batch, cuda, holdings)
    loaded = LoadedEngine(cuda, stream, memory, contexts, contexts.make(stream))
    hold(loaded, LoadedEngine.drop)
    return loaded


def let_go(held: object) -> None:
    """Nothing but a reference was held."""
