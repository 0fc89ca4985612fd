"""The report as report.md, and in short for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import UNSET, structs

from runtime.evaluation import metric_table
from runtime.files import write_text
from runtime.report import html_page, precision, sentences, tables
from runtime.report.view import View, requirements_table, view_of
from runtime.results.ledger import LedgerEntry
from runtime.results.report import Report, save
from runtime.results.scores import to_json

__all__ = ["markdown", "text", "verdict_line", "write"]

verdict_line = sentences.verdict


def write(report: Report, folder: Path, *, images: Path | None = None) -> None:
    """Write report.json, report.md and report.html into a folder.

    Args:
        report: what `check` found.
        folder: where to.
        images: where the golden set's images lie, for the pictures of report.html.
    """
    save(report, folder)
    write_text(folder / "report.md", markdown(report))
    write_text(folder / "report.html", html_page.render(report, images))


def text(report: Report) -> str:
    """Return the report for a terminal: requirements, and the ledger with a column per entry."""
    view = view_of(report)
    ledger = tables.ledger(report.ledger, metric_table.METRICS, intervals=False).turned()
    notes = [view.preprocessing, *sentences.probe(report)]
    notes += [doubt.markdown for doubt in view.speed.doubts]
    noted = "\n".join(note for note in notes if note)
    requirements = requirements_table(view.requirements).markdown
    return "\n\n".join(part for part in (requirements, ledger.markdown, noted) if part)


def markdown(report: Report) -> str:
    """Return the report as a page to read."""
    view = view_of(report)
    parts = [*_head(view), *_findings(view), *_making(report), *_run(report)]
    machine = {key: value for key, value in to_json(report.machine).items() if value is not None}
    return "\n\n".join([*parts, "## Machine\n\n" + sentences.bullets(machine)]) + "\n"


def _head(view: View) -> list[str]:
    """Verdict, requirements, ledger."""
    report = view.report
    elsewhere = f"; **{view.other_machine}**" if view.other_machine else ""
    recommended = f"`{report.recommended.file}` ({report.recommended.why})"
    requirements = [requirements_table(view.requirements).markdown, view.preprocessing]
    ledger = [f"**{theme}**\n\n{table.markdown}" for theme, table in view.ledger]
    return [
        f"# {report.recipe.name}: {view.verdict}",
        f"Target `{report.target.name}`{elsewhere}. Recommended: {recommended}.",
        _section("Requirements", *requirements),
        _section("Ledger", *ledger, sentences.how_to_read(report)),
    ]


def _findings(view: View) -> list[str]:
    """Losses, contamination, disagreements, classes, corruptions: where there are any."""
    found = list[str]()
    for title, table in (
        ("Loss at each step, against the entry before", view.lost_at_each_step),
        ("Loss against the teacher", view.lost_against_teacher),
    ):
        if table:
            found.append(_section(title, table.markdown, sentences.LOSSES))
    if view.contaminated:
        found.append(_section("Held-out images found in the training set", view.contaminated))
    shown = view.disagreements
    if shown.most:
        table = tables.disagreements(shown.most)
        distance = f"Distance: {shown.measure}."
        title = "Where the file differs most from the teacher"
        found.append(_section(title, table.markdown, distance))
    if shown.unsure_note:
        table = tables.disagreements(shown.unsure)
        images = table.markdown if shown.unsure else ""
        found.append(_section("Where the teacher itself is unsure", shown.unsure_note, images))
    if view.classes:
        found.append(_section("Classes", view.classes.markdown))
    if view.robustness is not None:
        families = [table.markdown for table in view.robustness.by_family]
        summary = view.robustness.summary.markdown
        found.append(_section("Corrupted images", view.robustness.note, summary, *families))
    return found


def _making(report: Report) -> list[str]:
    """The probe, speed, precisions, broken files, the search for a student."""
    found = list[str]()
    if lines := sentences.probe(report):
        candidates = tables.probe_candidates(report.probe)
        how = "How each probe did on labelled training images that it was not fitted on:"
        compared = [how, candidates.markdown] if candidates else []
        found.append(_section("Classes and probabilities", *lines, *compared))
    if speed := view_of(report).speed:
        found.append(_section("Speed", *speed.markdown))
    if lines := precision.lines(report):
        found.append(_section("Precision", *lines))
    broken = {entry.file: entry.broken for entry in report.ledger if entry.broken is not UNSET}
    if broken:
        named = {str(file): why for file, why in broken.items()}
        found.append(_section("Broken files", sentences.bullets(named)))
    if report.student_search is not UNSET:
        search = report.student_search
        why = f"`{search.chosen}`: {search.why}. Untrained, the most capable first:"
        found.append(_section("Why this student", why, tables.students(search).markdown))
    return found


def _run(report: Report) -> list[str]:
    """What only a run knows: data, training, the untrained student, times."""
    found = list[str]()
    if report.data is not UNSET and report.data:
        found.append(_section("Data", sentences.bullets(report.data)))
    if report.training is not UNSET and report.training:
        found.append(_section("Training", sentences.bullets(report.training)))
    if report.untrained_student is not UNSET:
        untrained = LedgerEntry(stage="untrained student", scores=dict(report.untrained_student))
        student = structs.replace(report.entry("student"), size_mb=UNSET)
        compared = tables.by_theme([untrained, student])
        lead = "The same student before distillation, with the same probes:"
        themes = [f"**{theme}**\n\n{table.markdown}" for theme, table in compared]
        found.append(_section("Was it worth it?", lead, *themes))
    if report.timings_s is not UNSET and report.timings_s:
        timings: Mapping[str, float] = report.timings_s
        found.append(_section("Time of each step", tables.timings(timings).markdown))
    return found


def _section(title: str, *parts: str) -> str:
    return "\n\n".join([f"## {title}", *(part for part in parts if part)])
