"""TypiClust: the most typical image of each cluster (Hacohen, Dekel and Weinshall 2022)."""

from __future__ import annotations

import numpy as np

from compressor.selection.metric_space import Space
from runtime.arrays import Floats, Ints

_NEIGHBOURS = 20
"""As in the paper."""
_LOOKED_AT = 20_000
"""Members of a cluster that are looked at; of a larger one so many are drawn."""
_CLUSTERED = 100_000
"""Points that the clusters are made from; the rest go to the nearest cluster."""


def typiclust(space: Space, budget: int, fixed: Ints, seed: int) -> Ints:
    """From the biggest clusters without a centre, the point in the thick of its neighbours.

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
    """One over the mean distance to the nearest 20 others, for each point: [N]."""
    count = min(_NEIGHBOURS, len(space) - 1)
    if count < 1:
        return np.ones(len(space), np.float32)
    found = np.empty(len(space), np.float32)
    for block, distances in space.to_others():
        found[block] = np.partition(distances, count - 1, axis=1)[:, :count].mean(axis=1)
    return np.reciprocal(np.maximum(found, np.finfo(np.float32).tiny))


def _most_typical(space: Space, members: Ints, most: int, rng: np.random.Generator) -> list[int]:
    """Members, the most typical first; `most` of them at least, where there are so many."""
    if len(members) > max(_LOOKED_AT, most):
        members = np.sort(rng.choice(members, max(_LOOKED_AT, most), replace=False))
    order = np.argsort(-typicality(space.part(members)), kind="stable")
    found: list[int] = members[order].tolist()
    return found


def _clusters(space: Space, clusters: int, seed: int) -> Ints:
    """The k-means cluster of each point: [N]. k-means of unit vectors is that of cosines."""
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    points = space.points
    if len(points) > max(_CLUSTERED, clusters):
        drawn = np.random.default_rng(seed).choice(
            len(points), max(_CLUSTERED, clusters), replace=False
        )
        points = points[drawn]
    model = KMeans(clusters, n_init=1, random_state=seed)
    with warnings.catch_warnings():
        # Fewer different points than clusters, to its eye: then some stay empty.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(points)
    return np.asarray(model.predict(space.points), np.int64)
