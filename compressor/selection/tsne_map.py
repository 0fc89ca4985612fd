"""The t-SNE map: all images on a plane, neighbours of the embedding space beside each other."""

from __future__ import annotations

import os

import numpy as np

from compressor.selection.plan import Floats
from compressor.selection.space import Space
from runtime.errors import MissingDependencyError

FEWEST_IMAGES = 12
"""Fewer different images than this have no map: their few neighbours say nothing."""
PERPLEXITY = 40
"""As in the paper; of few images a third."""


def tsne_map(embeddings: Floats, seed: int) -> Floats | None:
    """A map of the embeddings [N, D]: float32 [N, 2], or None of fewer than FEWEST_IMAGES.

    t-SNE with the cosine metric and a first position drawn by the seed (METHOD.md 3.1, 4.2: from
    PCA, as scikit-learn does, every seed gives nearly the same map).

    Raises:
        MissingDependencyError: openTSNE is not installed.
    """
    if len(embeddings) < FEWEST_IMAGES:
        return None
    try:
        import openTSNE
    except ImportError as error:
        raise MissingDependencyError(
            "openTSNE is not installed here.\n  pip install 'edge-compressor[train]'"
        ) from error
    model = openTSNE.TSNE(
        perplexity=min(PERPLEXITY, (len(embeddings) - 1) / 3),
        metric="cosine",
        initialization="random",
        n_jobs=len(os.sched_getaffinity(0)),
        random_state=seed,
    )
    return np.asarray(model.fit(Space.cosine(embeddings).points), np.float32)
