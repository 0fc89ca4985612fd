"""The types of all backends: sessions and their outputs, and what a backend is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from runtime.arrays import AnyArray
from runtime.documents import Precision
from runtime.errors import InputError
from runtime.images.preprocess import Preprocess

Provider = Literal["cpu", "cuda", "tensorrt"]
"""Of ONNX Runtime; `tensorrt` is its own provider, which builds an engine as it opens a file."""
Takes = Literal["float32", "uint8"]


@dataclass(frozen=True)
class Outputs:
    """The student's outputs for a batch."""

    embedding: npt.NDArray[np.float32]
    """[B, D]"""
    logits: npt.NDArray[np.float32] | None
    """[B, K], or None where no labels were given."""

    @classmethod
    def joined(cls, batches: Sequence[Outputs]) -> Outputs:
        """Join the outputs of one or more batches."""
        logits = [batch.logits for batch in batches if batch.logits is not None]
        return cls(
            embedding=np.concatenate([batch.embedding for batch in batches]),
            logits=np.concatenate(logits) if logits else None,
        )


@dataclass(frozen=True)
class Widths:
    """How wide a student's answers are."""

    embedding: int
    classes: int
    """0 without logits."""


def require_widths(outputs: Outputs, path: Path, wanted: Widths) -> None:
    """Compare the answers of a file with what its bundle says.

    Raises:
        InputError: they are of other widths.
    """
    logits = 0 if outputs.logits is None else outputs.logits.shape[1]
    found = Widths(outputs.embedding.shape[1], logits)
    if found != wanted:
        raise InputError(
            f"{path}: answers {found.embedding} numbers of an embedding and {found.classes} of "
            f"classes; this bundle's student has {wanted.embedding} and {wanted.classes}"
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

    def run(self, images: AnyArray) -> Outputs:
        """Answer one batch of what it `takes`."""
        ...


@dataclass(frozen=True)
class DeviceTimes:
    """Inferences that a device timed itself."""

    ms: tuple[float, ...]
    """Milliseconds of one inference, without copies."""
    as_graph: bool
    """Whether it was replayed from a CUDA graph; else the times include gaps between launches."""


@runtime_checkable
class OnDevice(Protocol):
    """A session that can time itself on its device, without copies to and from it."""

    def graphs_pay(self, images: AnyArray) -> bool:
        """Measure whether a captured graph is faster for this size, and use the faster way."""
        ...

    def device_ms(self, images: AnyArray, runs: int) -> DeviceTimes:
        """Time so many inferences."""
        ...


def inputs_of(session: Session, preprocess: Preprocess, pixels: npt.NDArray[np.uint8]) -> AnyArray:
    """Return pixels [B, S, S, 3] as the session takes them."""
    return pixels if session.takes == "uint8" else preprocess.normalise(pixels)


@dataclass(frozen=True)
class SessionOptions:
    """How a file is opened."""

    provider: Provider = "cpu"
    """The provider that must run an ONNX file; another one is never used in silence."""
    threads: int | None = None
    """CPU threads within one operator; None: one for each core that this process may use."""
    batches: tuple[int, int] = (1, 8)
    """Smallest and largest batch to come."""
    optimised: bool = True
    """Whether ONNX Runtime rewrites the graph; if not, the same file is built otherwise."""
    precision: Precision | None = None
    """What the file is delivered as; None: as the file itself says."""

    def require_precision(self, path: Path, found: Precision) -> None:
        """Compare the precision that a file has with the one that it is delivered as.

        Raises:
            InputError: it is another one.
        """
        if self.precision not in (None, found):
            raise InputError(
                f"{path}: delivered as {self.precision}, and is a file in {found}. Was it put "
                "there under a wrong name? `compressor export RUN` writes it again."
            )


@dataclass(frozen=True)
class Availability:
    """Whether a backend can be used on this machine."""

    ready: bool
    details: str
    """Versions and providers, or the reason; one line."""
    install: str = ""
    """How to install it, where it is missing."""


class Proof(Struct, frozen=True, omit_defaults=True):
    """What a file really runs in on this machine, read back from the library that runs it."""

    read_from: str
    """What said so, such as `a profile of ONNX Runtime`."""
    nodes: dict[str, int] = {}
    """Operators by what runs them, such as `{"CUDA": 60, "CPU": 2}`."""
    types: dict[str, float] = {}
    """Share of weights or operators by number type."""
    not_proved: str = ""
    """Why that does not prove the file's precision; empty where it does."""


class Backend(Protocol):
    """A library that runs files of the student: one file here, and one line in the registry."""

    @property
    def name(self) -> str:
        """Its name for people, such as `ONNX Runtime`."""
        ...

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings of the files that it opens, such as `.onnx`."""
        ...

    @property
    def uses_threads(self) -> bool:
        """Whether it runs on the CPU, where the number of threads decides how fast it is."""
        ...

    def available(self) -> Availability:
        """Look whether the backend can be used on this machine."""
        ...

    def why_not_here(self, path: Path) -> str | None:
        """Return why an undamaged file cannot run on this machine, or None where it can.

        Raises:
            InputError: the file is damaged.
        """
        ...

    def open(self, path: Path, options: SessionOptions) -> Session:
        """Open a file, and prove that it runs as it was ordered.

        Raises:
            InputError: the file is missing or damaged, or is for another machine.
            MissingDependencyError: the backend is not installed, or did not start as ordered.
        """
        ...

    def proof(self, path: Path, options: SessionOptions) -> Proof | None:
        """Read back what a file runs in, once it was opened so; None where nothing is to be told.

        Raises:
            InputError: it runs in another precision than its own.
        """
        ...

    def provider_of(self, provider: Provider) -> str:
        """Return what runs its files, as the ledger names it, where ONNX Runtime has `provider`."""
        ...
