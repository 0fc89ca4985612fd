"""The ONNX Runtime backend: a session that refuses a provider that did not start."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.arrays import AnyArray
from runtime.backends.base import Availability, Outputs, SessionOptions
from runtime.backends.ort_library import (
    PROVIDERS,
    import_onnxruntime,
    load_errors,
    starting_providers,
)
from runtime.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from runtime.backends.base import Provider, Takes


class OrtSession:
    """One ONNX file, opened by ONNX Runtime."""

    def __init__(self, path: Path, options: SessionOptions) -> None:
        ort, provider = import_onnxruntime(), options.provider
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        settings = ort.SessionOptions()
        settings.log_severity_level = 3
        if options.threads is not None:
            settings.intra_op_num_threads = options.threads
        wanted = PROVIDERS[provider]
        try:
            with warnings.catch_warnings():
                # It warns of a missing provider and continues; below that is an error.
                warnings.filterwarnings("ignore", message="Specified provider")
                self._session = ort.InferenceSession(
                    str(path),
                    settings,
                    providers=[wanted],
                    provider_options=[_provider_options(path, options)],
                    # On the CPU there is nothing to fall back to, and it would print on stdout.
                    enable_fallback=int(provider != "cpu"),
                )
        except load_errors() as error:
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

    def run(self, images: AnyArray) -> Outputs:
        """Answer one batch: float32 [B, 3, S, S] normalised, or uint8 [B, S, S, 3].

        Raises:
            InputError: the file takes images of another shape, or fails at work.
        """
        try:
            embedding, *rest = self._session.run(self._names, {self._input: images})
        except load_errors() as error:
            raise InputError(
                f"{self._path}: cannot answer images of shape {list(images.shape)}: {error}"
            ) from error
        return Outputs(embedding=embedding, logits=rest[0] if rest else None)


def _provider_options(path: Path, options: SessionOptions) -> dict[str, str]:
    """Return the provider's options. TensorRT builds one engine for all batch sizes."""
    if options.provider != "tensorrt":
        return {}
    ort = import_onnxruntime()
    images = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_inputs()[0]
    sides = "x".join(str(side) for side in images.shape[1:])
    fewest, most = options.batches
    return {
        "trt_profile_min_shapes": f"{images.name}:{fewest}x{sides}",
        "trt_profile_opt_shapes": f"{images.name}:{fewest}x{sides}",
        "trt_profile_max_shapes": f"{images.name}:{most}x{sides}",
    }


class OnnxRuntime:
    """Opens ONNX files, on the provider of the target."""

    name = "ONNX Runtime"
    suffixes = (".onnx",)
    uses_threads = True

    def available(self) -> Availability:
        """Look which of our providers start."""
        try:
            providers = starting_providers()
        except MissingDependencyError as error:
            return Availability(ready=False, details="not installed", install=str(error))
        words = (f"{name} {'starts' if ok else 'no'}" for name, ok in providers.items())
        return Availability(ready=any(providers.values()), details=", ".join(words))

    def why_not_here(self, path: Path) -> str | None:
        """Return None: an ONNX file runs wherever the provider starts."""
        return None

    def open(self, path: Path, options: SessionOptions) -> OrtSession:
        """Open an ONNX file; compare the provider that started with the one ordered."""
        return OrtSession(path, options)

    def provider_of(self, provider: Provider) -> str:
        """Return the provider."""
        return provider
