"""Nearest neighbours by cosine: their votes, and whether two embeddings share them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from runtime.arrays import Doubles
from runtime.metrics.directions import Floats, Ints, normalise, row_blocks


def knn_votes(
    query: Floats, bank: Floats, labels: Ints, classes: int, *, k: int = 10, tau: float = 0.07
) -> Doubles:
    """Return each class's share of the vote of the k nearest by cosine (DINO's weighted kNN).

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
    return unit_knn_votes(normalise(query), normalise(bank), labels, classes, k=k, tau=tau)


def unit_knn_votes(
    query: Floats, bank: Floats, labels: Ints, classes: int, *, k: int = 10, tau: float = 0.07
) -> Doubles:
    """`knn_votes` of rows that have unit length already."""
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
    """Return the cosine to the nearest training embedding, high for an image that belongs: [N]."""
    return unit_ood_scores(normalise(query), normalise(bank))


def unit_ood_scores(query: Floats, bank: Floats) -> npt.NDArray[np.float32]:
    """`ood_scores` of rows that have unit length already."""
    highest = np.empty(len(query), np.float32)
    for rows in row_blocks(len(query), len(bank)):
        highest[rows] = (query[rows] @ bank.T).max(axis=1)
    return highest


def neighbour_overlap(a: Floats, b: Floats, *, k: int = 10) -> Doubles:
    """Return, per image, the share of its k nearest images that `a` and `b` agree on: [N]."""
    k = min(k, len(a) - 1)
    (_, near_a), (_, near_b) = _nearest_others(a, k), _nearest_others(b, k)
    shares = [len(np.intersect1d(p, q)) / k for p, q in zip(near_a, near_b, strict=True)]
    return np.array(shares, np.float64)


def _nearest(query: Floats, bank: Floats, k: int) -> tuple[npt.NDArray[np.float32], Ints]:
    """Return the k highest cosines of each unit row and their indices: two [N, k], sorted."""
    k = min(k, len(bank))
    similarity = np.empty((len(query), k), np.float32)
    index = np.empty((len(query), k), np.int64)
    for rows in row_blocks(len(query), len(bank)):
        cosines = query[rows] @ bank.T
        top = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(cosines, top, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        index[rows] = np.take_along_axis(top, order, axis=1)
        similarity[rows] = np.take_along_axis(values, order, axis=1)
    return similarity, index


def _nearest_others(x: Floats, k: int) -> tuple[npt.NDArray[np.float32], Ints]:
    """`_nearest` of each row among the other rows."""
    unit = normalise(x)
    similarity, index = _nearest(unit, unit, k + 1)
    # The image itself comes first, unless a twin ties with it: drop it where it stands, else the
    # last. A stable sort keeps the others in their order.
    is_self = index == np.arange(len(x))[:, None]
    keep = np.argsort(is_self, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(similarity, keep, axis=1), np.take_along_axis(index, keep, axis=1)
