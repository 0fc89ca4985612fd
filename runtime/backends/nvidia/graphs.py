"""CUDA graphs: the launches of a request, captured once and replayed as one launch.

A capture may fail, and the request goes on without it: the stream is always taken out of the
capture again, and a size that could not be captured is not tried a second time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from runtime.backends.nvidia.cuda import Cuda, Holdings
from runtime.errors import ToolError

GRAPH_AFTER = 3
"""Requests of one batch size before they are captured: TensorRT sets itself up in the first."""
MOST_GRAPHS = 4
"""Sizes that are captured: each has an execution context, with scratch memory of its own."""


def capture(cuda: Cuda, stream: Any, launch: Callable[[], None], holdings: Holdings) -> Any | None:
    """Capture what `launch` puts on the stream.

    Returns:
        The graph, ready to be launched and held; None if it cannot be captured.
    """
    api = cuda.api
    mode = api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
    if api.cudaStreamBeginCapture(stream, mode)[0] != api.cudaError_t.cudaSuccess:
        cuda.forget_error()
        return None
    launched = False
    try:
        launch()
        launched = True
    except ToolError:
        pass  # what cannot be captured can be launched all the same
    finally:
        status, graph = api.cudaStreamEndCapture(stream)
    if not launched or status != api.cudaError_t.cudaSuccess:
        if graph:
            api.cudaGraphDestroy(graph)
        cuda.forget_error()
        return None
    status, ready = api.cudaGraphInstantiate(graph, 0)
    api.cudaGraphDestroy(graph)
    if status != api.cudaError_t.cudaSuccess:
        cuda.forget_error()
        return None
    return holdings.hold(ready, api.cudaGraphExecDestroy)


@dataclass
class Graphs:
    """The captured requests of a session, by batch size."""

    ready: dict[int, Any] = field(default_factory=dict)
    """The graph of a size; its execution context belongs to it, and is used for nothing else."""
    slower: set[int] = field(default_factory=set)
    """Sizes that were measured to be faster launch by launch."""
    _seen: dict[int, int] = field(default_factory=dict)
    _uncapturable: set[int] = field(default_factory=set)

    def due(self, batch: int) -> bool:
        """Count a request of this size; whether the size is to be captured now."""
        self._seen[batch] = self._seen.get(batch, 0) + 1
        is_new = batch not in self.ready and batch not in self._uncapturable
        return is_new and self._seen[batch] >= GRAPH_AFTER and len(self.ready) < MOST_GRAPHS

    def keep(self, batch: int, graph: Any | None) -> None:
        """Keep what `capture` returned."""
        if graph is None:
            self._uncapturable.add(batch)
        else:
            self.ready[batch] = graph
