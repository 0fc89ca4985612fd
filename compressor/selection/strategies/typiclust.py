"""TypiClust: the most typical image of each cluster (Hacohen, Dekel and Weinshall 2022)."""

from __future__ import annotations

import numpy as np

from compressor.selection.metric_space import Space, random_state
from compressor.selection.strategies.strategy import ByDistance
from runtime.arrays import Floats, Ints

_NEIGHBOURS = 20
"""As in the paper."""
_MOST_MEMBERS = 20_000
"""A larger cluster is represented by this many members, drawn at random."""
_MOST_CLUSTERED = 100_000
"""Most points that k-means is fitted on; the others go to the nearest cluster."""


def typiclust(space: Space, budget: int, fixed: Ints, seed: int) -> Ints:
    """Choose, in the largest clusters without a centre, the point with the nearest neighbours.

    k-means makes as many clusters as there will be centres. In rank order: clusters without a
    centre come first, then bigger ones; where all have one, a second is taken.
    """
    clusters = len(fixed) + budget
    which = _clusters(space, clusters, seed)
    rng = np.random.default_rng(seed)
    centres = np.bincount(which[fixed], minlength=clusters)
    size = np.bincount(which, minlength=clusters)
    left = size - centres
    ordered: dict[int, list[int]] = {}
    chosen: list[int] = []
    while len(chosen) < budget:
        open_ = np.flatnonzero(left)
        cluster = int(open_[np.lexsort((-size[open_], centres[open_]))[0]])
        if cluster not in ordered:
            members = np.setdiff1d(np.flatnonzero(which == cluster), fixed)
            ordered[cluster] = _most_typical(space, members, budget, rng)
        chosen.append(ordered[cluster].pop(0))
        centres[cluster] += 1
        left[cluster] = len(ordered[cluster])
    return np.array(chosen, np.int64)


def typicality(space: Space) -> Floats:
    """Return one over the mean distance to the nearest 20 others: [N]."""
    count = min(_NEIGHBOURS, len(space) - 1)
    if count < 1:
        return np.ones(len(space), np.float32)
    found = np.empty(len(space), np.float32)
    for block, distances in space.to_others():
        found[block] = np.partition(distances, count - 1, axis=1)[:, :count].mean(axis=1)
    return np.reciprocal(np.maximum(found, np.finfo(np.float32).tiny))


def _most_typical(space: Space, members: Ints, most: int, rng: np.random.Generator) -> list[int]:
    """Return members, the most typical first; at least `most`, where there are so many."""
    if len(members) > max(_MOST_MEMBERS, most):
        members = np.sort(rng.choice(members, max(_MOST_MEMBERS, most), replace=False))
    order = np.argsort(-typicality(space.part(members)), kind="stable")
    found: list[int] = members[order].tolist()
    return found


def _clusters(space: Space, clusters: int, seed: int) -> Ints:
    """The k-means cluster of each point: [N]. k-means of unit vectors is that of cosines."""
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    points = space.points
    if len(points) > max(_MOST_CLUSTERED, clusters):
        drawn = np.random.default_rng(seed).choice(
            len(points), max(_MOST_CLUSTERED, clusters), replace=False
        )
        points = points[drawn]
    model = KMeans(clusters, n_init=1, random_state=random_state(seed))
    with warnings.catch_warnings():
        # It may see fewer different points than clusters: then some clusters stay empty.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(points)
    return np.asarray(model.predict(space.points), np.int64)


TYPICLUST = ByDistance(typiclust, "embedding", in_rank_order=True)
