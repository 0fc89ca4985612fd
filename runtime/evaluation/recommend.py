"""Which of the measured files to take, and which no one should: the Pareto front and its best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_FAITHFULNESS = ("agreement_probe", "agreement_linear", "agreement_knn", "similarity_correlation",
                 "parity_cosine_min")  # fmt: skip
"""What says how faithful a file stayed, in the order of preference: the first that all carry."""


def mark_dominated(entries: Sequence[dict[str, Any]]) -> None:
    """Say in `dominated_by` of each ledger entry which others are faster and no less faithful.

    Faster: its whole 95 % interval of the median lies below the other's. Faithfulness is compared
    as it stands, since all files answer the same images. (A file may be dominated and still the
    only one that is small enough; that is for `recommend`.)
    """
    figure = faithfulness(entries)
    for entry in entries:
        entry["dominated_by"] = [
            other["stage"] for other in entries if _dominates(other, entry, figure)
        ]


def recommend(entries: Sequence[Mapping[str, Any]], passed: Mapping[str, bool]) -> dict[str, Any]:
    """The best file of those that meet every requirement; if none does, of all.

    Of the files that none of these dominates, the fastest; between files whose intervals overlap,
    the most faithful, then the smallest.

    Args:
        entries: of the ledger, with latency, in its order.
        passed: whether each stage meets every requirement.

    Returns:
        `stage`, `file` and `why`, as they stand in report.json.
    """
    meeting = [entry for entry in entries if passed[entry["stage"]]]
    eligible = meeting or list(entries)
    figure = faithfulness(eligible)
    front = [
        entry
        for entry in eligible
        if not any(_dominates(other, entry, figure) for other in eligible)
    ]
    fastest = min(front, key=lambda entry: entry["latency"]["median_ms"])
    level = [entry for entry in front if not _faster(fastest, entry)]
    best = max(level, key=lambda entry: (_value(entry, figure), -entry["size_mb"]))
    met = "meets every requirement" if meeting else "no file meets every requirement"
    return {
        "stage": best["stage"],
        "file": best["file"],
        "why": f"{_why(best, fastest, entries, level, figure)}; {met}",
    }


def faithfulness(entries: Sequence[Mapping[str, Any]]) -> str:
    """The figure that all entries carry and that tells best how faithful they are."""
    carried = (name for name in _FAITHFULNESS if all(name in each for each in entries))
    return next(carried, _FAITHFULNESS[-1])


def _why(
    best: Mapping[str, Any],
    fastest: Mapping[str, Any],
    entries: Sequence[Mapping[str, Any]],
    level: Sequence[Mapping[str, Any]],
    figure: str,
) -> str:
    if len(entries) == 1:
        return "the only file"
    timing = f"p95 {best['latency']['p95_ms']:.2f} ms"
    if best is fastest and len(level) == 1:
        return f"the fastest, {timing}"
    if best is fastest:
        return f"as fast as any, {timing}, and the most faithful of these"
    return f"as fast as {fastest['stage']} within the intervals, {timing}, with a better {figure}"


def _dominates(one: Mapping[str, Any], other: Mapping[str, Any], figure: str) -> bool:
    return _faster(one, other) and _value(one, figure) >= _value(other, figure)


def _faster(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if one is other:
        return False
    return bool(one["latency"]["median_ms_ci"][1] < other["latency"]["median_ms_ci"][0])


def _value(entry: Mapping[str, Any], figure: str) -> float:
    value = entry.get(figure)
    return float("-inf") if value is None or "broken" in entry else float(value)
