"""Similarity structure: the cosines between images in one embedding and in another.

The two embeddings may have different widths, since only their cosines are compared. Metrics
are over all pairs of two different images. Sums over pairs of products of cosines are products of
[D, D] matrices, so that no [N, N] matrix is made; where that is not so, rows are taken in blocks.

The intervals resample images, not pairs (`intervals.smooth_estimate`).
"""

from __future__ import annotations

import numpy as np

from runtime.arrays import Doubles
from runtime.metrics.directions import Floats, normalise, row_blocks, unit_rows
from runtime.metrics.intervals import Estimate, pseudo_values, smooth_estimate

LEAST_SPREAD = 1e-13
"""Cosines whose standard deviation is below this differ by rounding alone: all are the same."""


def similarity_correlation(a: Floats, b: Floats, *, seed: int = 0) -> Estimate:
    """Pearson r of the off-diagonal cosines of `a` [N, Da] and `b` [N, Db], same N > 2 images."""
    moments = _mean_products(a, b)
    return smooth_estimate(
        _correlation, np.stack([_of_pairs(row) for row in moments], axis=1), seed=seed
    )


def pair_correlation(a: Floats, b: Floats) -> float:
    """`similarity_correlation` without its interval, of 2 images or more."""
    means = np.array([row.mean() for row in _mean_products(a, b)])
    return float(_correlation(means[None])[0])


def cosine_mae(a: Floats, b: Floats, *, seed: int = 0) -> Estimate:
    """Mean absolute difference of the off-diagonal cosines of `a` [N, Da] and `b` [N, Db].

    Unlike the correlation it sees a shift that all cosines have in common. In
    blocks of rows: time grows with N squared, memory with N.
    """
    first, second = normalise(a), normalise(b)
    count = len(first)
    means = np.empty(count)
    for rows in row_blocks(count, count):
        gaps = first[rows] @ first.T
        gaps -= second[rows] @ second.T
        np.abs(gaps, out=gaps)
        gaps[np.arange(len(gaps)), np.arange(rows.start, rows.stop)] = 0
        means[rows] = gaps.sum(axis=1, dtype=np.float64) / (count - 1)
    return smooth_estimate(lambda mean: mean[:, 0], _of_pairs(means)[:, None], seed=seed)


def _of_pairs(means: Doubles) -> Doubles:
    """Pseudo-values of a mean over pairs, from each image's mean over the others: [N] -> [N]."""
    count = len(means)
    whole = means.mean()
    # All pairs less twice an image's own (as first and as second), of those that are left.
    without = (whole * count - 2 * means) / (count - 2)
    return pseudo_values(float(whole), without)


def _mean_products(a: Floats, b: Floats) -> list[Doubles]:
    """Each image's mean over the others of x, y, xx, yy, xy; x and y are cosines. 5 of [N].

    The cosines are shifted by what they have in common, which a correlation does not see: an
    untrained network's are all 0.999 and differ in the last digits only. With the mean m of all
    rows and r = row - m, a cosine less m.m is u_i + u_j + r_i.r_j, where u = m.r: an inner product
    of (u_i, 1, r_i) with (1, u_j, r_j), and sums of products of such are Gram matrices.
    """
    left, right = _shifted(a), _shifted(b)
    others = len(left) - 1
    pairs = ((left, right), (left, left), (right, right))
    both, first, second = (_row_products(*pair) / others for pair in pairs)
    return [_row_sums(left) / others, _row_sums(right) / others, first, second, both]


def _shifted(x: Floats) -> Doubles:
    """(u, 1, r) of each row, [N, D + 2]."""
    unit = unit_rows(x)
    mean = unit.mean(axis=0)
    unit -= mean
    along = unit @ mean
    return np.concatenate([along[:, None], np.ones((len(unit), 1)), unit], axis=1)


def _swapped(form: Doubles) -> Doubles:
    """(1, u, r) of the sums of (u, 1, r)."""
    return np.concatenate([form[..., 1:2], form[..., :1], form[..., 2:]], axis=-1)


def _own(form: Doubles) -> Doubles:
    """Return each image's cosine with itself, shifted like the others."""
    own: Doubles = 2 * form[:, 0] + np.einsum("nd,nd->n", form[:, 2:], form[:, 2:])
    return own


def _row_sums(form: Doubles) -> Doubles:
    """Return the sum of each image's cosines with the others."""
    sums: Doubles = form @ _swapped(form.sum(axis=0)) - _own(form)
    return sums


def _row_products(one: Doubles, other: Doubles) -> Doubles:
    """Return the sum over the others of the product of two cosines."""
    gram = _swapped(_swapped(one.T @ other).T).T  # both sides swapped
    sums = np.empty(len(one))
    for rows in row_blocks(len(one), one.shape[1]):
        sums[rows] = np.einsum("nd,nd->n", one[rows] @ gram, other[rows])
    products: Doubles = sums - _own(one) * _own(other)
    return products


def _correlation(means: Doubles) -> Doubles:
    """Pearson r from means of x, y, xx, yy, xy; 0 where a side does not vary: [R, 5] -> [R]."""
    x, y, xx, yy, xy = means.T
    variance_x, variance_y = xx - x**2, yy - y**2
    varied = np.minimum(variance_x, variance_y) > LEAST_SPREAD**2
    correlation: Doubles = np.zeros(len(means))
    spread = np.sqrt(np.maximum(variance_x * variance_y, 0))
    np.divide(xy - x * y, spread, out=correlation, where=varied)
    return np.clip(correlation, -1, 1)
