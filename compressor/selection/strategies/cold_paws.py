"""Cold PAWS: t-SNE with the cosine metric, then k-medoids on the map."""

from __future__ import annotations

from compressor.selection.strategies.k_medoids import k_medoids
from compressor.selection.strategies.strategy import ByDistance

COLD_PAWS = ByDistance(k_medoids, "map")
"""The paper's."""
COLD_PAWS_COSINE = ByDistance(k_medoids, "map", medoids_of_embeddings=True)
"""Ours: the same clusters, each represented by its medoid of cosine distances."""
