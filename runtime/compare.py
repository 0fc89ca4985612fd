"""Reports side by side: the recommended file of each, figure by figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.errors import InputError
from runtime.files import read_versioned
from runtime.report import FIGURES, SCHEMA_VERSION, cell, table


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


def text(names: Sequence[str], reports: Sequence[Mapping[str, Any]]) -> str:
    """A table of figures by report, intervals in brackets; a note where they are of other images.

    Args:
        names: what to call each report.
        reports: as `load` gave them.
    """
    entries = [_recommended(report) for report in reports]
    rows = [
        [heading, *(cell(entry, key, digits, intervals=True) for entry in entries)]
        for key, heading, digits in FIGURES
        if any(key in entry for entry in entries)
    ]
    for key in ("median_ms", "p95_ms"):
        timings = [entry["latency"].get(key) for entry in entries]
        rows.append([key.replace("_", " "), *(f"{each:.2f}" for each in timings)])
    rows.append(["verdict", *("passed" if r["verdict"]["passed"] else "failed" for r in reports)])
    lines = [table(["figure", *names], rows)]
    if len({report["golden"].get("digest") for report in reports}) > 1:
        lines.append(
            "These reports are of different held-out images or teachers: figures do not compare."
        )
    if len({report["machine"]["cpu"] for report in reports}) > 1:
        lines.append("These reports are of different machines: latencies are each of its own.")
    return "\n\n".join(lines)


def _recommended(report: Mapping[str, Any]) -> dict[str, Any]:
    stage = report["recommended"]["stage"]
    found: dict[str, Any] = next(each for each in report["ledger"] if each["stage"] == stage)
    return found
