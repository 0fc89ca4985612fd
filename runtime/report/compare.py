"""Reports side by side: the recommended file of each, figure by figure, judged against the first.

A difference counts when its 95 % interval leaves out zero. The two intervals are taken as those of
independent figures, so the interval of the difference is their half widths added in quadrature; on
the same held-out images, where errors are shared, that is on the safe side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from runtime.errors import InputError
from runtime.evaluation.check import SCHEMA_VERSION
from runtime.evaluation.ledger import LOWER_IS_BETTER
from runtime.files import read_versioned
from runtime.report.markdown import FIGURES, cell
from runtime.text import table


def load(path: Path) -> dict[str, Any]:
    """Read a report.json, given itself or the folder of a run or a check.

    Raises:
        InputError: there is none, or it is of a newer version.
    """
    if path.is_dir():
        path = path / "report.json"
    report = read_versioned(path, newest=SCHEMA_VERSION, what="report")
    if missing := {"golden", "ledger", "machine", "recommended", "verdict"} - report.keys():
        raise InputError(f"{path}: not a report (it lacks {', '.join(sorted(missing))})")
    return report


_LOWER_IS_BETTER = LOWER_IS_BETTER | {"size_mb", "median_ms"}
NOT_JUDGED = frozenset({"parity_cosine_min"})
"""Of a file against its own source: nothing to compare between two students."""

Outcome = Literal["better", "worse", "not distinguishable"]


@dataclass(frozen=True)
class Change:
    """One figure of a report against the same figure of the first."""

    figure: str
    difference: float
    """This report's minus the first one's."""
    low: float
    high: float
    """Of the difference, 95 %."""
    outcome: Outcome


def changes(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[Change]:
    """What is better or worse in another report, figure by figure.

    Figures of other held-out images are left out, and so are latencies of another machine.
    """
    was, now = _recommended(first), _recommended(other)
    found: list[Change] = []
    if _same(first, other, "golden", "digest"):
        keys = [key for key, _, _ in FIGURES if key not in NOT_JUDGED and key in was and key in now]
        found += [_change(key, _interval(was, key), _interval(now, key)) for key in keys]
    if _same(first, other, "machine", "cpu") and _same(first, other, "machine", "gpu"):
        timings = (_interval(each["latency"], "median_ms") for each in (was, now))
        found.append(_change("median_ms", *timings))
    return found


def text(names: Sequence[str], reports: Sequence[Mapping[str, Any]]) -> str:
    """A table of figures by report, intervals in brackets, each judged against the first.

    Args:
        names: what to call each report.
        reports: as `load` gave them.
    """
    entries = [_recommended(report) for report in reports]
    judged = [{}, *({each.figure: each for each in changes(reports[0], r)} for r in reports[1:])]
    rows = [
        [heading, *(cell(entry, key, digits, intervals=True) for entry in entries)]
        + [_said(found.get(key)) for found in judged[1:]]
        for key, heading, digits in FIGURES
        if any(key in entry for entry in entries)
    ]
    for key in ("median_ms", "p95_ms"):
        timings = [entry["latency"].get(key) for entry in entries]
        said = [_said(found.get(key)) for found in judged[1:]]
        rows.append([key.replace("_", " "), *(f"{each:.2f}" for each in timings), *said])
    verdicts = ["passed" if report["verdict"]["passed"] else "failed" for report in reports]
    rows.append(["verdict", *verdicts, *("" for _ in judged[1:])])
    against = [f"{name} against {names[0]}" for name in names[1:]]
    lines = [table(["figure", *names, *against], rows)]
    if not all(_same(reports[0], report, "golden", "digest") for report in reports):
        lines.append(
            "These reports are of different held-out images or teachers: figures do not compare."
        )
    if not all(_same(reports[0], report, "machine", "cpu") for report in reports):
        lines.append("These reports are of different machines: latencies are each of its own.")
    return "\n\n".join(lines)


def document(names: Sequence[str], reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The reports by name, and under `comparison` each but the first against the first."""
    comparison = [
        {
            "report": name,
            "against": names[0],
            "changes": [asdict(c) for c in changes(reports[0], r)],
        }
        for name, r in zip(names[1:], reports[1:], strict=True)
    ]
    return {**dict(zip(names, reports, strict=True)), "comparison": comparison}


def _change(figure: str, was: tuple[float, ...], now: tuple[float, ...]) -> Change:
    difference = now[0] - was[0]
    # Low of the difference: this one's lower half width, and the first one's upper.
    low = difference - math.hypot(now[0] - now[1], was[2] - was[0])
    high = difference + math.hypot(now[2] - now[0], was[0] - was[1])
    if low <= 0 <= high:
        return Change(figure, difference, low, high, "not distinguishable")
    rose = difference > 0
    better = rose != (figure in _LOWER_IS_BETTER)
    return Change(figure, difference, low, high, "better" if better else "worse")


def _interval(entry: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    """A figure with its interval; one without is exact."""
    low, high = entry.get(f"{key}_ci") or (entry[key], entry[key])
    return entry[key], low, high


def _said(change: Change | None) -> str:
    if change is None:
        return ""
    if change.outcome == "not distinguishable":
        return change.outcome
    return f"{change.outcome} ({change.difference:+.3g})"


def _same(one: Mapping[str, Any], other: Mapping[str, Any], section: str, key: str) -> bool:
    return bool(one[section].get(key) == other[section].get(key))


def _recommended(report: Mapping[str, Any]) -> dict[str, Any]:
    stage = report["recommended"]["stage"]
    found: dict[str, Any] = next(each for each in report["ledger"] if each["stage"] == stage)
    return found
