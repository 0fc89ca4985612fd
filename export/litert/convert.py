"""A student as a `.tflite` file: converted by litert-torch, compared with the student.

The converter names outputs itself where a network returns a tuple; here it returns them by name.
Inputs and outputs, number types and answers of what it made are read back.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from export import reference
from export.onnx_file import Deployed
from export.reference import Reference
from export.refusals import UNFORESEEN
from runtime.backends.base import SessionOptions
from runtime.backends.litert.session import (
    EMBEDDING,
    INPUT,
    LOGITS,
    SIGNATURE,
    LiteRtSession,
    import_litert,
)
from runtime.documents import Precision
from runtime.errors import FileNotMadeError, MissingDependencyError, ToolError
from runtime.files import replacing

INSTALL = "pip install 'edge-compressor[litert-export]'"
_PACKAGES = ("litert_torch", "ai_edge_quantizer")


@dataclass(frozen=True)
class Converted:
    """A student in float32 for LiteRT, with its answers to a few images."""

    path: Path
    reference: Reference


class _Named(nn.Module):
    """A deployed student that returns its answers by name."""

    def __init__(self, student: Deployed) -> None:
        super().__init__()
        self.deployed = student

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        found = self.deployed(images)
        if isinstance(found, Tensor):
            return {EMBEDDING: found}
        embedding, logits = found
        return {EMBEDDING: embedding, LOGITS: logits}


def require_tools() -> None:
    """Find what a conversion needs.

    Raises:
        MissingDependencyError: litert-torch, its quantiser or LiteRT is not installed.
    """
    for name in _PACKAGES:
        if importlib.util.find_spec(name) is None:
            raise MissingDependencyError(
                f"{name}, which makes files of LiteRT, is not installed: {INSTALL}"
            )
    import_litert()


def convert(module: Deployed, size_px: int, path: Path) -> Converted:
    """Write a student as a `.tflite` file in float32.

    Args:
        module: on the CPU; it is left as it is.
        size_px: side S of the input.
        path: the file to write. It takes `images` float32 [1, 3, S, S] and gives `embedding` and,
            with a probe, `logits`.

    Raises:
        FileNotMadeError: litert-torch cannot convert it, or the file has other outputs or answers
            than the student.
        MissingDependencyError: litert-torch is not installed.
    """
    answered = reference.of(module, size_px)
    named = _Named(copy.deepcopy(module)).eval().float()
    given = {INPUT: torch.from_numpy(answered.images[:1])}
    try:
        with quiet(), replacing(path) as temporary:
            library = _library("litert_torch")
            library.signature(SIGNATURE, named, sample_kwargs=given).convert().export(
                str(temporary)
            )
    except UNFORESEEN as error:
        raise FileNotMadeError(f"litert-torch refused: {reference.said(error)}") from error
    require_delivered(path, "fp32", answered)
    return Converted(path, answered)


def require_delivered(path: Path, precision: Precision, answered: Reference) -> None:
    """Read a file back: its ends, what it computes in, and its answers.

    Raises:
        FileNotMadeError: something is not as it was ordered.
    """
    try:
        session = LiteRtSession(path, SessionOptions(threads=1))
        answers = session.run(answered.images)
    except ToolError as error:
        raise FileNotMadeError(f"LiteRT does not run what was made: {error}") from error
    if session.precision != precision:
        raise FileNotMadeError(f"a file in {session.precision} was made, not in {precision}")
    reference.require_same(answers, answered.answers, precision, "LiteRT")


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"{name}, which makes files of LiteRT, is not installed: {INSTALL}"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what converter and quantiser print to themselves: stdout is for documents."""
    logger = logging.getLogger()
    level = logger.level
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            logger.setLevel(logging.ERROR)
            with contextlib.redirect_stderr(io.StringIO()):
                yield
    finally:
        logger.setLevel(level)
