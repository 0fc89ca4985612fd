"""Probabilities of classes: their calibration, and their distance to the teacher's."""

from __future__ import annotations

import numpy as np

from runtime.arrays import Doubles
from runtime.metrics.directions import Floats, Ints
from runtime.metrics.intervals import Estimate, resampled_means

CALIBRATION_BINS = 15
"""Of equal width, as in Guo et al. (ICML 2017)."""
NEVER = -1e4
"""Logit of a class without a label: its probability is zero."""
SCALES = (1e-2, 1e2)
"""Bounds of what calibration multiplies logits by: one over the temperature."""


def at_bound(temperature: float) -> bool:
    """Return whether a temperature is where the search for it had to end."""
    scale, (lowest, highest) = 1 / temperature, SCALES
    return not 1.01 * lowest < scale < highest / 1.01


def log_softmax(logits: Floats) -> Doubles:
    """Logarithm of the probabilities: [N, K] -> float64 [N, K]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    chances: Doubles = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return chances


def total_variation(logits: Floats, others: Floats) -> Doubles:
    """Largest difference of the probabilities that two give to any event: [N, K] twice -> [N].

    Half the sum over classes of |p - q|: 0 where they are the same, 1 where they exclude each
    other.
    """
    gaps = np.abs(np.exp(log_softmax(logits)) - np.exp(log_softmax(others)))
    distance: Doubles = gaps.sum(axis=1) / 2
    return distance


def jensen_shannon(logits: Floats, others: Floats) -> Doubles:
    """Jensen-Shannon divergence of two sets of probabilities in bits, 0 to 1: [N, K] twice -> [N].

    (Lin 1991.) The square of `scipy.spatial.distance.jensenshannon` with base 2.
    """
    p, q = log_softmax(logits), log_softmax(others)
    middle = np.logaddexp(p, q) - np.log(2)
    bits: Doubles = (
        (np.exp(p) * (p - middle)).sum(axis=1) + (np.exp(q) * (q - middle)).sum(axis=1)
    ) / (2 * np.log(2))
    return np.clip(bits, 0, 1)


def calibration_error(logits: Floats, labels: Ints, *, seed: int = 0) -> Estimate:
    """Expected calibration error: how far the probabilities are from how often they are right.

    Images are binned by the probability of their answer; in each bin the mean probability is
    compared with the share of right answers, weighted by the bin's images (Guo et al., ICML 2017).
    Chance alone moves the two apart, and resampling does so again: the interval is the bootstrap's
    spread around the value itself.

    Args:
        logits: [N, K].
        labels: [N], 0..K-1.
        seed: of the interval.
    """
    chances = np.exp(log_softmax(logits))
    answers = chances.argmax(axis=1)
    confidence = chances[np.arange(len(labels)), answers]
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps = np.zeros((len(labels), CALIBRATION_BINS))
    gaps[np.arange(len(labels)), bins] = confidence - (answers == labels)
    value = float(np.abs(gaps.mean(axis=0)).sum())
    samples: Doubles = np.abs(resampled_means(gaps, seed)).sum(axis=1)
    samples = samples - samples.mean() + value
    low, high = np.percentile(samples, [2.5, 97.5])
    return Estimate(value, max(0.0, float(low)), float(high), samples, (seed, len(labels)))


def log_loss(logits: Floats, labels: Ints) -> Doubles:
    """Minus the log of the true class's probability, per image: [N, K], [N] -> [N]."""
    loss: Doubles = -log_softmax(logits)[np.arange(len(labels)), labels]
    return loss
