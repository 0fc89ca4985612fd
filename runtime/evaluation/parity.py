"""A file against the file it was made from: the same weights, so the answers must be the same.

(Anything against the teacher is *fidelity*, `runtime/metrics`. Never mix the two words.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Parity:
    """How far the answers of a file are from those of its source, over the same inputs."""

    images: int
    cosine_min: float
    """Lowest cosine of an image's two embeddings; -1 where a file gave no direction at all."""
    max_abs_difference: float | None
    """Largest difference of any embedding value; None where not all are finite."""
    same_answer: float | None
    """Share of images with the same top-1 logit, NaN being no answer; None without logits."""


def compare(
    got: npt.NDArray[np.floating],
    expected: npt.NDArray[np.floating],
    *,
    got_logits: npt.NDArray[np.floating] | None = None,
    expected_logits: npt.NDArray[np.floating] | None = None,
) -> Parity:
    """Compare two sets of embeddings [N, D] of the same images.

    NaN, infinities and zero vectors count as cosine -1: they must never pass a `<` by being
    incomparable.
    """
    if got.shape != expected.shape:
        raise ValueError(f"embeddings of shape {got.shape}, expected {expected.shape}")
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        a, b = got.astype(np.float64), expected.astype(np.float64)
        cosine = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
        difference = float(np.max(np.abs(a - b)))
    same = None
    if got_logits is not None and expected_logits is not None:
        agrees = got_logits.argmax(axis=1) == expected_logits.argmax(axis=1)
        same = float(np.mean(agrees & ~np.isnan(got_logits).any(axis=1)))
    return Parity(
        images=len(got),
        cosine_min=float(np.where(np.isfinite(cosine), cosine, -1.0).min()),
        max_abs_difference=difference if np.isfinite(difference) else None,
        same_answer=same,
    )
