"""A stand-in for `cuda.bindings.runtime`, on host memory: as strict as CUDA where we may go wrong.

Work on a stream runs when somebody waits for it, not before. A stream that captures runs nothing,
and waiting for it or allocating in it breaks the capture. Errors stay until they are cleared.
Everything that is made is counted until it is freed, and any call can be told to fail. Time is made
up: a kernel takes `KERNEL_MS`, and each launch from the host leaves a gap of `GAP_MS` before it.
"""

import ctypes
import enum
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

KERNEL_MS, GAP_MS = 1.0, 0.25


Error = enum.Enum("cudaError_t", {
    "cudaSuccess": 0, "cudaErrorInvalidValue": 1, "cudaErrorMemoryAllocation": 2,
    "cudaErrorInsufficientDriver": 35, "cudaErrorNoDevice": 100, "cudaErrorIllegalAddress": 700,
    "cudaErrorStreamCaptureUnsupported": 900, "cudaErrorStreamCaptureInvalidated": 901,
    "cudaErrorStreamCaptureImplicit": 906,
})  # fmt: skip
_KINDS = {"cudaMemcpyHostToDevice": 1, "cudaMemcpyDeviceToHost": 2}
_MODES = {"cudaStreamCaptureModeGlobal": 0, "cudaStreamCaptureModeThreadLocal": 1}
OK = Error.cudaSuccess


@dataclass(eq=False)
class Stream:
    """Work that was put on it, and what it captures."""

    blocking: bool
    pending: list = field(default_factory=list)
    captured: list | None = None
    broken: Error | None = None
    clock_ms: float = 0.0

    def __int__(self):
        return id(self)

    def put(self, work):
        (self.pending if self.captured is None else self.captured).append(work)

    def drain(self):
        while self.pending:
            self.pending.pop(0)()


@dataclass(eq=False)
class Event:
    ms: float | None = None


