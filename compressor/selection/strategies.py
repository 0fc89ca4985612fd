"""Which images to label first: every strategy behind one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from compressor.selection import k_center, k_medoids, typiclust
from compressor.selection.label_plan import LabelPlan
from compressor.selection.metric_space import Space, distinct
from compressor.selection.tsne_map import map_of
from runtime.arrays import Floats, Ints
from runtime.errors import InputError

Where = Literal["embedding", "map"]


@dataclass(frozen=True)
class Method:
    """How a strategy that reads no label goes about it."""

    find: Callable[[Space, int, Ints, int], Ints]
    """(space, budget, fixed rows, seed) -> `budget` other rows."""
    where: Where
    """Where it takes distances, unless told otherwise."""
    ranks: bool = False
    """Whether it finds them in rank order."""
    central: bool = False
    """Whether each cluster is then represented by its medoid in the embedding space."""


METHODS = {
    "cold-paws": Method(k_medoids.k_medoids, "map"),
    "cold-paws-cosine": Method(k_medoids.k_medoids, "map", central=True),
    "k-medoids": Method(k_medoids.k_medoids, "embedding"),
    "k-center": Method(k_center.farthest_first, "embedding", ranks=True),
    "mini-max": Method(k_center.mini_max, "embedding"),
    "maxi-min": Method(k_center.maxi_min, "embedding"),
    "typiclust": Method(typiclust.typiclust, "embedding", ranks=True),
}
STRATEGIES = (*METHODS, "random", "stratified-random")
"""`cold-paws` is the paper's: t-SNE with the cosine metric, then k-medoids on the map.
`cold-paws-cosine` is ours: the same clusters, each represented by its medoid of cosine distances.
"""


def _none() -> Ints:
    return np.empty(0, np.int64)


@dataclass(frozen=True)
class Wanted:
    """What is asked of a choice among N images."""

    strategy: str = "cold-paws-cosine"
    """One of STRATEGIES."""
    budget: int = 50
    """Images to choose, besides the settled ones."""
    seed: int = 0
    settled: Ints = field(default_factory=_none)
    """[M] rows that have labels: the choice goes on from them."""
    labels: Ints | None = None
    """[N] class of each image; nothing but stratified-random reads it."""
    where: Where | None = None
    """Where distances are taken, for the strategies that take any; None: the strategy's own."""


def choose(embeddings: Floats, wanted: Wanted, *, on_map: Floats | None = None) -> LabelPlan:
    """Choose the images to label next, best first.

    Of equal embeddings only one is chosen, and none that equals a settled one. With too few images
    for a map (`tsne_map.FEWEST_IMAGES`) distances are those of the embeddings.

    Args:
        embeddings: [N, D] of the images that can be chosen or are settled.
        wanted: how many, how, and from where on.
        on_map: [N, 2] a map that `tsne_map` made of the same embeddings; None: make one.

    Raises:
        InputError: the budget is below 1 or above the number of different images that are left, or
            stratified-random has no labels.
        ValueError: no such strategy; an embedding is zero or not finite.
        MissingDependencyError: openTSNE or kmedoids is not installed.
    """
    if wanted.strategy not in STRATEGIES:
        raise ValueError(f"{wanted.strategy!r}: not one of {', '.join(STRATEGIES)}")
    space = Space.cosine(embeddings)
    rows, which = distinct(space.points)
    fixed = np.unique(which[wanted.settled])
    _require_enough(wanted.budget, len(rows) - len(fixed))
    if on_map is None:
        on_map = map_of(space, wanted.seed)
    if wanted.strategy == "random":
        chosen = _at_random(len(rows), fixed, wanted)
    elif wanted.strategy == "stratified-random":
        chosen = _stratified(rows, fixed, wanted)
    else:
        chosen = _found(space.part(rows), fixed, wanted, None if on_map is None else on_map[rows])
    return _plan(space, wanted, rows[chosen], on_map)


def _found(space: Space, fixed: Ints, wanted: Wanted, on_map: Floats | None) -> Ints:
    """The choice among different images: `space` and `on_map` have one row for each."""
    method = METHODS[wanted.strategy]
    place = space
    if on_map is not None and (wanted.where or method.where) == "map":
        place = Space.euclidean(on_map)
    chosen = method.find(place, wanted.budget, fixed, wanted.seed)
    if method.central:
        chosen, place = k_medoids.central(place, chosen, fixed, space), space
    return chosen if method.ranks else k_center.ranked(place, chosen, fixed, wanted.seed)


def _plan(space: Space, wanted: Wanted, chosen: Ints, on_map: Floats | None) -> LabelPlan:
    standing = np.concatenate([wanted.settled, chosen])
    nearest, distance = space.nearest(standing)
    return LabelPlan(
        strategy=wanted.strategy,
        seed=wanted.seed,
        chosen=chosen,
        settled=wanted.settled,
        centre=standing[nearest],
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


def _at_random(count: int, fixed: Ints, wanted: Wanted) -> Ints:
    order = np.random.RandomState(wanted.seed).permutation(count)
    return order[~np.isin(order, fixed)][: wanted.budget].astype(np.int64)


def _stratified(rows: Ints, fixed: Ints, wanted: Wanted) -> Ints:
    """As many of each class as can be, each drawn at random; the reference that reads labels."""
    if wanted.labels is None:
        raise InputError(
            "stratified-random needs the label of every image, to compare other strategies with.\n"
            "  Choose another `label.strategy`."
        )
    rng = np.random.RandomState(wanted.seed)
    labels = wanted.labels[rows]
    found: list[tuple[int, int, int]] = []
    classes = np.unique(labels)
    for label in classes:
        members = rng.permutation(np.flatnonzero(labels == label))
        free = members[~np.isin(members, fixed)]
        first = len(members) - len(free)
        found += [(first + place, int(label), int(row)) for place, row in enumerate(free)]
    # The budget seldom is a multiple of the classes: who comes first in a round is drawn.
    turn = dict(zip(classes.tolist(), rng.permutation(len(classes)).tolist(), strict=True))
    found.sort(key=lambda each: (each[0], turn[each[1]]))
    return np.array([row for _, _, row in found[: wanted.budget]], np.int64)
