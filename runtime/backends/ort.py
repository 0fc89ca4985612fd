"""The ONNX Runtime backend: a session that refuses a provider that did not start."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from runtime.arrays import AnyArray
from runtime.backends.base import Availability, Outputs, Proof, SessionOptions
from runtime.backends.limits import Watch
from runtime.backends.onnx_versions import why_too_old
from runtime.backends.ort_library import (
    import_onnxruntime,
    load_errors,
    session_options,
)
from runtime.backends.ort_nodes import nodes_by_provider
from runtime.backends.ort_providers import open_on, options_of, starting_providers
from runtime.errors import (
    InputError,
    MissingDependencyError,
    ToolError,
    is_about_memory,
    lacking,
)

if TYPE_CHECKING:
    from runtime.backends.base import Provider, Takes


class OrtSession:
    """One ONNX file, opened by ONNX Runtime."""

    def __init__(self, path: Path, options: SessionOptions) -> None:
        ort, provider = import_onnxruntime(), options.provider
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        try:
            settings = session_options(options.threads, optimised=options.optimised)
            self._session = open_on(str(path), provider, settings, options_of(path, options))
        except load_errors() as error:
            _pass_on_memory(error)
            raise _refusal(path, ort.__version__, str(error)) from error
        names = [output.name for output in self._session.get_outputs()]
        if "embedding" not in names:
            raise InputError(f"{path}: has the outputs {names}, but no `embedding`")
        self._path, self._provider = path, provider
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in _TAKES:
            shown = [f"{each.name}: {each.type}" for each in inputs]
            raise InputError(f"{path}: takes {shown}; a student takes images, float or uint8")
        images = inputs[0]
        self._input = images.name
        self._options = ort.RunOptions()
        self._late = False
        self._takes: Takes = _TAKES[images.type]
        self._names = ["embedding", "logits"] if "logits" in names else ["embedding"]

    @property
    def takes(self) -> Takes:
        """The file's input: normalised float32, or pixels."""
        return self._takes

    def run(self, images: AnyArray) -> Outputs:
        """Answer one batch: float32 [B, 3, S, S] normalised, or uint8 [B, S, S, 3].

        Raises:
            InputError: the file takes images of another shape, fails at work, takes longer than a
                minute an image, or answers something else than an embedding and logits.
            MissingDependencyError: the GPU's memory is full.
            MemoryError: memory is out.
        """
        limit = ANSWER_S * len(images)
        try:
            with _WATCH.limit(limit, self._stop):
                found = self._session.run(self._names, {self._input: images}, self._options)
        except load_errors() as error:
            if self._provider != "cpu" and (known := lacking(error)) is not None:
                raise known from error
            _pass_on_memory(error)
            why = f"no answer in {limit:.0f} s, stopped" if self._late else str(error)
            raise InputError(
                f"{self._path}: cannot answer images of shape {list(images.shape)}: {why}"
            ) from error
        for name, values in zip(self._names, found, strict=True):
            if not _is_answer(values, len(images)):
                kind = (
                    f"{values.dtype} {list(values.shape)}" if hasattr(values, "shape") else "text"
                )
                raise InputError(
                    f"{self._path}: its output `{name}` is {kind} for {len(images)} images; "
                    "expected float32, a row for each image"
                )
        embedding, *rest = found
        return Outputs(embedding=embedding, logits=rest[0] if rest else None)

    def _stop(self) -> None:
        self._late = True
        self._options.terminate = True


def _pass_on_memory(error: Exception) -> None:
    """Raise what ONNX Runtime says of memory as what it is: the file may be right."""
    if is_about_memory(str(error)):
        raise MemoryError(str(error)) from error


def _is_answer(values: object, images: int) -> bool:
    return (
        isinstance(values, np.ndarray)
        and values.dtype == np.float32
        and values.ndim == 2
        and len(values) == images
        and values.shape[1] > 0
    )


ANSWER_S = 60.0
"""The longest that one image may take; the slowest student on the slowest device takes seconds."""
_WATCH = Watch()
_TAKES: dict[str, Takes] = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}


def _refusal(path: Path, installed: str, said: str) -> ToolError:
    """Return why ONNX Runtime does not open a file: it is too old, or the file is damaged."""
    cannot = f"{path}: ONNX Runtime {installed} cannot load this file: {said.strip()}"
    try:
        too_old = why_too_old(path, installed, said)
    except InputError:  # it is no whole ONNX file
        return InputError(
            f"{cannot}\n  Was it copied completely? `compressor export RUN` writes it again."
        )
    if too_old is not None:
        return MissingDependencyError(too_old)
    return InputError(f"{cannot}\n  The file is whole; a newer ONNX Runtime may be able to.")


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

    def proof(self, path: Path, options: SessionOptions) -> Proof | None:
        """Count nodes by provider; on a CPU there is no other."""
        if options.provider == "cpu":
            return None
        return Proof("a profile of ONNX Runtime", nodes=nodes_by_provider(path, options))

    def provider_of(self, provider: Provider) -> str:
        """Return the provider."""
        return provider
