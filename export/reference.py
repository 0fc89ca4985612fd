"""A student's answers in torch, which the files that other tools make of it are compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from export.onnx_file import Deployed
from export.refusals import UNFORESEEN
from runtime.arrays import Floats
from runtime.backends.base import Outputs
from runtime.errors import FileNotMadeError
from runtime.evaluation import parity

_IMAGES = 4
_LEAST = {"fp32": 0.9999, "fp16": 0.99, "int8": -1.0}
"""Lowest cosine with the student's answers. Students of the tests: 0.999999 and above in float32
and with weights in half precision; a conversion that is wrong gives less than 0.9. What INT8 costs
a student is measured by its ledger."""


@dataclass(frozen=True)
class Reference:
    """Images and the student's answers to them."""

    images: Floats
    """[N, 3, S, S] of noise."""
    answers: Outputs


def of(module: Deployed, size_px: int) -> Reference:
    """Return a student's answers to a few images.

    Args:
        module: on the CPU; it is left as it is.
        size_px: side S of the input.

    Raises:
        FileNotMadeError: it does not answer.
    """
    images = np.random.default_rng(0).normal(size=(_IMAGES, 3, size_px, size_px))
    given = images.astype(np.float32)
    try:
        with torch.inference_mode():
            found = module.eval()(torch.from_numpy(given))
    except UNFORESEEN as error:
        raise FileNotMadeError(f"it gives no answer: {said(error)}") from error
    embedding, *rest = found if isinstance(found, tuple) else (found,)
    return Reference(given, Outputs(embedding.numpy(), rest[0].numpy() if rest else None))


def require_same(got: Outputs, wanted: Outputs, precision: str, runtime: str) -> None:
    """Compare a file's answers with the student's.

    Args:
        got: the file's.
        wanted: the student's to the same images.
        precision: of the file.
        runtime: what ran it, for the message.

    Raises:
        FileNotMadeError: they are of other widths, or too far away.
    """
    shapes = [
        [each.embedding.shape, None if each.logits is None else each.logits.shape]
        for each in (got, wanted)
    ]
    if shapes[0] != shapes[1]:
        raise FileNotMadeError(f"{runtime} answers {shapes[0]}, the student {shapes[1]}")
    found = parity.compare(got, wanted)
    if found.cosine_min < _LEAST[precision]:
        raise FileNotMadeError(
            f"in {runtime} it answers other than the student: the lowest cosine of "
            f"{len(got.embedding)} images is {found.cosine_min:.6f}, and at least "
            f"{_LEAST[precision]} is wanted"
        )


def mean_cosine(got: Floats, expected: Floats) -> float:
    """Return the mean cosine of embeddings [N, D]; one that has no direction counts as -1."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        lengths = np.linalg.norm(got, axis=1) * np.linalg.norm(expected, axis=1)
        cosines = (got * expected).sum(axis=1) / lengths
    return float(np.where(np.isfinite(cosines), cosines, -1.0).mean())


def said(error: Exception) -> str:
    """Return the kind and the first line of what a library said."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
