"""The report: one JSON document for programs, one Markdown page for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.files import write_text
from runtime.images import preprocessing_check
from runtime.report import html_page, precision_page, sections, speed_page
from runtime.report.tables import FIGURES, cell, ledger_cells, ledger_table, themed_ledger
from runtime.results.report import Report, save
from runtime.results.scores import to_json
from runtime.text import table

__all__ = [
    "FIGURES",
    "cell",
    "ledger_table",
    "markdown",
    "probe_lines",
    "requirements_table",
    "table",
    "text",
    "verdict_line",
    "write",
]


def write(found: Report, folder: Path, *, images: Path | None = None) -> None:
    """Write report.json, report.md and report.html into a folder.

    Args:
        found: what `check` found.
        folder: where to.
        images: where the golden set's images lie, for the pictures of report.html.
    """
    save(found, folder)
    write_text(folder / "report.md", markdown(found))
    write_text(folder / "report.html", html_page.render(found, images))


def markdown(found: Report) -> str:
    """The report as a page to read."""
    report = to_json(found)
    recipe, target = report["recipe"], report["target"]
    parts = [
        f"# {recipe['name']}: {verdict_line(found)}",
        f"Target `{target['name']}`"
        + ("." if target["this_machine"] else "; **this machine is not it**: latency is of here.")
        + f" Recommended: `{report['recommended']['file']}` ({report['recommended']['why']}).",
        "## Requirements\n\n" + "\n\n".join([requirements_table(report), *contract_lines(report)]),
        "## Ledger\n\n" + themed_ledger(report) + "\n\n" + _HOW_TO_READ,
        *sections.markdown(report),
    ]
    if lines := probe_lines(report):
        parts.append("## Classes and probabilities\n\n" + "\n\n".join(lines))
        if rows := report["probe"].get("candidates"):
            parts.append(_candidates_table(rows))
    if told := speed_page.lines(report):
        parts.append("## Speed\n\n" + "\n\n".join(told))
    if told := precision_page.lines(report):
        parts.append("## Precision\n\n" + "\n\n".join(told))
    broken = {each["file"]: each["broken"] for each in report["ledger"] if "broken" in each}
    if broken:
        parts.append("## Broken files\n\n" + _bullets(broken))
    if searched := report.get("student_search"):
        parts.append("## Why this student\n\n" + _searched(searched))
    if data := report.get("data"):
        parts.append("## Data\n\n" + _bullets(data))
    if training := report.get("training"):
        parts.append("## Training\n\n" + _bullets(training))
    if "untrained_student" in report:
        parts.append(_untrained(report))
    if timings := report.get("timings_s"):
        rows = [[stage, f"{seconds:.1f}"] for stage, seconds in timings.items()]
        parts.append("## Time of each stage\n\n" + table(["stage", "seconds"], rows))
    machine = {key: value for key, value in report["machine"].items() if value is not None}
    parts.append("## Machine\n\n" + _bullets(machine))
    return "\n\n".join(parts) + "\n"


def text(found: Report) -> str:
    """The report for a terminal: requirements, and the ledger with a column for each stage."""
    report = to_json(found)
    headings, rows = ledger_cells(report, intervals=False)
    first, *columns = zip(headings, *rows, strict=True)
    ledger = table(list(first), [list(column) for column in columns])
    told = [*contract_lines(report), *probe_lines(report), *speed_page.warnings(report)]
    parts = [requirements_table(report), ledger, "\n".join(told)]
    return "\n\n".join(part for part in parts if part)


def contract_lines(report: Mapping[str, Any]) -> list[str]:
    """Where the preprocessing differs from the desk's, if it does."""
    levels = report.get("preprocess_max_difference_levels")
    line = preprocessing_check.told(report.get("preprocess_contract"), levels)
    return [line] if line else []


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


def verdict_line(found: Report) -> str:
    """In a few words: passed, or what is missed."""
    report = to_json(found)
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


def _untrained(report: Mapping[str, Any]) -> str:
    entry = {"stage": "untrained student", **report["untrained_student"]}
    student = next(each for each in report["ledger"] if each["stage"] == "student")
    return (
        "## Was it worth it?\n\nThe same student before distillation, with the same probes:\n\n"
        + themed_ledger({"ledger": [entry, student]})
    )


def _searched(found: Mapping[str, Any]) -> str:
    rows = [
        [
            each["model"],
            f"{each['size_mb']:.2f}",
            "" if each["p95_ms"] is None else f"{each['p95_ms']:.2f}",
            "yes" if each["fits"] else "no",
        ]
        for each in found["measured"]
    ]
    heading = f"`{found['chosen']}`: {found['why']}. Untrained, the most capable first:\n\n"
    return heading + table(["model", "MB", "p95 ms", "fits"], rows)


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
gives, where that is not the linear one. *probability distance*: total variation between the
calibrated probabilities of the file and of the teacher's own probe, 0 to 1; *JSD*: their
Jensen-Shannon divergence in bits. *calibration error*: how far the file's probabilities are
from how often they are right (ECE). *log-loss*: of images whose class a label covers.
*similarity r*: how alike the cosines between images are to the teacher's; *cosine MAE*: how far
apart they are on average. *CKA*: linear, debiased. *cosine after turning*: of each image's
embedding with the teacher's, after the best orthogonal map, fitted on training images. *same
neighbours*: share of the 10 nearest images shared with the teacher. *parity*: the file against the
student it was made from. *OOD*: telling images that are not of the task, by the cosine to the
nearest training image (the default), by Mahalanobis distance, by energy."""
