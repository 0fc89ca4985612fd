"""Tells when ranks stop being uniform, with a stated rate of false alarms.

A Shiryaev-Roberts e-detector (Shin, Ramdas, Rinaldo: "E-detectors: a nonparametric framework for
sequential change detection", 2023). Each bet multiplies its stake by `f(rank)`, whose mean is 1
while ranks are uniform. `S` is the sum over all past moments of what a stake of 1 that was placed
then would be worth now: `S = (S + 1) * f(rank)`. While nothing changes, `S - images` is a
martingale. So an alarm at `S >= c` comes after at least `c` images on average, whatever the
distribution of the images is. A mean over bets has the same property.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_POWERS = np.array([0.9, 0.8, 0.6, 0.3])
"""Of the bets `k * p ** (k - 1)`: the first for a few strange images among many usual ones, the
last for a stream in which all are strange."""


class Detector:
    """Bets on ranks of one or several scores at once.

    With several scores, every score has its own bets, and the evidence is their mean: a change in
    one of D scores must be larger by a factor D.
    """

    def __init__(self, scores: int, *, low: bool, high: bool) -> None:
        """Begin without evidence.

        Args:
            scores: D.
            low: whether low ranks are a change.
            high: whether high ranks are.
        """
        self.sides = (low, high)
        self.sums = np.zeros((sum(self.sides), len(_POWERS), scores))

    @property
    def evidence(self) -> float:
        """`S`: an alarm where it reaches the images wanted between two false alarms."""
        return float(self.sums.mean())

    def see(self, ranks: npt.NDArray[np.float64]) -> float:
        """Take the ranks [D] of the next image; return the evidence."""
        tails = [
            tail for tail, wanted in zip((ranks, 1 - ranks), self.sides, strict=True) if wanted
        ]
        tail = np.maximum(np.array(tails)[:, None], np.finfo(float).tiny)
        powers = _POWERS[None, :, None]
        self.sums = (self.sums + 1) * (powers * tail ** (powers - 1))
        return self.evidence

    def forget(self) -> None:
        """Begin anew, as after an alarm."""
        self.sums[:] = 0
