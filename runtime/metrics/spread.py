"""How far embeddings are from having collapsed: how different they are, and in how many ways."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtime.metrics.directions import Floats, unit_rows


@dataclass(frozen=True)
class Spread:
    """The spread of N embeddings, N > 1, as directions."""

    distance: float
    """One minus the mean cosine of two of them; 0 if all are the same, 1 if none has to do with
    another."""
    rank: float
    """In how many dimensions they differ: the participation ratio of the variances along the main
    axes, (sum v)^2 / sum v^2. 1 if all lie on a line, and if all are the same."""


def spread(embeddings: Floats) -> Spread:
    """Return the spread of embeddings [N, D], N > 1, none of them zero."""
    unit = unit_rows(embeddings)
    count = len(unit)
    centred = unit - unit.mean(axis=0)
    total = float(np.einsum("nd,nd->", centred, centred))
    gram = centred.T @ centred if count > centred.shape[1] else centred @ centred.T
    squares = float(np.einsum("ij,ij->", gram, gram))
    # Of rows that are all the same, rounding is left, and that has no rank.
    rank = total**2 / squares if total > count * _ROUNDING else 1.0
    return Spread(distance=total / (count - 1), rank=rank)


_ROUNDING = 1e-12
"""Of the squared length of a float32 row that was made unit length."""
