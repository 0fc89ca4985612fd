"""Reports side by side: the recommended file of each, metric by metric, judged against the first.

A difference counts when its 95 % interval leaves out zero, and it is more than two builds of one
file differ by. The two intervals are treated as those of independent scores, so the interval of the
difference is their half widths added in quadrature; on the same held-out images, where errors are
shared, that is on the safe side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from msgspec import UNSET

from runtime.evaluation import metric_table
from runtime.evaluation.metric_table import Metric
from runtime.report.cells import Rows, Table, score_cell
from runtime.report.doubts import counted
from runtime.results.report import Report, load
from runtime.results.scores import Score, to_json

__all__ = ["Change", "changes", "document", "load", "text"]

Outcome = Literal["better", "worse", "not distinguishable"]


@dataclass(frozen=True)
class Difference:
    """A score minus another one, with its 95 % interval."""

    by: float
    low: float
    high: float
    outcome: Outcome


@dataclass(frozen=True)
class Change:
    """One metric of a report against the same metric of the first."""

    figure: str
    """The metric's key; it is called so in the JSON of `compare --json`."""
    difference: float
    """This report's minus the first one's."""
    low: float
    high: float
    """95 % interval of the difference."""
    outcome: Outcome


def changes(first: Report, other: Report) -> list[Change]:
    """Return what is better or worse in another report, metric by metric.

    Scores on other held-out images are left out, and so are latencies of another machine.
    """
    comparable = {
        "same images": first.golden.digest == other.golden.digest,
        "same machine": _machine(first) == _machine(other),
        "never": False,
    }
    found = list[Change]()
    for metric in metric_table.METRICS:
        was, now = (metric.of(report.recommended_entry) for report in (first, other))
        if comparable[metric.compares] and was is not None and now is not None:
            change = _change(metric, was, now)
            noise = any(_is_noise(report, change) for report in (first, other))
            found.append(replace(change, outcome="not distinguishable") if noise else change)
    return found


def text(names: Sequence[str], reports: Sequence[Report]) -> str:
    """Return a table of metrics by report, with intervals, each judged against the first.

    Args:
        names: what to call each report.
        reports: as many.
    """
    entries = [report.recommended_entry for report in reports]
    judged = [
        {change.figure: change for change in changes(reports[0], report)} for report in reports[1:]
    ]
    rows: Rows = [
        [
            metric.title,
            *(score_cell(metric.of(entry), metric.digits) for entry in entries),
            *(outcome(found.get(metric.key)) for found in judged),
        ]
        for metric in metric_table.METRICS
        if any(metric.of(entry) is not None for entry in entries)
    ]
    verdicts = [_verdict(report) for report in reports]
    rows.append(["verdict", *verdicts, *("" for _ in judged)])
    against = [f"{name} against {names[0]}" for name in names[1:]]
    return "\n\n".join([Table.of(["metric", *names, *against], rows).markdown, *notes(reports)])


def notes(reports: Sequence[Report]) -> list[str]:
    """Return what the reports do not have in common, and what cannot be compared for it."""
    found, first = [], reports[0]
    if any(report.golden.digest != first.golden.digest for report in reports):
        found.append(
            "These reports are of different held-out images or teachers: scores cannot be compared."
        )
    if any(report.machine.cpu != first.machine.cpu for report in reports):
        found.append("These reports are of different machines: latencies cannot be compared.")
    return found


def document(names: Sequence[str], reports: Sequence[Report]) -> dict[str, Any]:
    """Return the reports by name, and under `comparison` each but the first against the first."""
    comparison = [
        {
            "report": name,
            "against": names[0],
            "changes": [asdict(change) for change in changes(reports[0], report)],
        }
        for name, report in zip(names[1:], reports[1:], strict=True)
    ]
    named = {name: to_json(report) for name, report in zip(names, reports, strict=True)}
    return {**named, "comparison": comparison}


def _is_noise(report: Report, change: Change) -> bool:
    floor = report.noise_floor
    return floor is not UNSET and floor.holds(change.figure, change.difference)


def _verdict(report: Report) -> str:
    return ", ".join(part for part in (report.verdict.outcome, counted(report)) if part)


def _machine(report: Report) -> tuple[str | None, str | None]:
    return report.machine.cpu, report.machine.gpu


def difference(was: Score, now: Score, better: Literal["higher", "lower"] = "higher") -> Difference:
    """Return by how much a score differs from another one on the same images, and what it means."""
    by = now.value - was.value
    # Low end of the difference: this one's lower half width, and the first one's upper.
    low = by - math.hypot(now.value - now.low, was.high - was.value)
    high = by + math.hypot(now.high - now.value, was.value - was.low)
    if low <= 0 <= high:
        return Difference(by, low, high, "not distinguishable")
    return Difference(by, low, high, "better" if (by > 0) == (better == "higher") else "worse")


def _change(metric: Metric, was: Score, now: Score) -> Change:
    found = difference(was, now, metric.better)
    return Change(metric.key, found.by, found.low, found.high, found.outcome)


def outcome(change: Change | None) -> str:
    """Return what a change means, with its size; empty where the two cannot be compared."""
    if change is None:
        return ""
    if change.outcome == "not distinguishable":
        return change.outcome
    return f"{change.outcome} ({change.difference:+.3g})"
