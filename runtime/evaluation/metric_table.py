"""The one table of metrics: what is measured, what it means, how it is computed and shown.

The ledger, the tables, the page, the comparison, the recommendation and docs/fidelity.md all follow
from it. A new metric is one entry here, and a function in `scores` if none there does it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from msgspec import UNSET, UnsetType

from runtime import metrics
from runtime.benchmark.latency import Latency
from runtime.evaluation import scores
from runtime.evaluation.subject import Subject
from runtime.metrics import Estimate
from runtime.results.ledger import LedgerEntry
from runtime.results.scores import Score, as_scores

Theme = Literal["Answers", "Probabilities", "Similarity structure", "Out-of-distribution images",
                "The file"]  # fmt: skip
Need = Literal["labels", "12 images", "out-of-distribution images"]

FEWEST_IMAGES = 12
"""For metrics over pairs: 10 neighbours among the others, and one image that is none of them."""


@dataclass(frozen=True)
class Chart:
    """A drawing on the page."""

    title: str
    caption: str


@dataclass(frozen=True)
class Metric:
    """One metric, and everything that any part of the report needs to know about it."""

    key: str
    """In report.json."""
    title: str
    """As a heading of a table."""
    explanation: str
    """One sentence without a full stop."""
    theme: Theme
    better: Literal["higher", "lower"] = "higher"
    compute: Callable[[Subject], Estimate | None] | None = None
    """From the answers to held-out images; None for what is measured on the file itself."""
    read: Callable[[LedgerEntry], Score | None] | None = None
    """From the ledger entry, where `compute` is None."""
    needs: tuple[Need, ...] = ()
    digits: int = 3
    chart: Chart | None = None
    shows_loss: bool = False
    """True if the report shows what is lost from step to step; report.json has all losses."""
    faithfulness: int | None = None
    """Rank among the metrics by which files are compared: the first that all files have is used."""
    compares: Literal["same images", "same machine", "never"] = "same images"
    """When two reports can be compared by it."""

    def of(self, entry: LedgerEntry) -> Score | None:
        """Return an entry's score, None where it has none."""
        return self.read(entry) if self.read else entry.scores.get(self.key)


# --- measurements of the file itself ---------------------------------------------------------


def _exact(value: float | UnsetType | None) -> Score | None:
    return None if value is None or value is UNSET else Score(value, value, value)


def _latency(read: Callable[[Latency], Score], entry: LedgerEntry) -> Score | None:
    return None if entry.latency is UNSET else read(entry.latency)


def _median(latency: Latency) -> Score:
    return Score(latency.median_ms, *latency.median_ms_ci)


# --- the table -------------------------------------------------------------------------------

