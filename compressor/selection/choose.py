"""Choose the images to label first, with any strategy."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from compressor.recipe.choices import STRATEGIES
from compressor.selection.label_plan import LabelPlan
from compressor.selection.metric_space import Space, distinct
from compressor.selection.strategies.strategy import Problem, Strategy, Where
from compressor.selection.tsne_map import map_of
from runtime.arrays import Floats, Ints
from runtime.errors import InputError


def _none() -> Ints:
    return np.empty(0, np.int64)


@dataclass(frozen=True)
class Request:
    """How many of N images to choose, and how."""

    strategy: str = "cold-paws-cosine"
    """A name of STRATEGIES."""
    budget: int = 50
    """Images to choose, besides the settled ones."""
    seed: int = 0
    settled: Ints = field(default_factory=_none)
    """[M] rows that have labels already."""
    labels: Ints | None = None
    """[N] class of each image, for a strategy that needs labels."""
    where: Where | None = None
    """Where distances are taken, for the strategies that take any; None: the strategy's own."""


def choose(embeddings: Floats, request: Request, *, on_map: Floats | None = None) -> LabelPlan:
    """Choose the images to label next, best first.

    Of equal embeddings only one is chosen, and none that equals a settled one. With too few images
    for a map (`tsne_map.FEWEST_IMAGES`) distances are those of the embeddings.

    Args:
        embeddings: [N, D] of the images that can be chosen or are settled.
        request: how many, how, and which rows are settled.
        on_map: [N, 2] a map that `tsne_map` made of the same embeddings; None: make one.

    Raises:
        InputError: the budget is below 1 or above the number of different images that are left, or
            the strategy needs labels and there are none.
        ValueError: no such strategy; an embedding is zero or not finite.
        MissingDependencyError: openTSNE or kmedoids is not installed.
    """
    if request.strategy not in STRATEGIES:
        raise ValueError(f"{request.strategy!r}: not one of {', '.join(STRATEGIES)}")
    strategy: Strategy = STRATEGIES[request.strategy].load()
    space = Space.cosine(embeddings)
    rows, which = distinct(space.points)
    fixed = np.unique(which[request.settled])
    _require_enough(request.budget, len(rows) - len(fixed))
    if on_map is None:
        on_map = map_of(space, request.seed)
    problem = Problem(
        space=space.part(rows),
        on_map=None if on_map is None else on_map[rows],
        budget=request.budget,
        fixed=fixed,
        seed=request.seed,
        labels=None if request.labels is None else request.labels[rows],
        where=request.where,
    )
    return _plan(space, request, rows[strategy.choose(problem)], on_map)


def _plan(space: Space, request: Request, chosen: Ints, on_map: Floats | None) -> LabelPlan:
    centres = np.concatenate([request.settled, chosen])
    nearest, distance = space.nearest(centres)
    return LabelPlan(
        strategy=request.strategy,
        seed=request.seed,
        chosen=chosen,
        settled=request.settled,
        centre=centres[nearest],
        distance=distance,
        map=on_map,
    )


def _require_enough(budget: int, left: int) -> None:
    if budget < 1:
        raise InputError(f"a budget of {budget}: select at least one image.")
    if budget > left:
        hint = f"Ask for {left} or fewer." if left else "Nothing is left to choose."
        raise InputError(
            f"a budget of {budget}, but {left} different images have no label yet.\n  {hint}"
        )
