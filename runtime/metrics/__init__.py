"""How much of the teacher is left: the one definition of every statistic, in plain numpy.

*Fidelity* compares anything with the teacher, on images that nothing was trained or tuned on.
(A file against the file it was made from is *parity*, `runtime/evaluation/parity.py`.)
"""

from runtime.metrics.alignment import OrthogonalMap, fit_orthogonal_map, linear_cka
from runtime.metrics.bank import Bank
from runtime.metrics.directions import normalise
from runtime.metrics.intervals import (
    RESAMPLES,
    Estimate,
    mean_estimate,
    paired_difference,
    smooth_estimate,
    two_sample_estimate,
)
from runtime.metrics.neighbours import knn_votes, knn_votes_within, neighbour_overlap, ood_scores
from runtime.metrics.outliers import (
    CHANCE,
    Gaussians,
    auroc,
    energy_scores,
    fit_gaussians,
    fpr95,
    shrunk_covariance,
)
from runtime.metrics.probabilities import (
    NEVER,
    SCALES,
    at_bound,
    calibration_error,
    jensen_shannon,
    log_loss,
    log_softmax,
    total_variation,
)
from runtime.metrics.similarity import cosine_mae, pair_correlation, similarity_correlation
from runtime.metrics.spread import Spread, spread

__all__ = [
    "CHANCE",
    "NEVER",
    "RESAMPLES",
    "SCALES",
    "Bank",
    "Estimate",
    "Gaussians",
    "OrthogonalMap",
    "Spread",
    "at_bound",
    "auroc",
    "calibration_error",
    "cosine_mae",
    "energy_scores",
    "fit_gaussians",
    "fit_orthogonal_map",
    "fpr95",
    "jensen_shannon",
    "knn_votes",
    "knn_votes_within",
    "linear_cka",
    "log_loss",
    "log_softmax",
    "mean_estimate",
    "neighbour_overlap",
    "normalise",
    "ood_scores",
    "pair_correlation",
    "paired_difference",
    "shrunk_covariance",
    "similarity_correlation",
    "smooth_estimate",
    "spread",
    "total_variation",
    "two_sample_estimate",
]