_TEACHERS = "the same answer as the teacher's own"
METRICS: tuple[Metric, ...] = (
    Metric(
        "accuracy_knn", "kNN accuracy", "share of right answers of the weighted kNN (10 "
        "neighbours, temperature 0.07)", "Answers", compute=partial(scores.accuracy, "knn"),
        needs=("labels",), shows_loss=True,
    ),
    Metric(
        "accuracy_linear", "linear accuracy", "share of right answers of the linear probe",
        "Answers", compute=partial(scores.accuracy, "linear"), needs=("labels",), shows_loss=True,
        chart=Chart("Right answers", "of the linear probe, on held-out images"),
    ),
    Metric(
        "agreement_knn", "kNN agreement", f"{_TEACHERS} kNN", "Answers",
        compute=partial(scores.agreement, "knn"), needs=("labels",), faithfulness=3,
    ),
    Metric(
        "agreement_linear", "linear agreement", f"{_TEACHERS} linear probe", "Answers",
        compute=partial(scores.agreement, "linear"), needs=("labels",), shows_loss=True,
        faithfulness=2,
        chart=Chart("Same answer as the teacher", "each with its own linear probe"),
    ),
    Metric(
        "accuracy_probe", "deployed accuracy", "share of right answers of the deployed probe, "
        "where that is not the linear one", "Answers", compute=partial(scores.accuracy, "probe"),
        needs=("labels",), shows_loss=True,
        chart=Chart("Right answers of the deployed probe", "on held-out images"),
    ),
    Metric(
        "agreement_probe", "deployed agreement", f"{_TEACHERS} probe of the deployed kind",
        "Answers", compute=partial(scores.agreement, "probe"), needs=("labels",), shows_loss=True,
        faithfulness=1,
        chart=Chart("Same answer as the teacher", "each with its own probe of the deployed kind"),
    ),
    Metric(
        "total_variation", "probability distance", "total variation between the calibrated "
        "probabilities of the file and of the teacher's own probe; 0 = equal, 1 = as different as "
        "possible", "Probabilities", "lower",
        compute=partial(scores.probability_distance, metrics.total_variation), needs=("labels",),
        shows_loss=True,
        chart=Chart(
            "Distance to the teacher's probabilities", "0 = equal, 1 = as different as possible"
        ),
    ),
    Metric(
        "jensen_shannon", "JSD", "Jensen-Shannon divergence between the same probabilities, in "
        "bits, 0 to 1", "Probabilities", "lower",
        compute=partial(scores.probability_distance, metrics.jensen_shannon), needs=("labels",),
    ),
    Metric(
        "calibration_ece", "calibration error", "expected calibration error: how far the file's "
        "probabilities are from how often its answers are right", "Probabilities", "lower",
        compute=scores.calibration_ece, needs=("labels",),
    ),
    Metric(
        "calibration_nll", "log-loss", "minus the log of the true class's probability, over images "
        "of classes that a label covers", "Probabilities", "lower",
        compute=scores.calibration_nll, needs=("labels",),
    ),
    Metric(
        "similarity_correlation", "similarity correlation", "Pearson correlation of the cosines "
        "between all pairs of images with the teacher's cosines", "Similarity structure",
        compute=partial(scores.similarity, metrics.similarity_correlation), needs=("12 images",),
        shows_loss=True, faithfulness=4,
        chart=Chart("Similarity correlation", "of the cosines between images with the teacher's"),
    ),
    Metric(
        "similarity_correlation_centred", "centred similarity correlation", "the same with "
        "angles measured from each network's centre: the mean over its training images, or the "
        "constant that the student was given for it",
        "Similarity structure", compute=scores.centred_similarity,
        needs=("12 images",), shows_loss=True,
    ),
    Metric(
        "cosine_mae", "cosine MAE", "mean absolute difference of the same cosines, which also sees "
        "a shift that all have in common", "Similarity structure", "lower",
        compute=partial(scores.similarity, metrics.cosine_mae), needs=("12 images",),
    ),
    Metric(
        "linear_cka", "CKA", "linear centred kernel alignment with the teacher, debiased: 0 for "
        "unrelated embeddings", "Similarity structure",
        compute=partial(scores.similarity, metrics.linear_cka), needs=("12 images",),
    ),
    Metric(
        "procrustes_cosine", "Procrustes cosine", "cosine of each image's embedding to the "
        "teacher's after the best orthogonal map, which is fitted on training images",
        "Similarity structure", compute=scores.procrustes_cosine, shows_loss=True,
        chart=Chart(
            "Procrustes cosine", "to the teacher, after an orthogonal map fitted on training images"
        ),
    ),
    Metric(
        "neighbour_overlap_at_10", "neighbour overlap", "share of each image's 10 nearest images "
        "that are the teacher's 10 nearest too", "Similarity structure",
        compute=scores.neighbour_overlap, needs=("12 images",), shows_loss=True,
        chart=Chart("Neighbour overlap", "share of each image's 10 nearest"),
    ),
    Metric(
        "ood_auroc", "OOD AUROC", "how well out-of-distribution images are recognised by the "
        "cosine to the nearest training image; 0.5 is chance", "Out-of-distribution images",
        compute=partial(scores.ood, metrics.auroc, "cosine"), shows_loss=True,
        needs=("out-of-distribution images",),
        chart=Chart("Out-of-distribution detection", "AUROC; 0.5 is chance"),
    ),
    Metric(
        "ood_fpr95", "OOD FPR95", "share of out-of-distribution images that are not recognised "
        "where 95 % of the held-out images are accepted", "Out-of-distribution images", "lower",
        compute=partial(scores.ood, metrics.fpr95, "cosine"), shows_loss=True,
        needs=("out-of-distribution images",),
    ),
    Metric(
        "ood_auroc_mahalanobis", "AUROC Mahalanobis", "AUROC by the Mahalanobis distance to the "
        "training images: one Gaussian per class, or one for all where under half have a label",
        "Out-of-distribution images", needs=("out-of-distribution images",),
        compute=partial(scores.ood, metrics.auroc, "mahalanobis"),
    ),
    Metric(
        "ood_fpr95_mahalanobis", "FPR95 Mahalanobis", "FPR95 by the same distance",
        "Out-of-distribution images", "lower", needs=("out-of-distribution images",),
        compute=partial(scores.ood, metrics.fpr95, "mahalanobis"),
    ),
    Metric(
        "ood_auroc_energy", "AUROC energy", "AUROC by energy: the log of the sum of exp of the "
        "deployed probe's logits", "Out-of-distribution images",
        needs=("labels", "out-of-distribution images"),
        compute=partial(scores.ood, metrics.auroc, "energy"),
    ),
    Metric(
        "ood_fpr95_energy", "FPR95 energy", "FPR95 by energy", "Out-of-distribution images",
        "lower", needs=("labels", "out-of-distribution images"),
        compute=partial(scores.ood, metrics.fpr95, "energy"),
    ),
    Metric(
        "parity_cosine_min", "lowest parity cosine", "lowest cosine of an image's embedding to "
        "that of the student which the file was made from; this is parity, not fidelity",
        "The file", read=lambda entry: _exact(entry.parity_cosine_min), digits=6, faithfulness=5,
        compares="never",
    ),
    Metric(
        "size_mb", "size MB", "size of the file in 10^6 bytes", "The file", "lower",
        read=lambda entry: _exact(entry.size_mb), digits=2,
    ),
    Metric(
        "median_ms", "median ms", "median latency of one request", "The file", "lower",
        read=partial(_latency, _median), digits=2, compares="same machine",
    ),
    Metric(
        "p95_ms", "p95 ms", "95th percentile of the latency", "The file", "lower",
        read=partial(_latency, lambda latency: Score(*[latency.p95_ms] * 3)), digits=2,
        compares="never",
    ),
)  # fmt: skip


def estimates(subject: Subject) -> dict[str, Estimate]:
    """Compute every metric that these answers allow, in the order of the table."""
    found = dict[str, Estimate]()
    for metric in METRICS:
        if metric.compute is None or not all(_has(subject, need) for need in metric.needs):
            continue
        if (estimate := metric.compute(subject)) is not None:
            found[metric.key] = estimate
    return found


def scores_of(subject: Subject) -> dict[str, Score]:
    """Compute every metric that these answers allow, as report.json has them."""
    return as_scores(estimates(subject))


def lower_is_better() -> frozenset[str]:
    """Keys of the metrics of which less is better."""
    return frozenset(metric.key for metric in METRICS if metric.better == "lower")


def _has(subject: Subject, need: Need) -> bool:
    if need == "labels":
        return subject.classes > 0
    if need == "12 images":
        return len(subject.labels) >= FEWEST_IMAGES
    return bool(subject.outliers)
