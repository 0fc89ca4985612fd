"""The `onnxruntime` package: imported without telemetry, and its providers that really start."""

from __future__ import annotations

from typing import Any

from runtime.errors import MissingDependencyError

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
"""Our names of its providers, and its own."""


def import_onnxruntime() -> Any:
    """Import `onnxruntime` and switch its telemetry off.

    Raises:
        MissingDependencyError: it is not installed; the message says what to install.
    """
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise MissingDependencyError(
            f"ONNX Runtime cannot be imported: {error}\n"
            "  no GPU:      pip install 'edge-compressor[cpu]'\n"
            "  NVIDIA x86:  pip install 'edge-compressor[gpu]'\n"
            "  Jetson:      install NVIDIA's own onnxruntime-gpu wheel for your JetPack"
        ) from error
    ort.disable_telemetry_events()
    return ort


def starting_providers() -> dict[str, bool]:
    """Return our providers that really start here; `get_available_providers` lists compiled ones.

    Raises:
        MissingDependencyError: ONNX Runtime is not installed.
    """
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    started = {}
    for name, provider in PROVIDERS.items():
        if provider not in ort.get_available_providers():
            started[name] = False
            continue
        session = ort.InferenceSession(_IDENTITY, options, providers=[provider])
        started[name] = session.get_providers()[0] == provider
    return started


# The smallest ONNX model there is: y = Identity(x), float32 [1], opset 13, IR 7.
_IDENTITY = bytes.fromhex(
    "080712003a370a100a017812017922084964656e746974791201675a0f0a0178120a0a08080112040a020801620f"
    "0a0179120a0a08080112040a02080142040a00100d"
)


def load_errors() -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises on a file or an input that it cannot take."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        UnicodeDecodeError,  # its messages quote names as they stand in the file
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NotImplemented,
        state.RuntimeException,
    )
