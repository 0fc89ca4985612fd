"""Out-of-distribution images: three scores of how well an image belongs, and their AUROC.

A score is high for an image that belongs. The default is the cosine to the nearest training
embedding (`neighbours.ood_scores`); Mahalanobis and energy are given beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtime.arrays import Doubles
from runtime.metrics.directions import Floats, Ints, normalise
from runtime.metrics.probabilities import NEVER

CHANCE = 0.5
"""AUROC of a score that tells nothing."""


def auroc(inside: Floats, outside: Floats) -> float:
    """Return the chance that an inside score is above an outside one, ties counted half."""
    ordered = np.sort(outside)
    below = np.searchsorted(ordered, inside, "left")
    up_to = np.searchsorted(ordered, inside, "right")
    return float(np.mean(below + up_to) / (2 * len(outside)))


def fpr95(inside: Floats, outside: Floats) -> float:
    """Return the share of outside scores above the 5th percentile of the inside ones."""
    return float(np.mean(outside > np.percentile(inside, 5)))


def energy_scores(logits: Floats) -> Doubles:
    """Return log sum exp of logits: [N, K] -> [N] (minus the energy of Liu et al., NeurIPS 2020).

    Classes that no label covers are left out.
    """
    kept = logits[:, logits.max(axis=0) > NEVER / 2].astype(np.float64)
    highest = kept.max(axis=1)
    scores: Doubles = highest + np.log(np.exp(kept - highest[:, None]).sum(axis=1))
    return scores


@dataclass(frozen=True)
class Gaussians:
    """Training embeddings as one Gaussian for each class, all of the same shape."""

    means: Doubles
    """[C, D]"""
    whitening: Doubles
    """[D, D]; after it the covariance is the identity."""

    def scores(self, query: Floats) -> Doubles:
        """Minus the squared Mahalanobis distance to the nearest mean: [N, D] -> [N]."""
        white, centres = normalise(query) @ self.whitening, self.means @ self.whitening
        distances = (
            np.einsum("nd,nd->n", white, white)[:, None]
            + np.einsum("cd,cd->c", centres, centres)
            - 2 * white @ centres.T
        )
        nearest: Doubles = -distances.min(axis=1)
        return nearest


def fit_gaussians(bank: Floats, labels: Ints) -> Gaussians:
    """Fit one Gaussian per class to training embeddings (Lee et al., NeurIPS 2018).

    One for each class where at least half of the images have a label, else one for all. Embeddings
    are first made unit length: Mueller and Hein (2025) found it better. The covariance is shrunk
    (Ledoit and Wolf 2004), so that fewer images than numbers in an embedding are enough.

    Args:
        bank: [B, D]
        labels: [B], -1 where not known.
    """
    return gaussians_of_unit_rows(normalise(bank), labels)


def gaussians_of_unit_rows(rows: Floats, labels: Ints) -> Gaussians:
    """`fit_gaussians` of rows that have unit length already."""
    unit = rows.astype(np.float64)
    known = labels >= 0
    if 2 * known.sum() < len(labels):
        of_class = np.zeros(len(unit), np.int64)
    else:
        unit = unit[known]
        _, of_class = np.unique(labels[known], return_inverse=True)
    sums = np.zeros((of_class.max() + 1, unit.shape[1]))
    np.add.at(sums, of_class, unit)
    means = sums / np.bincount(of_class)[:, None]
    values, axes = np.linalg.eigh(shrunk_covariance(unit - means[of_class]))
    # A bank without any spread has no shape: then distances are the plain ones.
    spread = np.where(values > 1e-12 * max(values.max(), 1e-12), values, 1.0)
    return Gaussians(means, axes / np.sqrt(spread))


def shrunk_covariance(centred: Doubles) -> Doubles:
    """Covariance of rows [N, D] of mean zero, shrunk towards a sphere the more, the smaller N is.

    Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices"
    (2004); the same as scikit-learn's `ledoit_wolf`.
    """
    count, width = centred.shape
    covariance: Doubles = centred.T @ centred / count
    size = np.trace(covariance) / width
    squares = (covariance**2).sum()
    distance = (squares - width * size**2) / width
    fourth = (np.einsum("nd,nd->n", centred, centred) ** 2).sum() / count
    error = min((fourth - squares) / (width * count), distance)
    share = error / distance if distance > 0 else 1.0
    covariance *= 1 - share
    covariance.flat[:: width + 1] += share * size
    return covariance
