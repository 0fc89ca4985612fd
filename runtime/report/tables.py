"""The ledger as tables: Markdown that is also readable as plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from runtime.evaluation import metric_table
from runtime.text import table

Shown = tuple[str, str, int]
"""Key of a figure, its heading, how many digits."""

_TIMES = ("median_ms", "p95_ms")
THEMES: Mapping[str, tuple[Shown, ...]] = {
    theme: tuple(
        (each.key, each.title, each.digits)
        for each in metric_table.METRICS
        if each.theme == theme and each.key not in _TIMES
    )
    for theme in dict.fromkeys(each.theme for each in metric_table.METRICS)
}
FIGURES: tuple[Shown, ...] = tuple(figure for theme in THEMES.values() for figure in theme)
"""Figures of a ledger entry in the order they are shown."""
HEADINGS = {key: heading for key, heading, _ in FIGURES}


def themed_ledger(report: Mapping[str, Any]) -> str:
    """From the teacher to the deployed files, with intervals: a table for each theme."""
    parts = []
    for theme, figures in THEMES.items():
        timed = theme == "The file"
        headings, rows = ledger_cells(report, intervals=True, figures=figures, timed=timed)
        told = [row for row in rows if any(row[1:])]
        if told:
            parts.append(f"**{theme}**\n\n{table(headings, told)}")
    return "\n\n".join(parts)


def ledger_table(report: Mapping[str, Any], *, intervals: bool) -> str:
    """From the teacher to the deployed files, a line each."""
    return table(*ledger_cells(report, intervals=intervals))


def ledger_cells(
    report: Mapping[str, Any],
    *,
    intervals: bool,
    figures: Sequence[Shown] = FIGURES,
    timed: bool = True,
) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row of cells for each line of the ledger."""
    ledger = report["ledger"]
    shown = [figure for figure in figures if any(figure[0] in entry for entry in ledger)]
    headings = ["stage", *(heading for _, heading, _ in shown)]
    headings += ["median ms", "p95 ms"] if timed else []
    rows = []
    for entry in ledger:
        cells = [cell(entry, key, digits, intervals=intervals) for key, _, digits in shown]
        timing = entry.get("latency")
        times = [f"{timing[key]:.2f}" for key in ("median_ms", "p95_ms")] if timing else ["", ""]
        rows.append([entry["stage"], *cells, *(times if timed else [])])
    return headings, rows


def cell(
    entry: Mapping[str, Any], key: str, digits: int, *, intervals: bool, signed: bool = False
) -> str:
    """One figure of a ledger entry, with its interval in brackets; empty if it is not there."""
    value = entry.get(key)
    if value is None:
        return ""
    shown = partial(_number, digits=digits, signed=signed)
    if intervals and (interval := entry.get(f"{key}_ci")):
        low, high = (shown(each) for each in interval)
        return f"{shown(value)} ({low} to {high})"
    return shown(value)


def _number(value: float, *, digits: int, signed: bool) -> str:
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text  # no sign of nothing
