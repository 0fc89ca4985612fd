"""ONNX Runtime as a session that refuses a provider that did not start."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from runtime.backends.base import Outputs
from runtime.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from runtime.backends.base import Provider, Takes

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}


class OrtSession:
    """One ONNX file, opened by ONNX Runtime."""

    def __init__(
        self,
        path: Path,
        *,
        provider: Provider,
        threads: int | None,
        batches: tuple[int, int] = (1, 8),
    ) -> None:
        ort = import_onnxruntime()
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        options = ort.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        wanted = _PROVIDERS[provider]
        try:
            with warnings.catch_warnings():
                # It warns of a provider it does not have, and goes on; below that is an error.
                warnings.filterwarnings("ignore", message="Specified provider")
                self._session = ort.InferenceSession(
                    str(path),
                    options,
                    providers=[wanted],
                    provider_options=[_options(path, provider, batches)],
                    # On the CPU there is nothing to fall back to, and it would print on stdout.
                    enable_fallback=int(provider != "cpu"),
                )
        except _load_errors() as error:
            raise InputError(
                f"{path}: ONNX Runtime {ort.__version__} cannot load this file: {error}\n"
                "  Was it copied completely? `compressor export RUN` writes it again."
            ) from error
        started = self._session.get_providers()[0]
        if started != wanted:
            raise MissingDependencyError(
                f"ONNX Runtime should use {wanted} but started {started}.\n"
                "  Is a GPU visible (nvidia-smi)? Is onnxruntime-gpu installed instead of "
                f"onnxruntime, and do CUDA and cuDNN match it (version {ort.__version__})?\n"
                "  Or set `provider: cpu` in the target file."
            )
        self._session.disable_fallback()  # else `run` may move to the CPU, in silence
        names = [output.name for output in self._session.get_outputs()]
        if "embedding" not in names:
            raise InputError(f"{path}: has the outputs {names}, but no `embedding`")
        self._path = path
        images = self._session.get_inputs()[0]
        self._input = images.name
        self._takes: Takes = "uint8" if images.type == "tensor(uint8)" else "float32"
        self._names = ["embedding", "logits"] if "logits" in names else ["embedding"]

    @property
    def takes(self) -> Takes:
        """The file's input: normalised float32, or pixels."""
        return self._takes

    def run(self, images: npt.NDArray[Any]) -> Outputs:
        """Answer one batch: float32 [B, 3, S, S] normalised, or uint8 [B, S, S, 3].

        Raises:
            InputError: the file takes images of another shape, or fails at work.
        """
        try:
            embedding, *rest = self._session.run(self._names, {self._input: images})
        except _load_errors() as error:
            raise InputError(
                f"{self._path}: cannot answer images of shape {list(images.shape)}: {error}"
            ) from error
        return Outputs(embedding=embedding, logits=rest[0] if rest else None)


def _options(path: Path, provider: Provider, batches: tuple[int, int]) -> dict[str, str]:
    """Return the provider's options. TensorRT builds one engine for all batch sizes."""
    if provider != "tensorrt":
        return {}
    ort = import_onnxruntime()
    images = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_inputs()[0]
    sides = "x".join(str(side) for side in images.shape[1:])
    fewest, most = batches
    return {
        "trt_profile_min_shapes": f"{images.name}:{fewest}x{sides}",
        "trt_profile_opt_shapes": f"{images.name}:{fewest}x{sides}",
        "trt_profile_max_shapes": f"{images.name}:{most}x{sides}",
    }


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
    for name, provider in _PROVIDERS.items():
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


def _load_errors() -> tuple[type[Exception], ...]:
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
