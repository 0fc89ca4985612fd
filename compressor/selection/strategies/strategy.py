"""What a strategy is, and the kind that most are: a choice by distances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from compressor.selection.metric_space import Space
from compressor.selection.strategies.medoid import central
from compressor.selection.strategies.ranking import ranked
from runtime.arrays import Floats, Ints

Where = Literal["embedding", "map"]
"""Where distances are taken: cosine distances of embeddings, or distances on the t-SNE map."""


@dataclass(frozen=True)
class Problem:
    """Choose `budget` of N different images."""

    space: Space
    """Their embeddings, with cosine distances."""
    on_map: Floats | None
    """[N, 2] their t-SNE map; None where there are too few images for one."""
    budget: int
    fixed: Ints
    """[M] rows that have labels already; no strategy chooses them again."""
    seed: int
    labels: Ints | None = None
    """[N] class of each image, for a strategy that needs labels."""
    where: Where | None = None
    """Where distances are taken; None: the strategy's own choice."""


class Strategy(Protocol):
    """Chooses the images to label."""

    def choose(self, problem: Problem) -> Ints:
        """Return `budget` rows, none of them fixed, the best first."""
        ...


@dataclass(frozen=True)
class ByDistance:
    """A strategy that uses distances only."""

    find: Callable[[Space, int, Ints, int], Ints]
    """(space, budget, fixed rows, seed) -> `budget` other rows."""
    where: Where
    in_rank_order: bool = False
    """Whether `find` returns the best rows first."""
    medoids_of_embeddings: bool = False
    """Whether each cluster is then represented by its medoid in the embedding space."""

    def choose(self, problem: Problem) -> Ints:
        """Find the rows, and rank them."""
        space, fixed, seed = problem.space, problem.fixed, problem.seed
        if problem.on_map is not None and (problem.where or self.where) == "map":
            space = Space.euclidean(problem.on_map)
        chosen = self.find(space, problem.budget, fixed, seed)
        if self.medoids_of_embeddings:
            chosen, space = central(space, chosen, fixed, problem.space), problem.space
        return chosen if self.in_rank_order else ranked(space, chosen, fixed, seed)