class StandInCuda:
    """The module; make one for each test."""

    cudaError_t = Error  # noqa: N815
    cudaMemcpyKind = enum.Enum("cudaMemcpyKind", _KINDS)  # noqa: N815
    cudaStreamCaptureMode = enum.Enum("cudaStreamCaptureMode", _MODES)  # noqa: N815
    cudaStreamNonBlocking = 1  # noqa: N815

    def __init__(self):
        self.live = {}
        """Whatever was made and not freed, by its address or identity."""
        self.streams, self.calls = {}, []
        self.default_stream_is_busy = False
        """Whether another thread puts work on the default stream all the time."""
        self.last_error = OK
        self.driver, self.bindings, self.devices = 13000, 13000, 1
        self.memory = (40 * 10**9, 48 * 10**9)
        self._failing = {}

    def fail(self, call, error=Error.cudaErrorMemoryAllocation, *, after=0, times=10**9):
        """Let a call fail with an error, `after` so many that succeed."""
        self._failing[call] = [error, after, times]

    def mend(self):
        self._failing.clear()

    def refused(self, call):
        """Return the error that a call was told to fail with now, or None; note the call."""
        self.calls.append(call)
        plan = self._failing.get(call)
        if plan is None:
            return None
        if plan[1] > 0:
            plan[1] -= 1
            return None
        if plan[2] <= 0:
            return None
        plan[2] -= 1
        return self.error(plan[0])

    def error(self, error):
        self.last_error = error
        return error

    # --- device -----------------------------------------------------------------------------

    def cudaGetDeviceCount(self):  # noqa: N802
        if error := self.refused("cudaGetDeviceCount"):
            return error, None
        if self.driver < self.bindings // 1000 * 1000:
            return self.error(Error.cudaErrorInsufficientDriver), None
        if not self.devices:
            return self.error(Error.cudaErrorNoDevice), None
        return OK, self.devices

    def cudaGetDeviceProperties(self, device):  # noqa: N802
        return OK, SimpleNamespace(name=b"Stand-in GPU\0\0", major=8, minor=7)

    def cudaDriverGetVersion(self):  # noqa: N802
        return OK, self.driver

    def cudaRuntimeGetVersion(self):  # noqa: N802
        return OK, self.bindings

    def cudaMemGetInfo(self):  # noqa: N802
        free, total = self.memory
        return OK, total - free, total

    def cudaGetErrorString(self, error):  # noqa: N802
        return OK, error.name.encode()

    def cudaGetLastError(self):  # noqa: N802
        found, self.last_error = self.last_error, OK
        return (found,)

    # --- memory -----------------------------------------------------------------------------

    def _allocate(self, call, size):
        if error := self.refused(call):
            return error, None
        for stream in self.streams.values():
            if stream.captured is not None:
                stream.broken = Error.cudaErrorStreamCaptureUnsupported
                return self.error(stream.broken), None
        block = (ctypes.c_uint8 * size)()
        ctypes.memset(block, 0xAB, size)  # what nobody wrote is no answer
        self.live[ctypes.addressof(block)] = block
        return OK, ctypes.addressof(block)

    def cudaMalloc(self, size):  # noqa: N802
        return self._allocate("cudaMalloc", size)

    def cudaMallocHost(self, size):  # noqa: N802
        return self._allocate("cudaMallocHost", size)

    def _free(self, made):
        if made not in self.live:
            return (self.error(Error.cudaErrorInvalidValue),)
        del self.live[made]
        return (OK,)

    def cudaFree(self, at):  # noqa: N802
        return self._free(at)

    def cudaFreeHost(self, at):  # noqa: N802
        return self._free(at)

    def cudaMemcpyAsync(self, to, source, size, kind, stream):  # noqa: N802
        if error := self.refused("cudaMemcpyAsync"):
            return (error,)
        stream = self.stream_of(stream)

        def copy():
            ctypes.memmove(to, source, size)

        stream.put(copy)
        return (OK,)

    # --- streams and graphs -----------------------------------------------------------------

    def stream_of(self, stream):
        return stream if isinstance(stream, Stream) else self.streams[int(stream)]

    def cudaStreamCreateWithFlags(self, flags):  # noqa: N802
        if error := self.refused("cudaStreamCreateWithFlags"):
            return error, None
        stream = Stream(blocking=flags != self.cudaStreamNonBlocking)
        self.streams[id(stream)] = self.live[id(stream)] = stream
        return OK, stream

    def cudaStreamCreate(self):  # noqa: N802
        return self.cudaStreamCreateWithFlags(0)

    def cudaStreamDestroy(self, stream):  # noqa: N802
        self.streams.pop(id(stream), None)
        return self._free(id(stream))

    def cudaStreamSynchronize(self, stream):  # noqa: N802
        if error := self.refused("cudaStreamSynchronize"):
            return (error,)
        stream = self.stream_of(stream)
        if stream.captured is not None:
            stream.broken = Error.cudaErrorStreamCaptureUnsupported
            return (self.error(stream.broken),)
        stream.drain()
        return (OK,)

    def cudaStreamBeginCapture(self, stream, mode):  # noqa: N802
        if error := self.refused("cudaStreamBeginCapture"):
            return (error,)
        assert mode.name == "cudaStreamCaptureModeThreadLocal"
        stream.captured, stream.broken = [], None
        if stream.blocking and self.default_stream_is_busy:
            stream.broken = Error.cudaErrorStreamCaptureImplicit
        return (OK,)

    def cudaStreamEndCapture(self, stream):  # noqa: N802
        work, stream.captured = stream.captured, None
        if stream.broken is not None:
            return self.error(Error.cudaErrorStreamCaptureInvalidated), None
        graph = SimpleNamespace(work=work)
        self.live[id(graph)] = graph
        if error := self.refused("cudaStreamEndCapture"):
            return error, graph
        return OK, graph

    def cudaGraphInstantiate(self, graph, flags):  # noqa: N802
        if error := self.refused("cudaGraphInstantiate"):
            return error, None
        ready = SimpleNamespace(work=list(graph.work))
        self.live[id(ready)] = ready
        return OK, ready

    def cudaGraphDestroy(self, graph):  # noqa: N802
        return self._free(id(graph))

    def cudaGraphExecDestroy(self, graph):  # noqa: N802
        return self._free(id(graph))

    def cudaGraphLaunch(self, graph, stream):  # noqa: N802
        if error := self.refused("cudaGraphLaunch"):
            return (error,)
        for work in graph.work:
            stream.put(work)
        return (OK,)

    # --- events -----------------------------------------------------------------------------

    def cudaEventCreate(self):  # noqa: N802
        event = Event()
        self.live[id(event)] = event
        return OK, event

    def cudaEventDestroy(self, event):  # noqa: N802
        return self._free(id(event))

    def cudaEventRecord(self, event, stream):  # noqa: N802
        def record():
            event.ms = stream.clock_ms

        stream.put(record)
        return (OK,)

    def cudaEventSynchronize(self, event):  # noqa: N802
        for stream in self.streams.values():
            stream.drain()
        return (OK,)

    def cudaEventElapsedTime(self, before, after):  # noqa: N802
        return OK, after.ms - before.ms


@contextmanager
def nothing_left(cuda):
    """What is made inside is freed when it is left."""
    before = dict(cuda.live)
    yield
    left = {each: kind for each, kind in cuda.live.items() if each not in before}
    assert not left
