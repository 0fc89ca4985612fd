"""How well the selected images cover all of them; scores that need no labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compressor.selection.label_plan import LabelPlan
from compressor.selection.metric_space import Space, blocks
from runtime.arrays import Floats

_DRAWS = 10
_MEASURED_ON = 20_000
"""Images on which the radius is measured, at most."""


@dataclass(frozen=True)
class Coverage:
    """Distances are cosine distances (1 - cos, 0 to 2) of embeddings."""

    radius: float
    """Within it, half of the images have one of as many centres drawn at random."""
    within_radius: float
    """Share of images with a chosen or settled one within the radius; 0.5 for random ones."""
    mean_distance: float
    """From an image to the nearest chosen or settled one."""
    largest_distance: float
    """The same of the image that is farthest off."""
    redundancy: float
    """Share of chosen images with another chosen or settled one within the radius."""


def coverage(plan: LabelPlan, embeddings: Floats) -> Coverage:
    """Return how well chosen and settled images cover all N images: embeddings [N, D]."""
    space = Space.cosine(embeddings)
    centres = np.concatenate([plan.settled, plan.chosen])
    radius = _radius(space, len(centres))
    apart = space.between(plan.chosen, centres)
    apart[np.arange(len(plan.chosen)), len(plan.settled) + np.arange(len(plan.chosen))] = np.inf
    return Coverage(
        radius=radius,
        within_radius=float((plan.distance <= radius).mean()),
        mean_distance=float(plan.distance.mean(dtype=np.float64)),
        largest_distance=float(plan.distance.max()),
        redundancy=float((apart.min(axis=1) <= radius).mean()),
    )


def _radius(space: Space, centres: int) -> float:
    """The median distance to the nearest of some centres drawn at random, over some draws.

    It depends on the images and the number of centres only, so strategies can be compared by it.
    """
    rng = np.random.default_rng(0)
    measured = np.arange(len(space))
    if len(space) > _MEASURED_ON:
        measured = rng.choice(measured, _MEASURED_ON, replace=False)
    found = []
    for _ in range(_DRAWS):
        drawn = rng.choice(len(space), centres, replace=False)
        nearest = [
            space.between(measured[block], drawn).min(axis=1)
            for block in blocks(len(measured), centres)
        ]
        found.append(np.median(np.concatenate(nearest)))
    return float(np.mean(found))
