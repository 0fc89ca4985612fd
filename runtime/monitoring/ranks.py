"""Where a value ranks among all before it: uniform, whatever the values are, while nothing changes.

These are the p-values of conformal test martingales (Vovk, Nouretdinov, Gammerman: "Testing
exchangeability on-line", ICML 2003). If the values of reference and stream are exchangeable, which
independent values of one distribution are, the ranks are independent and uniform in (0, 1).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import Protocol

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]
MOST = 50_000
"""Values of a score that are kept; later ones are ranked among these."""
_LEAST = float(np.finfo(float).tiny)


class Ranks(Protocol):
    """Ranks the scores of one image after the other."""

    def of(self, scores: Scores) -> Scores:
        """[D] -> the share of values below each score, in (0, 1); equal ones share by chance.

        The scores take part in ranking the next ones.
        """
        ...


class OrderedRanks:
    """Ranks real numbers."""

    def __init__(self, reference: Scores, rng: np.random.Generator) -> None:
        """Take the scores to begin with, [N, D], and what decides among equal ones."""
        self._columns = [sorted(map(float, column)) for column in reference.T]
        self._rng = rng

    def of(self, scores: Scores) -> Scores:
        """[D] -> ranks [D]; see `Ranks`."""
        chances = self._rng.uniform(_LEAST, 1, len(scores))
        pairs = zip(self._columns, map(float, scores), chances, strict=True)
        return np.array([_rank(column, value, chance) for column, value, chance in pairs])


def _rank(column: list[float], value: float, chance: float) -> float:
    below = bisect_left(column, value)
    equal = bisect_right(column, value) - below + 1  # with itself
    total = len(column) + 1
    if len(column) < MOST:
        insort(column, value)
    return (below + chance * equal) / total


class ClassRanks:
    """Ranks, for each of K classes, whether an image is of it: 0 or 1."""

    def __init__(self, labels: npt.NDArray[np.int64], classes: int, rng: np.random.Generator):
        """Take the classes of the reference, [N], and what decides among equal ones."""
        self._ones = np.bincount(labels, minlength=classes).astype(np.float64)
        self._total = len(labels)
        self._rng = rng

    def of(self, scores: Scores) -> Scores:
        """[K] of 0 and 1 -> ranks [K]; see `Ranks`."""
        self._ones += scores
        self._total += 1
        zeros = self._total - self._ones
        chances = self._rng.uniform(_LEAST, 1, len(scores))
        ranks: Scores = np.where(scores > 0, zeros + chances * self._ones, chances * zeros)
        return ranks / self._total
