"""How much of the teacher is left: the one definition of every figure, in plain numpy.

*Fidelity* compares anything with the teacher, on images that nothing was trained or tuned on.
(A file against the file it was made from is *parity*, `runtime/parity.py`.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
Doubles = npt.NDArray[np.float64]

RESAMPLES = 1000
"""Bootstrap resamples behind every interval."""
MAX_PAIR_IMAGES = 2000
"""Pairwise figures use at most this many images, drawn with a fixed seed: memory stays bounded."""
CALIBRATION_BINS = 15
"""Of equal width, as in Guo et al. (ICML 2017)."""
NEVER = -1e4
"""Logit of a class that no label covers: its probability is zero."""
LEAST_SPREAD = 1e-13
"""Cosines whose standard deviation is below this differ by rounding alone: all are the same."""


@dataclass(frozen=True)
class Figure:
    """A number that rests on held-out images, with its 95 % bootstrap interval over images."""

    value: float
    low: float
    high: float


def normalise(x: Floats) -> npt.NDArray[np.float32]:
    """Rows of unit length: [N, D] -> float32 [N, D].

    Raises:
        ValueError: a row is zero or not finite, so that it has no direction.
    """
    # In float64: the squares of a float32 may be beyond float32.
    length = np.sqrt(np.einsum("nd,nd->n", x, x, dtype=np.float64))[:, None]
    good = np.isfinite(length) & (length > 0)
    if not np.all(good):
        raise ValueError(f"{int(np.sum(~good))} of {len(x)} rows have no direction")
    unit: npt.NDArray[np.float32] = (x / length).astype(np.float32)
    return unit


def knn_votes(
    query: Floats, bank: Floats, labels: Ints, classes: int, *, k: int = 10, tau: float = 0.07
) -> Doubles:
    """Share of the vote of each class among the k nearest by cosine (DINO's weighted kNN).

    A neighbour's vote is exp(cosine / tau). k = 10, tau = 0.07 are the TinTeM authors' values.

    Args:
        query: [N, D]; rows need not be normalised.
        bank: [M, D]; with fewer than k rows, all of them vote.
        labels: [M], 0..classes-1.
        classes: K.
        k: how many neighbours vote.
        tau: temperature of the vote.

    Returns:
        [N, K], rows sum to 1.
    """
    return _votes(*_nearest(query, bank, k), labels, classes, tau)


def knn_votes_within(
    x: Floats, labels: Ints, classes: int, *, k: int = 10, tau: float = 0.07
) -> Doubles:
    """`knn_votes` of each row among the other rows (leave one out): [N, D] -> [N, K]."""
    return _votes(*_nearest_others(x, min(k, len(x) - 1)), labels, classes, tau)


def _votes(similarity: Floats, nearest: Ints, labels: Ints, classes: int, tau: float) -> Doubles:
    # exp of a difference: the same shares, and no overflow at small temperatures
    weights = np.exp((similarity - similarity.max(axis=1, keepdims=True)).astype(np.float64) / tau)
    votes = np.zeros((len(similarity), classes))
    np.add.at(votes, (np.arange(len(similarity))[:, None], labels[nearest]), weights)
    votes /= votes.sum(axis=1, keepdims=True)
    return votes


def ood_scores(query: Floats, bank: Floats) -> npt.NDArray[np.float32]:
    """Cosine to the nearest training embedding: high means in distribution. [N, D] -> [N]."""
    similarity, _ = _nearest(query, bank, 1)
    return similarity[:, 0]


def auroc(inside: Floats, outside: Floats) -> float:
    """Chance that an in-distribution score is above an outside one, ties counted half."""
    ordered = np.sort(outside)
    below = np.searchsorted(ordered, inside, "left")
    up_to = np.searchsorted(ordered, inside, "right")
    return float(np.mean(below + up_to) / (2 * len(outside)))


def fpr95(inside: Floats, outside: Floats) -> float:
    """Share of outside images whose score is above the 5th percentile of the inside ones."""
    return float(np.mean(outside > np.percentile(inside, 5)))


def similarity_correlation(a: Floats, b: Floats, *, seed: int = 0) -> Figure:
    """Pearson r of the off-diagonal cosines of `a` [N, Da] and `b` [N, Db], same images.

    It sees how images lie to each other, not where, so the widths may differ. The interval
    resamples images; a pair of an image with its own copy is left out.
    """
    kept = _pair_sample(len(a), seed)
    x, y = _off_diagonal_cosines(a[kept]), _off_diagonal_cosines(b[kept])
    samples = _weighted_correlation(_resample(len(x), seed), x, y)
    low, high = np.percentile(samples, [2.5, 97.5])
    return Figure(_plain_correlation(x, y), float(low), float(high))


def pair_correlation(a: Floats, b: Floats) -> float:
    """`similarity_correlation` of all rows, without its interval."""
    return _plain_correlation(_off_diagonal_cosines(a), _off_diagonal_cosines(b))


def _plain_correlation(x: Doubles, y: Doubles) -> float:
    return float(_weighted_correlation(np.ones((1, len(x))), x, y)[0])


def _off_diagonal_cosines(x: Floats) -> Doubles:
    """Cosines [N, N] less their mean, with a zero diagonal.

    Centred and in float64: an untrained network's cosines are all 0.999 and differ in the last
    digits only, and a correlation does not see the shift.
    """
    unit = x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    cosines: Doubles = unit @ unit.T
    others = ~np.eye(len(x), dtype=bool)
    cosines -= cosines[others].mean()
    np.fill_diagonal(cosines, 0)
    return cosines


def neighbour_overlap(a: Floats, b: Floats, *, k: int = 10) -> Doubles:
    """Per image, the share of its k nearest images that `a` and `b` agree on. -> [N]."""
    k = min(k, len(a) - 1)
    (_, near_a), (_, near_b) = _nearest_others(a, k), _nearest_others(b, k)
    shares = [len(np.intersect1d(p, q)) / k for p, q in zip(near_a, near_b, strict=True)]
    return np.array(shares, np.float64)


def mean_figure(values: Floats | npt.NDArray[np.bool_], *, seed: int = 0) -> Figure:
    """Mean over images of a per-image value [N], with its interval."""
    weights = _resample(len(values), seed)
    means = weights @ values.astype(np.float32) / len(values)
    low, high = np.percentile(means, [2.5, 97.5])
    return Figure(float(np.mean(values)), float(low), float(high))


def two_sample_figure(
    statistic: Callable[[Floats, Floats], float], inside: Floats, outside: Floats, *, seed: int = 0
) -> Figure:
    """`statistic(inside, outside)` with an interval that resamples both sets of images."""
    rng = np.random.default_rng(seed)
    samples = [
        statistic(rng.choice(inside, len(inside)), rng.choice(outside, len(outside)))
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(samples, [2.5, 97.5])
    return Figure(statistic(inside, outside), float(low), float(high))


def log_softmax(logits: Floats) -> Doubles:
    """Logarithm of the probabilities: [N, K] -> float64 [N, K]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    chances: Doubles = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return chances


def calibration_error(logits: Floats, labels: Ints, *, seed: int = 0) -> Figure:
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
    value = float(np.abs(gaps.sum(axis=0)).sum() / len(labels))
    samples = np.abs(_resample(len(labels), seed) @ gaps).sum(axis=1) / len(labels)
    low, high = np.percentile(samples - samples.mean() + value, [2.5, 97.5])
    return Figure(value, max(0.0, float(low)), float(high))


def log_loss(logits: Floats, labels: Ints) -> Doubles:
    """Minus the log of the true class's probability, per image: [N, K], [N] -> [N]."""
    loss: Doubles = -log_softmax(logits)[np.arange(len(labels)), labels]
    return loss


def _nearest(query: Floats, bank: Floats, k: int) -> tuple[npt.NDArray[np.float32], Ints]:
    """The k highest cosines of each query and where they stand: two [N, k], highest first."""
    query, bank = normalise(query), normalise(bank)
    k = min(k, len(bank))
    similarity = np.empty((len(query), k), np.float32)
    index = np.empty((len(query), k), np.int64)
    # 200 MB at a time: 4 bytes of a cosine, 4 of its negative and 8 of its index
    step = max(1, 12_500_000 // len(bank))
    for start in range(0, len(query), step):
        cosines = query[start : start + step] @ bank.T
        top = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(cosines, top, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        index[start : start + step] = np.take_along_axis(top, order, axis=1)
        similarity[start : start + step] = np.take_along_axis(values, order, axis=1)
    return similarity, index


def _nearest_others(x: Floats, k: int) -> tuple[npt.NDArray[np.float32], Ints]:
    """`_nearest` of each row among the other rows."""
    similarity, index = _nearest(x, x, k + 1)
    # The image itself comes first, unless a twin ties with it: drop it where it stands, else the
    # last. A stable sort keeps the others in their order.
    is_self = index == np.arange(len(x))[:, None]
    keep = np.argsort(is_self, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(similarity, keep, axis=1), np.take_along_axis(index, keep, axis=1)


def _pair_sample(n: int, seed: int) -> Ints:
    if n <= MAX_PAIR_IMAGES:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, MAX_PAIR_IMAGES, replace=False))


def _resample(n: int, seed: int) -> npt.NDArray[np.float32]:
    """How often each image is drawn in each bootstrap resample: [RESAMPLES, N]."""
    rng = np.random.default_rng(seed)
    counts: npt.NDArray[np.float32] = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(
        np.float32
    )
    return counts


def _weighted_correlation(weights: Floats, x: Doubles, y: Doubles) -> Doubles:
    """Pearson r over pairs i != j with weight w_i w_j; 0 where one side does not vary at all.

    Args:
        weights: [R, N], a row for each resample.
        x: [N, N], cosines of the one side, with a zero diagonal.
        y: [N, N], of the other.

    Returns:
        [R]
    """
    weights = weights.astype(np.float64)

    def total(matrix: Doubles) -> Doubles:
        sums: Doubles = np.einsum("rn,rn->r", weights @ matrix, weights)
        return sums

    pairs = weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1)
    mean_x, mean_y = total(x) / pairs, total(y) / pairs
    covariance = total(x * y) / pairs - mean_x * mean_y
    variance_x, variance_y = total(x * x) / pairs - mean_x**2, total(y * y) / pairs - mean_y**2
    varied = np.minimum(variance_x, variance_y) > LEAST_SPREAD**2
    correlation: Doubles = np.zeros(len(weights))
    spread = np.sqrt(np.maximum(variance_x * variance_y, 0))
    np.divide(covariance, spread, out=correlation, where=varied)
    return correlation
