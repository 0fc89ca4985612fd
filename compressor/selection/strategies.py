"""Which images to label first: every strategy behind one call."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from compressor.selection import centres, medoids, typical
from compressor.selection.plan import Floats, Ints, LabelPlan
from compressor.selection.space import Space
from compressor.selection.tsne_map import tsne_map
from runtime.errors import InputError

Strategy = Callable[[Space, int, Ints, int], Ints]
"""(space, budget, fixed rows, seed) -> `budget` other rows, in rank order or any."""

LABEL_FREE: dict[str, tuple[Strategy, Literal["embedding", "map"]]] = {
    "cold-paws": (medoids.k_medoids, "map"),
    "k-medoids": (medoids.k_medoids, "embedding"),
    "k-center": (centres.farthest_first, "embedding"),
    "mini-max": (centres.mini_max, "embedding"),
    "maxi-min": (centres.maxi_min, "embedding"),
    "typiclust": (typical.typiclust, "embedding"),
}
"""What each strategy does, and where unless told otherwise."""
STRATEGIES = (*LABEL_FREE, "random", "stratified-random")
_IN_RANK_ORDER = ("k-center", "typiclust")


def _none() -> Ints:
    return np.empty(0, np.int64)


@dataclass(frozen=True)
class Wanted:
    """What is asked of a choice among N images."""

    strategy: str = "cold-paws"
    """One of STRATEGIES."""
    budget: int = 50
    """Images to choose, besides the settled ones."""
    seed: int = 0
    settled: Ints = field(default_factory=_none)
    """[M] rows that have labels: the choice goes on from them."""
    labels: Ints | None = None
    """[N] class of each image; nothing but stratified-random reads it."""
    space: Literal["embedding", "map"] | None = None
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
        MissingDependencyError: openTSNE, kmedoids or scikit-learn is not installed.
    """
    if wanted.strategy not in STRATEGIES:
        raise ValueError(f"{wanted.strategy!r}: not one of {', '.join(STRATEGIES)}")
    space = Space.cosine(embeddings)
    on_map = tsne_map(embeddings, wanted.seed) if on_map is None else on_map
    distinct, which = _distinct(space.points)
    fixed = np.unique(which[wanted.settled])
    _require_enough(wanted.budget, len(distinct) - len(fixed))
    if wanted.strategy == "random":
        chosen = _at_random(len(distinct), fixed, wanted)
    elif wanted.strategy == "stratified-random":
        chosen = _stratified(distinct, fixed, wanted)
    else:
        strategy, own = LABEL_FREE[wanted.strategy]
        place = space.part(distinct)
        if on_map is not None and (wanted.space or own) == "map":
            place = Space.euclidean(on_map[distinct])
        chosen = strategy(place, wanted.budget, fixed, wanted.seed)
        if wanted.strategy not in _IN_RANK_ORDER:
            chosen = centres.ranked(place, chosen, fixed, wanted.seed)
    return _plan(space, wanted, distinct[chosen], on_map)


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


def _distinct(points: Floats) -> tuple[Ints, Ints]:
    """The first row of every set of equal ones, and for each row the place of its like there.

    [N, D] -> [U], [N].
    """
    keys = np.fromiter((_key(row) for row in points), np.uint64, len(points))
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)  # rows in their own order, so that no key shows in a choice
    return first[order], np.argsort(order)[which]


def _key(row: Floats) -> int:
    # 64 bits: among a million rows two different ones share a key with a chance of 3e-8
    digest = hashlib.blake2b((row + 0.0).tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _require_enough(budget: int, left: int) -> None:
    if budget < 1:
        raise InputError(f"a budget of {budget}: ask for one image at least.")
    if budget > left:
        hint = f"Ask for {left} or fewer." if left else "Nothing is left to choose."
        raise InputError(
            f"a budget of {budget}, but {left} different images have no label yet.\n  {hint}"
        )


def _at_random(count: int, fixed: Ints, wanted: Wanted) -> Ints:
    order = np.random.RandomState(wanted.seed).permutation(count)
    return order[~np.isin(order, fixed)][: wanted.budget].astype(np.int64)


def _stratified(distinct: Ints, fixed: Ints, wanted: Wanted) -> Ints:
    """As many of each class as can be, each drawn at random; the reference that reads labels."""
    if wanted.labels is None:
        raise InputError(
            "stratified-random needs the label of every image, to compare other strategies with.\n"
            "  Choose another `label.strategy`."
        )
    rng = np.random.RandomState(wanted.seed)
    labels = wanted.labels[distinct]
    found: list[tuple[int, float, int]] = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        free = members[~np.isin(members, fixed)]
        turn = rng.random_sample()  # the budget seldom is a multiple of the classes
        first = len(members) - len(free)
        found += [(first + place, turn, int(row)) for place, row in enumerate(free)]
    return np.array([row for _, _, row in sorted(found)[: wanted.budget]], np.int64)
