"""The one interface every backend has, and the only place that picks one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Provider = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Outputs:
    """What the student says of a batch."""

    embedding: npt.NDArray[np.float32]
    """[B, D]"""
    logits: npt.NDArray[np.float32] | None
    """[B, K], or None where no labels were given."""


class Session(Protocol):
    """A loaded model, ready to answer batches.

    `run` returns when the answer is in host memory: any device work is finished, so a wall clock
    around `run` times the whole request. The arrays returned belong to the caller.
    """

    def run(self, images: npt.NDArray[np.float32]) -> Outputs:
        """Answer one batch: float32 [B, 3, S, S], normalised."""
        ...


def open_session(path: Path, *, provider: Provider, threads: int | None = None) -> Session:
    """Open an ONNX file with ONNX Runtime on the provider asked for, or raise.

    Args:
        path: the `.onnx` file.
        provider: where it must run; another one is never taken in silence.
        threads: CPU threads within one operator; None leaves it to the backend.

    Raises:
        InputError: the file is missing or is no valid ONNX model.
        MissingDependencyError: the backend is not installed or its provider did not start.
    """
    from runtime.ort import OrtSession

    return OrtSession(path, provider=provider, threads=threads)
