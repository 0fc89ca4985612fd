"""Medoids: the point of a cluster with the smallest sum of distances to its other points."""

from __future__ import annotations

import numpy as np

from compressor.selection.metric_space import Space
from runtime.arrays import Ints

_ROUNDING = 1e-9
_TINY = 1e-300


def central(space: Space, centres: Ints, fixed: Ints, by: Space) -> Ints:
    """Return the medoid of each centre's cluster: clusters of one space, medoids of another.

    A point belongs to the nearest centre, fixed or not; fixed ones stay.
    """
    which, _ = space.nearest(np.concatenate([fixed, centres]))
    by_cluster = np.argsort(which, kind="stable")
    ends = np.searchsorted(which[by_cluster], len(fixed) + np.arange(len(centres) + 1))
    found = centres.copy()
    for position in range(len(centres)):
        members = by_cluster[ends[position] : ends[position + 1]]
        found[position] = members[medoid(by.part(members))]
    return found


def medoid(space: Space) -> int:
    """Return the point with the smallest sum of distances to all, without all distances."""
    if space.metric == "cosine":  # the sum of 1 - a.b over b is N - a.(sum of b)
        return int((space.points @ space.points.sum(axis=0, dtype=np.float64)).argmax())
    return _euclidean_medoid(space)


def _euclidean_medoid(space: Space) -> int:
    """By cutting planes (Kelley 1960): the sum of distances is convex in the place measured from.

    Its value and slope at a point give a plane that lies below it everywhere. The next point
    looked at is the one whose highest plane is lowest, until that is no lower than the best sum.
    """
    points = space.points.astype(np.float64)
    bound = np.full(len(points), -np.inf)
    best, lowest = 0, np.inf
    row = int(((points - np.median(points, axis=0)) ** 2).sum(axis=1).argmin())
    while bound[row] < lowest * (1 - _ROUNDING):
        apart = points[row] - points
        length = np.sqrt((apart**2).sum(axis=1))
        total = float(length.sum())
        if total < lowest:
            best, lowest = row, total
        slope = (apart / np.maximum(length, _TINY)[:, None]).sum(axis=0)
        np.maximum(bound, total - apart @ slope, out=bound)
        bound[row] = np.inf
        row = int(bound.argmin())
    return best
