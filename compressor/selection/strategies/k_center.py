"""k-centre strategies: few centres, so that no image is far from one.

`fixed` rows are centres already and stay where they are: what was labelled before. Every function
returns `budget` new centres, all different, none of them fixed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compressor.selection.metric_space import Space
from compressor.selection.strategies.strategy import ByDistance
from runtime.arrays import Floats, Ints

_ROUNDS = 100


def farthest_first(space: Space, budget: int, fixed: Ints, seed: int) -> Ints:
    """Greedy k-centre: always the point farthest from all centres so far (Gonzalez 1985).

    Its radius is at most twice the best one. Without fixed centres the first is drawn by the seed,
    as in the authors' code: the seed's place in RandomState(0).permutation(N).
    """
    _, nearest = space.nearest(fixed)
    chosen: list[int] = []
    if not len(fixed) and budget:
        order = np.random.RandomState(0).permutation(len(space))
        chosen.append(int(order[seed % len(space)]))
        nearest = space.to(chosen[0])
    nearest[[*fixed, *chosen]] = -1
    while len(chosen) < budget:
        chosen.append(int(nearest.argmax()))
        np.minimum(nearest, space.to(chosen[-1]), out=nearest)
        nearest[chosen[-1]] = -1
    return np.array(chosen, np.int64)


def mini_max(space: Space, budget: int, fixed: Ints, seed: int) -> Ints:
    """k-centre by local search: the largest distance to a centre becomes small.

    Farthest-first; each centre moves to the 1-centre of its cluster until the radius stays; centres
    whose points are all within the radius of another one are dropped and filled up again; once more
    the 1-centres. The better of the two ends is kept, so the radius is never above greedy's.
    The distance is the space's own throughout: the authors' cosine variant falls back to Euclidean
    distances in two places, a mistake that is not repeated here.
    """
    first, radius = _recentred(space, farthest_first(space, budget, fixed, seed), fixed)
    kept = first[~_redundant(space, first, fixed, radius)]
    refill = farthest_first(space, budget - len(kept), np.concatenate([fixed, kept]), seed)
    second, radius_again = _recentred(space, np.concatenate([kept, refill]), fixed)
    return second if radius_again <= radius else first


def maxi_min(space: Space, budget: int, fixed: Ints, seed: int) -> Ints:
    """Centres far from each other: the smallest distance between two centres becomes large.

    Farthest-first; then each centre moves in turn to the member of its cluster that is farthest
    from its nearest other centre, until the smallest distance between two centres stays.
    """
    chosen = farthest_first(space, budget, fixed, seed)
    apart = separation(space, np.concatenate([fixed, chosen]))
    for _ in range(_ROUNDS):
        which, _ = space.nearest(np.concatenate([fixed, chosen]))
        for position in range(budget):
            members = np.flatnonzero(which == len(fixed) + position)
            others = np.concatenate([fixed, np.delete(chosen, position)])
            if len(others):
                from_nearest = space.between(members, others).min(axis=1)
                chosen[position] = members[from_nearest.argmax()]
        before, apart = apart, separation(space, np.concatenate([fixed, chosen]))
        if apart <= before:
            break
    return chosen


def separation(space: Space, centres: Ints) -> float:
    """The smallest distance between two centres; infinite for one."""
    found = space.between(centres, centres)
    np.fill_diagonal(found, np.inf)
    return float(found.min(initial=np.inf))


def _recentred(space: Space, chosen: Ints, fixed: Ints) -> tuple[Ints, float]:
    """Move each centre to the 1-centre of its cluster until the radius stays the same."""
    which, distance = space.nearest(np.concatenate([fixed, chosen]))
    radius = float(distance.max())
    for _ in range(_ROUNDS):
        moved = chosen.copy()
        for position in range(len(chosen)):
            members = np.flatnonzero(which == len(fixed) + position)
            moved[position] = members[one_centre(space.part(members))]
        which, distance = space.nearest(np.concatenate([fixed, moved]))
        before, radius, chosen = radius, float(distance.max()), moved
        if radius >= before:
            break
    return chosen, radius


def one_centre(space: Space) -> int:
    """The point whose farthest point is nearest.

    Exact, without all distances: the distance to any point seen as somebody's farthest is a lower
    bound of a point's own farthest distance. Points are tried from the lowest bound on, until the
    lowest bound is reached.
    """
    bound: Floats = np.zeros(len(space), np.float32)
    best, farthest = 0, np.inf
    while bound[tried := int(bound.argmin())] < farthest:
        distances = space.to(tried)
        own = float(distances.max())
        if own < farthest:
            best, farthest = tried, own
        np.maximum(bound, space.to(int(distances.argmax())), out=bound)
        bound[tried] = np.inf  # its own distance is known
    return best


def _redundant(space: Space, chosen: Ints, fixed: Ints, radius: float) -> npt.NDArray[np.bool_]:
    """Centres whose points are all within the radius of another centre: bool [K]."""
    centres = np.concatenate([fixed, chosen])
    which, _ = space.nearest(centres)
    found = np.zeros(len(chosen), bool)
    for position in range(len(chosen)):
        members = np.flatnonzero(which == len(fixed) + position)
        others = np.delete(centres, len(fixed) + position)
        within = space.between(members, others) <= radius
        found[position] = within.all(axis=0).any()
    return found


K_CENTER = ByDistance(farthest_first, "embedding", in_rank_order=True)
MINI_MAX = ByDistance(mini_max, "embedding")
MAXI_MIN = ByDistance(maxi_min, "embedding")
