"""k-medoids: few images, so that every image has one of them near.

Small sets are searched with FasterPAM (Schubert and Rousseeuw 2021, `kmedoids`) on all distances.
Large ones start from FasterPAM on samples; the best start is improved on the whole set, cluster by
cluster, in memory that grows with N only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compressor.selection.metric_space import Space
from compressor.selection.strategies.medoid import central
from compressor.selection.strategies.strategy import ByDistance
from runtime.arrays import Floats, Ints
from runtime.errors import MissingDependencyError

ALL_DISTANCES = 4000
"""Up to this many points, all distances are held in memory: 64 MB."""
_STARTS = 5
_DRAWS = 3
_ROUNDS = 100


def k_medoids(space: Space, budget: int, fixed: Ints, seed: int) -> Ints:
    """Return `budget` new medoids, none fixed, with a small sum of distances to the nearest one.

    `fixed` rows are medoids already and stay. No exchange of a medoid of a small set lowers the sum
    (but for rounding); the best of several starts is kept, where the paper's 'alternate' has one
    start and stops earlier.
    """
    free = np.setdiff1d(np.arange(len(space)), fixed)
    _, reach = space.nearest(fixed)
    if len(free) <= ALL_DISTANCES:
        rngs = [np.random.default_rng((seed, start)) for start in range(_STARTS)]
        return free[_swapped(space.part(free), reach[free], budget, rngs)]
    rng = np.random.default_rng(seed)
    if budget > ALL_DISTANCES // 2:  # too many for a sample to find
        return alternated(space, rng.choice(free, budget, replace=False), fixed)
    starts: list[tuple[float, Ints]] = []
    for _ in range(_DRAWS):
        sample = rng.choice(free, ALL_DISTANCES, replace=False)
        found = sample[_swapped(space.part(sample), reach[sample], budget, [rng])]
        _, distance = space.nearest(np.concatenate([fixed, found]))
        starts.append((float(distance.sum(dtype=np.float64)), found))
    return alternated(space, min(starts, key=lambda each: each[0])[1], fixed)


def alternated(space: Space, start: Ints, fixed: Ints) -> Ints:
    """Assign every point to its nearest medoid, move each to its cluster's; until none moves.

    The sum of distances never grows, and in the end each medoid minimises its cluster's sum.
    Memory is O(N).
    """
    medoids = start
    for _ in range(_ROUNDS):
        moved = central(space, medoids, fixed, space)
        if np.array_equal(moved, medoids):
            break
        medoids = moved
    return medoids


def _swapped(space: Space, reach: Floats, budget: int, rngs: Sequence[np.random.Generator]) -> Ints:
    """Positions of the best of some FasterPAM searches, one a generator, on all distances.

    A point is never farther from its medoid than `reach`, its distance to the nearest fixed one:
    distances are cut off there, so that fixed medoids need no place in the search.
    """
    try:
        import kmedoids
    except ImportError as error:
        raise MissingDependencyError(
            "kmedoids is not installed here.\n  pip install 'edge-compressor[train]'"
        ) from error
    if budget == len(space):
        return np.arange(budget)
    distances = space.between(slice(None), slice(None))
    np.minimum(distances, reach[:, None], out=distances)
    np.fill_diagonal(distances, 0)
    if budget == 1:  # FasterPAM's shortcut for one medoid expects symmetric distances
        return np.array([distances.sum(axis=0, dtype=np.float64).argmin()])
    found = []
    for rng in rngs:
        start = rng.choice(len(space), budget, replace=False)
        found.append(kmedoids.fasterpam(distances, start, init="given", n_cpu=1))
    best = min(found, key=lambda each: float(each.loss))
    return np.asarray(best.medoids, np.int64)


K_MEDOIDS = ByDistance(k_medoids, "embedding")
