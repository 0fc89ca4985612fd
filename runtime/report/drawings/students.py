"""The drawing of candidates: their faithfulness against their latency or size."""

from __future__ import annotations

from msgspec import UNSET

from runtime.report.drawings.scatter import WIDE, Point, ScatterChart, scatter
from runtime.results.making import MeasuredStudent, StudentSearch
from runtime.results.scores import Score


def pareto(search: StudentSearch, *, label: str, width: int = WIDE) -> ScatterChart:
    """Place the candidates whose faithfulness is known; the search has compared some."""
    scored = [
        (each, score)
        for each in search.measured
        if isinstance(score := each.similarity_correlation_centred, Score)
    ]
    timed = all(each.p95_ms is not None for each, _ in scored)
    unit, key = ("p95 ms", "latency_p95_ms") if timed else ("MB", "size_mb")
    limits = {} if search.limits is UNSET else search.limits
    points = [
        Point(
            name=each.model,
            kind=_kind(each, search.chosen),
            cost=each.p95_ms if timed and each.p95_ms is not None else each.size_mb,
            score=score,
            size_mb=each.size_mb,
            hollow=not each.fits,
        )
        for each, score in scored
    ]
    return scatter(points, label=label, unit=unit, at_most=limits.get(key), width=width)


def _kind(each: MeasuredStudent, chosen: str) -> str:
    """The chosen one, those on the Pareto front, the others."""
    if each.model == chosen:
        return "deployed"
    return "student" if each.pareto else "teacher"
