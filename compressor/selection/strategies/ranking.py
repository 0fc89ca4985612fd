"""The order in which chosen images are labelled: whoever stops early has labelled the best ones."""

from __future__ import annotations

import numpy as np

from compressor.selection.metric_space import Space
from runtime.arrays import Ints

_RANKED_ON = 20_000
"""Most points that a ranking is made on: it is an order, not a choice."""


def ranked(space: Space, chosen: Ints, fixed: Ints, seed: int) -> Ints:
    """Order the chosen images so that every first part of them is a good choice.

    Next is always the one that lowers the sum of all distances to the nearest centre most, given
    the fixed centres and those before it.
    """
    points = np.arange(len(space))
    if len(space) > _RANKED_ON:
        points = np.random.default_rng(seed).choice(points, _RANKED_ON, replace=False)
    distances = space.between(points, chosen)
    nearest = np.full(len(points), np.inf, np.float32)
    if len(fixed):
        nearest = space.nearest(fixed)[1][points]
    left, order = list(range(len(chosen))), list[int]()
    while left:
        sums = np.minimum(distances[:, left], nearest[:, None]).sum(axis=0, dtype=np.float64)
        order.append(left.pop(int(sums.argmin())))
        np.minimum(nearest, distances[:, order[-1]], out=nearest)
    return chosen[order]
