"""Percentiles of measured times, with intervals from the order statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from runtime.arrays import Doubles

Interval = tuple[float, float]
_MISS = 0.05
"""Chance that an interval does not hold the percentile: 95 % intervals."""


class Percentile(Struct, frozen=True):
    """A percentile of some times in milliseconds."""

    ms: float
    ci: Interval | None
    """95 % interval; None where there are too few times for one, see `fewest`."""


def percentile(times_ms: Sequence[float] | Doubles, quantile: float) -> Percentile:
    """Return a percentile of times, and the two of them that hold the true one with 95 %.

    Args:
        times_ms: at least one, in any order.
        quantile: such as 0.95.
    """
    ordered = np.sort(times_ms)
    ranks = ranks_of(len(ordered), quantile)
    ci = None if ranks is None else (float(ordered[ranks[0] - 1]), float(ordered[ranks[1] - 1]))
    return Percentile(float(np.quantile(ordered, quantile)), ci)


def fewest(quantile: float) -> int:
    """Return how many times are needed before one of them is above the percentile with 95 %.

    0.95 ** 59 is 0.0485: 59 for the 95th percentile, 299 for the 99th.
    """
    return math.ceil(math.log(_MISS) / math.log(quantile))


def ranks_of(count: int, quantile: float) -> tuple[int, int] | None:
    """Return the ranks, from 1, of the order statistics that hold a percentile with 95 %.

    How many of `count` independent times lie below the percentile is binomial (David and Nagaraja,
    Order Statistics, 2003, section 7.1). Each end misses with 2.5 % at most. Where even the longest
    time is below the percentile more often than that, but in no more than 5 % of all cases, the
    longest time is the upper end and what is left of the 5 % is the lower end's.

    Returns:
        The ranks; None where no two of so few times hold it that often.
    """
    chance = [_binomial(count, below, quantile) for below in range(count + 1)]
    high = next((u for u in range(1, count + 1) if sum(chance[u:]) <= _MISS / 2), count)
    left = min(_MISS / 2, _MISS - sum(chance[high:]))
    low = next((rank for rank in range(high, 0, -1) if sum(chance[:rank]) <= left), None)
    return None if low is None else (low, high)


def _binomial(count: int, hits: int, chance: float) -> float:
    ways = math.lgamma(count + 1) - math.lgamma(hits + 1) - math.lgamma(count - hits + 1)
    return math.exp(ways + hits * math.log(chance) + (count - hits) * math.log1p(-chance))
