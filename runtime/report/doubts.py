"""What the verdict does not say and a reader must not miss, from what a report holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import UNSET, UnsetType, structs

from runtime import metrics
from runtime.report.cells import score_cell
from runtime.report.sections import worth
from runtime.results.findings import Doubt
from runtime.results.ledger import LedgerEntry
from runtime.results.report import Report
from runtime.text import in_code, inert

LEAST_DISTANCE = 0.01
"""Share of the teacher's mean distance under which embeddings have collapsed: 64 images that differ
by so little have the same nearest neighbours only by their last digits."""
LEAST_RANK = 1.5
"""Effective dimensions under which embeddings have collapsed to a line ..."""
RANK_OF_A_TEACHER = 3.0
"""... where the teacher's differ in at least so many."""


def with_warnings(report: Report) -> Report:
    """Return a report that says its warnings."""
    return structs.replace(report, warnings=warnings_of(report))


def warnings_of(report: Report) -> tuple[Doubt, ...]:
    """Return the warnings of a report, the gravest first; older reports give fewer."""
    return tuple(doubt for look in _LOOKS for doubt in look(report))


def counted(report: Report) -> str:
    """How many warnings there are, in words; nothing where there is none."""
    count = len(warnings_of(report))
    return f"{count} warning{'' if count == 1 else 's'}" if count else ""


def _collapsed(report: Report) -> Sequence[Doubt]:
    file, teacher = report.recommended_entry, report.entry("teacher")
    distances = _both(file.embedding_distance, teacher.embedding_distance)
    ranks = _both(file.embedding_rank, teacher.embedding_rank)
    if distances is None or ranks is None:
        return []
    if distances[0] < LEAST_DISTANCE * distances[1]:
        what = f"two images differ by {distances[0]:.2g} on average (one minus their cosine)"
        than = f"the teacher's by {distances[1]:.2g}"
    elif ranks[0] < LEAST_RANK and ranks[1] >= RANK_OF_A_TEACHER:
        what = f"they differ in {ranks[0]:.1f} dimensions"
        than = f"the teacher's in {ranks[1]:.1f}"
    else:
        return []
    return [
        Doubt(
            "embeddings_collapsed",
            "The embeddings have collapsed:",
            f"{what}, {than}. Neighbours, outliers and classes rest on little more than rounding. "
            "A lower `distill.lr`, more `distill.epochs`, or a student with weights.",
        )
    ]


def _both(one: float | UnsetType, other: float | UnsetType) -> tuple[float, float] | None:
    return None if one is UNSET or other is UNSET else (one, other)


def _never_answered(report: Report) -> Sequence[Doubt]:
    never = report.recommended_entry.never_answered
    if never is UNSET:
        return []
    never = tuple(name for name in never if name not in report.classes_without_label)
    if not never:
        return []
    images = (
        {} if report.per_class is UNSET else {each.name: each.images for each in report.per_class}
    )
    named = [
        f"{inert(name)} ({images[name]} images)" if name in images else inert(name)
        for name in never
    ]
    shown = ", ".join(named[:10]) + (f" and {len(named) - 10} more" if len(named) > 10 else "")
    teachers = report.entry("teacher").never_answered
    too = [] if teachers is UNSET else [name for name in never if name in teachers]
    theirs = f"; nor does the teacher give {', '.join(map(inert, too[:10]))}" if too else ""
    return [
        Doubt(
            "classes_never_answered",
            "Never answered on the held-out images:",
            f"{shown}{theirs}. Look at the table of classes; more labels of these classes help.",
        )
    ]


def _no_better_than_one_class(report: Report) -> Sequence[Doubt]:
    if report.per_class is UNSET or not report.per_class:
        return []
    accuracy = _accuracy(report.recommended_entry)
    largest = max(report.per_class, key=lambda each: each.images)
    share = largest.images / sum(each.images for each in report.per_class)
    if accuracy is None or accuracy > share or len(report.per_class) < 2:
        return []
    return [
        Doubt(
            "no_better_than_one_class",
            "The classifier is no better than a constant answer:",
            f"it is right for {accuracy:.3f} of the labelled held-out images, and so often would "
            f"be `{in_code(largest.name)}` for every image ({share:.3f}).",
        )
    ]


def _accuracy(entry: LedgerEntry) -> float | None:
    score = entry.scores.get("accuracy_probe", entry.scores.get("accuracy_linear"))
    return None if score is None else score.value


def _temperature(report: Report) -> Sequence[Doubt]:
    found = None if report.probe is None else report.probe.temperature
    if found is None or found is UNSET or not metrics.at_bound(found):
        return []
    return [
        Doubt(
            "temperature_at_bound",
            f"The temperature of the probabilities is at its bound ({found:.3g}):",
            "no temperature calibrates them, so do not read them as chances. The labels of the "
            "training images may be wrong, or the classes cannot be told apart.",
        )
    ]


def _outliers(report: Report) -> Sequence[Doubt]:
    score = report.recommended_entry.scores.get("ood_auroc")
    if score is None or score.low > metrics.CHANCE:
        return []
    corrupted = "strongly corrupted held-out images, which stand in for them"
    of = corrupted if report.golden.ood_source == "corruptions" else "those of `data.ood`"
    return [
        Doubt(
            "outliers_not_told",
            "Out-of-distribution images are not shown to be recognised better than by chance:",
            f"AUROC {score_cell(score)} on {report.golden.ood_images} of them ({of}); 0.5 is "
            "chance. A bundle made with this knowledge tells no outliers: `is_outlier` is None.",
        )
    ]


_LOOKS: Sequence[Callable[[Report], Sequence[Doubt]]] = (
    _collapsed,
    _never_answered,
    _no_better_than_one_class,
    _temperature,
    _outliers,
    worth.doubts,
)
