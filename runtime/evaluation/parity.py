"""A file against the file it was made from: the same weights, so the answers must be the same.

Everything that is delivered is compared: embedding, logits, probabilities, and the likeness to the
training images that outliers are told by.

(Anything against the teacher is *fidelity*, `runtime/metrics`. Never mix the two words.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime import metrics
from runtime.arrays import Doubles, Floats
from runtime.backends.base import Outputs
from runtime.metrics import NEVER, Bank


@dataclass(frozen=True)
class Parity:
    """How far the answers of a file are from those of its source, over the same inputs.

    The last three are those of the worst image, or the mean over images (see `compare`). None
    without logits, or where an answer is not whole.
    """

    images: int
    cosine_min: float
    """Lowest cosine of an image's two embeddings; -1 where a file gave no direction at all."""
    max_abs_difference: float | None
    """Largest difference of any embedding value; None where not all are finite."""
    same_answer: float | None
    """Share of images with the same top-1 logit, NaN being no answer; None without logits."""
    logit_difference: float | None = None
    """Largest difference of an image's logits, in standard deviations of the source's logits."""
    probability_difference: float | None = None
    """Total variation of an image's probabilities, 0 to 1."""
    likeness_difference: float | None = None
    """Difference of an image's cosine to the nearest training image; None without a bank."""


def compare(
    got: Outputs, expected: Outputs, *, bank: Bank | None = None, worst: bool = True
) -> Parity:
    """Compare two sets of answers to the same N images.

    NaN, infinities and zero vectors count as cosine -1: they must never pass a `<` by being
    incomparable.

    Args:
        got: the file's.
        expected: its source's.
        bank: the student's embeddings of training images.
        worst: whether differences are those of the worst image; else they are means over images.
    """
    if got.embedding.shape != expected.embedding.shape:
        raise ValueError(f"embeddings of {got.embedding.shape}, not {expected.embedding.shape}")
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        a, b = (each.embedding.astype(np.float64) for each in (got, expected))
        cosine = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
        difference = float(np.max(np.abs(a - b)))
    over = np.max if worst else np.mean
    found: dict[str, float] = {}
    if not (broken(got).any() or broken(expected).any()):
        if bank is not None:
            near, wanted = (bank.nearest_cosine(each.embedding) for each in (got, expected))
            found["likeness_difference"] = float(over(np.abs(near - wanted)))
        if got.logits is not None and expected.logits is not None:
            distances = metrics.total_variation(got.logits, expected.logits)
            found["probability_difference"] = float(over(distances))
            found["logit_difference"] = float(over(_apart(got.logits, expected.logits)))
    return Parity(
        images=len(got.embedding),
        cosine_min=float(np.clip(np.where(np.isfinite(cosine), cosine, -1.0).min(), -1, 1)),
        max_abs_difference=difference if np.isfinite(difference) else None,
        same_answer=_same_answer(got.logits, expected.logits),
        **found,
    )


def broken(outputs: Outputs) -> npt.NDArray[np.bool_]:
    """Return which images have no whole answer: [N].

    Some value is not finite, or the embedding is zero and has no direction.
    """
    values = outputs.embedding
    if outputs.logits is not None:
        values = np.concatenate([values, outputs.logits], axis=1)
    found: npt.NDArray[np.bool_] = np.logical_and(
        np.isfinite(values).all(axis=1), outputs.embedding.any(axis=1)
    )
    return ~found


def _apart(got: Floats, expected: Floats) -> Doubles:
    """Largest difference of each image's logits, in standard deviations: [N, K] twice -> [N].

    Classes that no label covers are left out; where all logits are the same, the unit is one.
    """
    kept = expected.max(axis=0) > NEVER / 2
    if not kept.any():
        return np.zeros(len(got))
    gaps = np.abs(got[:, kept].astype(np.float64) - expected[:, kept])
    spread = float(expected[:, kept].std(dtype=np.float64))
    apart: Doubles = gaps.max(axis=1) / (spread if spread > 0 else 1.0)
    return apart


def _same_answer(got: Floats | None, expected: Floats | None) -> float | None:
    if got is None or expected is None:
        return None
    agrees = got.argmax(axis=1) == expected.argmax(axis=1)
    return float(np.mean(agrees & ~np.isnan(got).any(axis=1)))
