"""The t-SNE map: all images on a plane, neighbours of the embedding space beside each other."""

from __future__ import annotations

import numpy as np

from compressor.selection.metric_space import Space, blocks, distances, distinct, random_state
from runtime.arrays import Floats, Ints
from runtime.backends.cores import cores
from runtime.errors import MissingDependencyError

FEWEST_IMAGES = 12
"""Fewer images than this have no map: so few neighbours mean nothing."""
PERPLEXITY = 40
"""As in the paper; of few images a third of their number."""
MOST_MAPPED = 20_000
"""Images in t-SNE, at most; of more images, the others are placed among these."""
_PLACED_BY = 10
"""An image is placed at the median of this many nearest mapped images."""
_SHARED = 2_000
"""From this many images on, several cores are used; with fewer they wait for each other."""


def tsne_map(embeddings: Floats, seed: int) -> Floats | None:
    """Return a map of embeddings [N, D]: float32 [N, 2]; None for fewer than FEWEST_IMAGES.

    t-SNE of cosine distances to exact neighbours, from a random start drawn by the seed
    (with a start from PCA, as in scikit-learn, every seed gives nearly the same map).

    Raises:
        MissingDependencyError: openTSNE is not installed.
        ValueError: an embedding is zero or not finite.
    """
    return map_of(Space.cosine(embeddings), seed)


def map_of(space: Space, seed: int) -> Floats | None:
    """`tsne_map` of a space of cosine distances. Equal points lie on one spot."""
    rows, which = distinct(space.points)
    if len(rows) < FEWEST_IMAGES:
        return None
    rng = np.random.default_rng(seed)
    drawn = rows
    if len(rows) > MOST_MAPPED:
        drawn = np.sort(rng.choice(rows, MOST_MAPPED, replace=False))
    mapped = space.part(drawn)
    found = np.empty((len(space), 2), np.float32)
    found[drawn] = _tsne(mapped, rng, seed)
    others = np.setdiff1d(rows, drawn)
    for block in blocks(len(others), len(drawn)):
        apart = distances(space.points[others[block]], mapped.points, space.metric)
        nearest = np.argpartition(apart, _PLACED_BY, axis=1)[:, :_PLACED_BY]
        found[others[block]] = np.median(found[drawn[nearest]], axis=1)
    return found[rows][which]


def _tsne(space: Space, rng: np.random.Generator, seed: int) -> Floats:
    try:
        import openTSNE
        from openTSNE.affinity import PerplexityBasedNN
        from openTSNE.nearest_neighbors import PrecomputedNeighbors
    except ImportError as error:
        raise MissingDependencyError(
            "openTSNE is not installed here.\n  pip install 'edge-compressor[train]'"
        ) from error
    perplexity = min(PERPLEXITY, (len(space) - 1) / 3)
    jobs = cores() if len(space) >= _SHARED else 1
    neighbours = PrecomputedNeighbors(*_neighbours(space, min(len(space) - 1, int(3 * perplexity))))
    affinities = PerplexityBasedNN(knn_index=neighbours, perplexity=perplexity, n_jobs=jobs)
    model = openTSNE.TSNE(n_jobs=jobs, random_state=random_state(seed))
    start = rng.normal(0, 1e-4, (len(space), 2))
    return np.asarray(model.fit(affinities=affinities, initialization=start), np.float32)


def _neighbours(space: Space, count: int) -> tuple[Ints, Floats]:
    """The nearest others of each point and their distances, the nearest first: [N, count] each."""
    rows = np.empty((len(space), count), np.int64)
    apart = np.empty((len(space), count), np.float32)
    for block, found in space.to_others():
        nearest = np.argpartition(found, count - 1, axis=1)[:, :count]
        near = np.take_along_axis(found, nearest, axis=1)
        order = near.argsort(axis=1)
        rows[block] = np.take_along_axis(nearest, order, axis=1)
        apart[block] = np.take_along_axis(near, order, axis=1)
    return rows, apart
