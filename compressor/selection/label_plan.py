"""The result of a strategy: a ranking, what every image stands for, and the map."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.arrays import Floats, Ints


@dataclass(frozen=True)
class LabelPlan:
    """The images to label next, best first, among N that can be chosen."""

    strategy: str
    """As the recipe names it."""
    seed: int
    chosen: Ints
    """[K] rows to label, in rank order: whoever stops early has labelled the best start."""
    settled: Ints
    """[M] rows labelled, or proposed for labelling, before: the choice continues from them."""
    centre: Ints
    """[N] for each image the chosen or settled row that stands for it."""
    distance: Floats
    """[N] cosine distance (1 - cos, 0 to 2) to it, in the embedding space."""
    map: Floats | None
    """[N, 2] t-SNE map, or None where there are too few images for one."""
