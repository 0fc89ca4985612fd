"""Which of the measured files to deploy, and which are dominated: the Pareto front and its best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import msgspec
from msgspec import UNSET

from runtime import documents
from runtime.benchmark.latency import Latency
from runtime.bundle.schema import BundleDocument, Requirements
from runtime.evaluation import metric_table
from runtime.evaluation.gates import Evidence
from runtime.evaluation.metric_table import Metric
from runtime.evaluation.verdict import judge
from runtime.results.ledger import LedgerEntry
from runtime.results.report import Outcome, Recommended, Report, Target, Verdict


def mark_dominated(entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    """Return the entries with `dominated_by`: which others are faster and no less faithful.

    Faster: its whole 95 % interval of the median lies below the other's. Faithfulness is compared
    without intervals, since all files answer the same images. (A file may be dominated and still
    be the only one that is small enough; `recommend` decides that.)
    """
    metric = faithfulness(entries)
    return [
        msgspec.structs.replace(
            entry,
            dominated_by=tuple(
                other.stage for other in entries if _dominates(other, entry, metric)
            ),
        )
        for entry in entries
    ]


def recommend(entries: Sequence[LedgerEntry], outcomes: Mapping[str, Outcome]) -> Recommended:
    """Return the best file of those that meet every requirement, else of those that miss none.

    If every file misses one, the best of all.

    Of the files that none of these dominates, the fastest; between files whose intervals overlap,
    the most faithful, then the smallest.

    Args:
        entries: of the files, with latency, in the order of the ledger.
        outcomes: the outcome of each stage's verdict.
    """
    ranks = {entry.stage: _RANKS[outcomes[entry.stage]] for entry in entries}
    eligible = [entry for entry in entries if ranks[entry.stage] == min(ranks.values())]
    metric = faithfulness(eligible)
    front = [
        entry
        for entry in eligible
        if not any(_dominates(other, entry, metric) for other in eligible)
    ]
    fastest = min(front, key=lambda entry: _latency(entry).median_ms)
    as_fast = [entry for entry in front if not _is_faster(fastest, entry)]
    best = max(as_fast, key=lambda entry: (_value(entry, metric), -_size(entry)))
    if len(entries) == 1:
        why = "the only file"
    else:
        why = _why(best, fastest, metric, alone=len(as_fast) == 1)
    met = _MET[outcomes[best.stage]]
    return Recommended(best.stage, "" if best.file is UNSET else best.file, f"{why}; {met}")


_RANKS: Mapping[Outcome, int] = {
    "passed": 0,
    "no requirement set": 0,
    "undecided": 1,
    "failed": 2,
}
_MET: Mapping[Outcome, str] = {
    "passed": "meets every requirement",
    "no requirement set": "no requirement is set",
    "undecided": "no file is known to meet every requirement, this one misses none",
    "failed": "no file meets every requirement",
}


def judge_all(
    require: Requirements, target: Target, files: Sequence[LedgerEntry], evidence: Evidence
) -> tuple[int, Recommended, Verdict]:
    """Judge every file and recommend one.

    Args:
        require: the recipe's gates.
        target: the machine that latency gates are about.
        files: with latency, in the order of the ledger.
        evidence: of the first of them; of the others all but the file is the same.

    Returns:
        The number of the recommended file, why it is recommended, and its verdict.
    """
    wanted = documents.plain(require)
    verdicts = {
        entry.stage: judge(wanted, replace(evidence, file=entry), target) for entry in files
    }
    outcomes = {stage: verdict.outcome for stage, verdict in verdicts.items()}
    recommended = recommend(files, outcomes)
    number = [entry.stage for entry in files].index(recommended.stage)
    return number, recommended, verdicts[recommended.stage]


def judge_again(report: Report, document: BundleDocument) -> Report | None:
    """Judge a report by other requirements, from what was measured.

    Args:
        report: of the same files, on this machine.
        document: names the requirements; differs from the report's bundle in nothing else but the
            recipe.

    Returns:
        The report with the new verdict; None if another file is recommended now: its speed and its
        findings are not in the report.
    """
    teacher, _, *others = report.ledger
    files = [each for each in others if each.latency is not UNSET and each.same_file_as is UNSET]
    difference, load = report.preprocess_max_difference_levels, report.machine.while_timing
    evidence = Evidence(files[0], teacher, difference, load, len(document.not_made))
    _, recommended, verdict = judge_all(document.require, report.target, files, evidence)
    if recommended.stage != report.recommended.stage:
        return None
    return msgspec.structs.replace(
        report, recipe=document.recipe, recommended=recommended, verdict=verdict
    )


def faithfulness(entries: Sequence[LedgerEntry]) -> Metric:
    """Return the preferred metric of faithfulness that all entries have."""
    ranked = _by_faithfulness(metric_table.METRICS)
    shared = (metric for metric in ranked if all(metric.of(entry) is not None for entry in entries))
    return next(shared, ranked[-1])


def _by_faithfulness(table: Iterable[Metric]) -> list[Metric]:
    ranked = [(metric.faithfulness, metric) for metric in table if metric.faithfulness is not None]
    return [metric for _, metric in sorted(ranked, key=lambda pair: pair[0])]


def _why(best: LedgerEntry, fastest: LedgerEntry, metric: Metric, *, alone: bool) -> str:
    timing = f"p95 {_latency(best).p95_ms:.2f} ms"
    if best is fastest and alone:
        return f"the fastest, {timing}"
    if best is fastest:
        return f"as fast as any, {timing}, and the most faithful of these"
    return f"as fast as {fastest.stage} within the intervals, {timing}, with a better {metric.key}"


def _dominates(one: LedgerEntry, other: LedgerEntry, metric: Metric) -> bool:
    return _is_faster(one, other) and _value(one, metric) >= _value(other, metric)


def _is_faster(one: LedgerEntry, other: LedgerEntry) -> bool:
    if one is other:
        return False
    return _latency(one).median_ms_ci[1] < _latency(other).median_ms_ci[0]


def _value(entry: LedgerEntry, metric: Metric) -> float:
    """Higher is more faithful."""
    score = metric.of(entry)
    if score is None or entry.broken is not UNSET:
        return float("-inf")
    return -score.value if metric.better == "lower" else score.value


def _latency(entry: LedgerEntry) -> Latency:
    if entry.latency is UNSET:
        raise ValueError(f"{entry.stage} was not timed")
    return entry.latency


def _size(entry: LedgerEntry) -> float:
    return 0.0 if entry.size_mb is UNSET else entry.size_mb
