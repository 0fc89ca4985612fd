"""The reports of a folder in one table, the newest first."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from msgspec import UNSET

from runtime.errors import InputError
from runtime.evaluation.recommend import faithfulness
from runtime.report.cells import Cell, Table, score_cell
from runtime.results.report import FILE, Report, load

_DEEPEST = 3
"""Folders below the named one; a bundle and its images lie deeper."""


@dataclass(frozen=True)
class Found:
    """A report, or why it cannot be read."""

    folder: Path
    name: str
    """Of the folder, below the one that was searched."""
    made: datetime
    report: Report | None
    error: str = ""


def find(folder: Path) -> list[Found]:
    """Return the reports in a folder and below it, the newest first.

    Raises:
        InputError: there is no such folder, or no report lies in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; runs lie in `runs` where nothing else is said")
    found = list[Found]()
    for place, folders, names in os.walk(folder):
        here = Path(place)
        if len(here.relative_to(folder).parts) >= _DEEPEST or FILE in names:
            folders.clear()
        if FILE in names:
            found.append(_read(here, folder))
    if not found:
        raise InputError(f"{folder}: no {FILE} lies in this folder: no run there has finished")
    return sorted(found, key=lambda each: each.made, reverse=True)


def table(found: Sequence[Found]) -> Table:
    """Return name, outcome, faithfulness, latency and size of the file that each run recommends."""
    headings = ["run", "made", "outcome", "faithfulness", "p95 ms", "MB", "student"]
    return Table.of(headings, [_row(each) for each in found])


def document(found: Sequence[Found]) -> list[dict[str, object]]:
    """Return the same as JSON values."""
    return [_values(each) for each in found]


def _read(here: Path, folder: Path) -> Found:
    name = here.relative_to(folder).as_posix()
    made = datetime.fromtimestamp((here / FILE).stat().st_mtime).astimezone()
    shown = folder.resolve().name if name == "." else name
    try:
        return Found(here, shown, made, load(here))
    except InputError as error:
        return Found(here, shown, made, None, str(error).split("\n", maxsplit=1)[0])


def _row(found: Found) -> list[Cell | str]:
    made, report = f"{found.made:%Y-%m-%d %H:%M}", found.report
    if report is None:
        return [found.name, made, f"unreadable: {found.error}", "", "", "", ""]
    file = report.recommended_entry
    metric = faithfulness([file])
    score = score_cell(metric.of(file))
    faithful = Cell(f"{metric.title} {score.text}", score.interval) if score.text else Cell("")
    return [
        found.name,
        made,
        report.verdict.outcome,
        faithful,
        "" if file.latency is UNSET else f"{file.latency.p95_ms:.2f}",
        "" if file.size_mb is UNSET else f"{file.size_mb:.1f}",
        "" if report.student is UNSET else report.student.model,
    ]


def _values(found: Found) -> dict[str, object]:
    base = {"folder": str(found.folder), "made": found.made.isoformat(timespec="seconds")}
    report = found.report
    if report is None:
        return {**base, "error": found.error}
    file = report.recommended_entry
    metric = faithfulness([file])
    score = metric.of(file)
    return {
        **base,
        "recipe": report.recipe.name,
        "outcome": report.verdict.outcome,
        "file": report.recommended.file,
        "metric": metric.key,
        "value": None if score is None else score.value,
        "p95_ms": None if file.latency is UNSET else file.latency.p95_ms,
        "size_mb": None if file.size_mb is UNSET else file.size_mb,
    }
