"""The report: one JSON document for programs, one Markdown page for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime import precision_page
from runtime.files import write_json, write_text

SCHEMA_VERSION = 1

FIGURES = (
    ("accuracy_knn", "kNN acc.", 3),
    ("accuracy_linear", "linear acc.", 3),
    ("agreement_knn", "kNN agrees", 3),
    ("agreement_linear", "linear agrees", 3),
    ("accuracy_probe", "deployed acc.", 3),
    ("agreement_probe", "deployed agrees", 3),
    ("calibration_ece", "calibration error", 3),
    ("calibration_nll", "log-loss", 3),
    ("similarity_correlation", "similarity r", 3),
    ("neighbour_overlap_at_10", "same neighbours", 3),
    ("ood_auroc", "OOD AUROC", 3),
    ("ood_fpr95", "OOD FPR95", 3),
    ("parity_cosine_min", "parity cos min", 6),
    ("size_mb", "MB", 2),
)
"""Figures of a ledger entry in the order they are shown: key, heading, how many digits."""


def write(report: Mapping[str, Any], folder: Path) -> None:
    """Write report.json and report.md into a folder."""
    write_json(folder / "report.json", report)
    write_text(folder / "report.md", markdown(report))


def markdown(report: Mapping[str, Any]) -> str:
    """The report as a page to read."""
    recipe, target = report["recipe"], report["target"]
    sections = [
        f"# {recipe['name']}: {verdict_line(report)}",
        f"Target `{target['name']}`"
        + ("." if target["this_machine"] else "; **this machine is not it**: latency is of here.")
        + f" Recommended: `{report['recommended']['file']}` ({report['recommended']['why']}).",
        "## Requirements\n\n" + requirements_table(report),
        "## Ledger\n\n" + ledger_table(report, intervals=True) + "\n\n" + _HOW_TO_READ,
    ]
    if lines := probe_lines(report):
        sections.append("## Classes and probabilities\n\n" + "\n\n".join(lines))
        if rows := report["probe"].get("candidates"):
            sections.append(_candidates_table(rows))
    if told := precision_page.lines(report):
        sections.append("## Precision\n\n" + "\n\n".join(told))
    broken = {each["file"]: each["broken"] for each in report["ledger"] if "broken" in each}
    if broken:
        sections.append("## Broken files\n\n" + _bullets(broken))
    if data := report.get("data"):
        sections.append("## Data\n\n" + _bullets(data))
    if training := report.get("training"):
        sections.append("## Training\n\n" + _bullets(training))
    if "untrained_student" in report:
        sections.append(_untrained(report))
    if timings := report.get("timings_s"):
        rows = [[stage, f"{seconds:.1f}"] for stage, seconds in timings.items()]
        sections.append("## Time of each stage\n\n" + table(["stage", "seconds"], rows))
    machine = {key: value for key, value in report["machine"].items() if value is not None}
    sections.append("## Machine\n\n" + _bullets(machine))
    return "\n\n".join(sections) + "\n"


def text(report: Mapping[str, Any]) -> str:
    """The report for a terminal: requirements, and the ledger with a column for each stage."""
    headings, rows = _ledger_cells(report, intervals=False)
    first, *columns = zip(headings, *rows, strict=True)
    ledger = table(list(first), [list(column) for column in columns])
    parts = [requirements_table(report), ledger, "\n".join(probe_lines(report))]
    return "\n\n".join(part for part in parts if part)


def probe_lines(report: Mapping[str, Any]) -> list[str]:
    """In plain words: which probe answers, why, what its probabilities are worth, what it misses.

    Nothing where there are no labels at all, or the bundle is too old to say.
    """
    probe, lines = report.get("probe"), list[str]()
    if not probe:
        return lines
    if probe["kind"] is None:
        lines.append(f"No class is answered: {probe['why']}.")
    else:
        lines.append(
            f"Deployed probe: {probe['kind']}, fitted with {probe['labelled']} labels "
            f"({probe['why']})."
        )
        lines.append(
            f"Probabilities are calibrated on labelled training images (temperature "
            f"{probe['temperature']:.3g})."
            if probe["calibrated"]
            else "Probabilities are not calibrated: there are too few labels for that (temperature "
            f"{probe['temperature']:.3g}, which suited other data)."
        )
    missing = report.get("classes_without_label")
    if missing and probe["kind"] is not None:
        named = ", ".join(missing)
        lines.append(
            f"**Never answered: {named}.** No training image of "
            f"{'this class' if len(missing) == 1 else 'these classes'} is labelled; every such "
            "image is taken for another class. Label at least one of each."
        )
    return lines


def _candidates_table(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [
        [
            row["kind"],
            cell(row, "accuracy", 3, intervals=True),
            cell(row, "log_loss", 3, intervals=False),
        ]
        for row in rows
    ]
    return "How each probe did on labelled training images that it was not fitted on:\n\n" + table(
        ["probe", "accuracy", "log-loss"], cells
    )


def verdict_line(report: Mapping[str, Any]) -> str:
    """In a few words: passed, or what is missed."""
    judgements = report["verdict"]["requirements"]
    missed = [each["requirement"] for each in judgements if each["passed"] is False]
    undecided = [each["requirement"] for each in judgements if each["passed"] is None]
    words = [f"missed {', '.join(missed)}"] if missed else []
    words += [f"undecided {', '.join(undecided)}"] if undecided else []
    outcome = "passed" if report["verdict"]["passed"] else "failed"
    return f"{outcome} ({'; '.join(words)})" if words else outcome


def requirements_table(report: Mapping[str, Any]) -> str:
    """Wanted, got and passed of each requirement."""
    marks = {True: "yes", False: "**no**", None: "undecided"}
    rows = [
        [
            each["requirement"],
            f"{each['rule']} {each['wanted']:g}",
            "-" if each["got"] is None else f"{each['got']:.4g}",
            marks[each["passed"]] + (f" ({each['why']})" if each["why"] else ""),
        ]
        for each in report["verdict"]["requirements"]
    ]
    return table(["requirement", "wanted", "got", "passed"], rows)


def ledger_table(report: Mapping[str, Any], *, intervals: bool) -> str:
    """From the teacher to the deployed files, a line each."""
    return table(*_ledger_cells(report, intervals=intervals))


def _ledger_cells(
    report: Mapping[str, Any], *, intervals: bool
) -> tuple[list[str], list[list[str]]]:
    ledger = report["ledger"]
    shown = [figure for figure in FIGURES if any(figure[0] in entry for entry in ledger)]
    headings = ["stage", *(heading for _, heading, _ in shown), "median ms", "p95 ms"]
    rows = []
    for entry in ledger:
        cells = [cell(entry, key, digits, intervals=intervals) for key, _, digits in shown]
        timing = entry.get("latency")
        times = [f"{timing[key]:.2f}" for key in ("median_ms", "p95_ms")] if timing else ["", ""]
        rows.append([entry["stage"], *cells, *times])
    return headings, rows


def table(headings: list[str], rows: list[list[str]]) -> str:
    """A Markdown table that is also readable as plain text."""
    columns = list(zip(headings, *rows, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    lines = [headings, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )


def cell(entry: Mapping[str, Any], key: str, digits: int, *, intervals: bool) -> str:
    """One figure of a ledger entry, with its interval in brackets; empty if it is not there."""
    value = entry.get(key)
    if value is None:
        return ""
    if intervals and (interval := entry.get(f"{key}_ci")):
        return f"{value:.{digits}f} ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"
    return f"{value:.{digits}f}"


def _untrained(report: Mapping[str, Any]) -> str:
    entry = {"stage": "untrained student", **report["untrained_student"]}
    student = next(each for each in report["ledger"] if each["stage"] == "student")
    return (
        "## Was it worth it?\n\nThe same student before distillation, with the same probes:\n\n"
        + ledger_table({"ledger": [entry, student]}, intervals=True)
    )


def _bullets(values: Mapping[str, Any]) -> str:
    lines = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{name} {_plain(each)}" for name, each in value.items()) or "none"
        lines.append(f"- {key}: {_plain(value)}")
    return "\n".join(lines)


def _plain(value: object) -> str:
    """A value as one would say it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    named = {None: "none", True: "yes", False: "no"}
    return named[value] if value is None or isinstance(value, bool) else str(value)


_HOW_TO_READ = """\
In brackets: 95 % bootstrap interval over held-out images.
*agrees*: same answer as the teacher's own probe. *deployed*: of the probe whose answers the file
gives, where that is not the linear one. *calibration error*: how far the file's probabilities are
from how often they are right (ECE). *log-loss*: of images whose class a label covers.
*similarity r*: how alike the cosines between images are to the teacher's. *same neighbours*: share
of the 10 nearest images shared with the teacher. *parity*: the file against the student it was
made from."""
