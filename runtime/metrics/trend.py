"""The slope of a series of numbers, with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtime.arrays import Doubles

FEWEST = 5
"""Fewer numbers than this can rise all along by chance: four do so in one of 24 orders."""
_MOST = 30  # parts that a longer series is averaged into: neighbours are alike, and no evidence
_Z = 1.959964


@dataclass(frozen=True)
class Slope:
    """Change of a series from one of its numbers to the next, with its 95 % interval."""

    value: float
    low: float
    high: float


def slope(series: Doubles) -> Slope | None:
    """Return the Theil-Sen slope of a series [N], or None where N is under FEWEST.

    It is the median of the slopes between all pairs, which a single odd number hardly moves. The
    interval comes from Kendall's rank correlation (Sen 1968, doi 10.2307/2285891): it lies above
    zero only if nearly all pairs rise. A series of more than 30 is averaged into 30 parts first.
    """
    if len(series) < FEWEST:
        return None
    parts = np.array_split(np.arange(len(series)), min(_MOST, len(series)))
    at = np.array([part.mean() for part in parts])
    values = np.array([series[part].mean() for part in parts])
    first, second = np.triu_indices(len(at), k=1)
    slopes = np.sort((values[second] - values[first]) / (at[second] - at[first]))
    n = len(at)
    spread = _Z * np.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    below = round((len(slopes) - spread) / 2)
    return Slope(float(np.median(slopes)), float(slopes[below - 1]), float(slopes[-below]))
