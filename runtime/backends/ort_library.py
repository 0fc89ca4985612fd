"""The `onnxruntime` package: imported without telemetry, its threads told, its errors named."""

from __future__ import annotations

import os
from typing import Any

from runtime.backends.cores import physical_cores
from runtime.errors import MissingDependencyError

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
"""Our names of its providers, and its own."""


def import_onnxruntime() -> Any:
    """Import `onnxruntime` and switch its telemetry off.

    Its function for that still leaves the number of a device and a database in the user's cache
    (seen with 1.31); the variable, set before the first import, leaves nothing.

    Raises:
        MissingDependencyError: it is not installed; the message says what to install.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise MissingDependencyError(
            f"ONNX Runtime cannot be imported: {error}\n"
            "  no GPU:      pip install 'edge-compressor[cpu]'\n"
            "  NVIDIA x86:  pip install 'edge-compressor[gpu]'\n"
            "  Jetson:      install NVIDIA's own onnxruntime-gpu wheel (docs/jetson.md)"
        ) from error
    ort.disable_telemetry_events()
    return ort


def session_options(threads: int | None = None, *, optimised: bool = True) -> Any:
    """Return ONNX Runtime's options for a session, with its number of threads told.

    Where ONNX Runtime counts threads itself, it also binds each to a core, and a container whose
    cores are restricted refuses that: an error on stderr for each thread.

    Args:
        threads: within one operator; None: one for each core that this process may use.
        optimised: whether the graph is rewritten: operators fused, layouts changed.
    """
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or physical_cores()
    return options


def load_errors() -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises on a file or an input that it cannot take."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        UnicodeDecodeError,  # its messages quote names as they stand in the file
        state.EPFail,
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NotImplemented,
        state.RuntimeException,
    )
