"""The one interface every backend has, and the only place that picks one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from runtime.images.preprocess import Preprocess

Provider = Literal["cpu", "cuda", "tensorrt"]
"""Of ONNX Runtime; `tensorrt` is its own provider, which builds an engine as it opens a file."""
Takes = Literal["float32", "uint8"]


@dataclass(frozen=True)
class Outputs:
    """What the student says of a batch."""

    embedding: npt.NDArray[np.float32]
    """[B, D]"""
    logits: npt.NDArray[np.float32] | None
    """[B, K], or None where no labels were given."""

    @classmethod
    def joined(cls, batches: Sequence[Outputs]) -> Outputs:
        """Of several batches in a row; at least one."""
        logits = [batch.logits for batch in batches if batch.logits is not None]
        return cls(
            embedding=np.concatenate([batch.embedding for batch in batches]),
            logits=np.concatenate(logits) if logits else None,
        )


class Session(Protocol):
    """A loaded model, ready to answer batches.

    `run` returns when the answer is in host memory: any device work is finished, so a wall clock
    around `run` times the whole request. The arrays returned belong to the caller.
    """

    @property
    def takes(self) -> Takes:
        """`float32`: [B, 3, S, S], normalised. `uint8`: pixels [B, S, S, 3], normalised inside."""
        ...

    def run(self, images: npt.NDArray[Any]) -> Outputs:
        """Answer one batch of what it `takes`."""
        ...


@runtime_checkable
class OnDevice(Protocol):
    """A session that can time itself on its device, without the way to and from it."""

    def graphs_pay(self, images: npt.NDArray[Any]) -> bool:
        """Whether requests of this size are faster as a captured graph; goes on with the faster."""
        ...

    def device_ms(self, images: npt.NDArray[Any], runs: int) -> list[float]:
        """Milliseconds of each of so many inferences."""
        ...


def inputs_of(
    session: Session, preprocess: Preprocess, pixels: npt.NDArray[np.uint8]
) -> npt.NDArray[Any]:
    """Pixels [B, S, S, 3] as a session wants them."""
    return pixels if session.takes == "uint8" else preprocess.normalise(pixels)


def open_session(
    path: Path, *, provider: Provider, threads: int | None = None, batches: tuple[int, int] = (1, 8)
) -> Session:
    """Open an ONNX file with ONNX Runtime, or an engine with TensorRT, or raise.

    Args:
        path: the `.onnx` or `.engine` file.
        provider: where an ONNX file must run; another one is never taken in silence.
        threads: CPU threads within one operator; None leaves it to the backend.
        batches: smallest and largest batch to come, for ONNX Runtime's TensorRT provider.

    Raises:
        InputError: the file is missing, is no valid ONNX model, or is an engine
            of another machine.
        MissingDependencyError: the backend is not installed or its provider did not start.
    """
    if path.suffix == ".engine":
        from runtime.backends.trt import TrtSession

        return TrtSession(path)
    from runtime.backends.ort import OrtSession

    return OrtSession(path, provider=provider, threads=threads, batches=batches)
