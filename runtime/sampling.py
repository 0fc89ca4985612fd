"""Rows taken evenly from an ordered set."""

import numpy as np

from runtime.arrays import Ints


def evenly(count: int, most: int) -> Ints:
    """At most `most` of `count` rows, evenly spread over their order: [min(count, most)]."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
