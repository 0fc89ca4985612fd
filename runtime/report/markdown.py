"""The report as report.md, and in short for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import UNSET

from runtime.evaluation import metric_table
from runtime.files import write_text
from runtime.images.image_file import ImageRoot
from runtime.report import html_page, sentences, tables
from runtime.report.sections import precision, rounds, students
from runtime.report.sections import worth as worth_words
from runtime.report.sections.worth import Worth
from runtime.report.view import View, requirements_table, view_of
from runtime.results.report import Report, save
from runtime.text import in_code, inert, without_markup

__all__ = ["markdown", "text", "verdict_line", "write"]

verdict_line = sentences.verdict


def write(report: Report, folder: Path, *, images: ImageRoot | None = None) -> None:
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
    notes = [*view.not_made, view.preprocessing, *sentences.probe(report)]
    notes += [f"Gap still closing? {view.learning_curve}" if view.learning_curve else ""]
    doubts = [*view.speed.doubts, *view.warnings]
    notes += [doubt.markdown for doubt in doubts]
    noted = "\n".join(note for note in notes if note)
    requirements = requirements_table(view.requirements).markdown
    worth = f"Was it worth it?\n\n{view.worth.brief.markdown}" if view.worth else ""
    first = without_markup(view.first_look)
    parts = (first, requirements, ledger.markdown, worth, noted)
    return "\n\n".join(part for part in parts if part)


def markdown(report: Report) -> str:
    """Return the report as a page to read."""
    view = view_of(report)
    parts = [*_head(view), *_findings(view), *_making(report), *_run(view)]
    machine = "\n".join(f"- {line}" for line in view.machine)
    return "\n\n".join([*parts, "## Machine\n\n" + machine]) + "\n"


def _head(view: View) -> list[str]:
    """Verdict, warnings, requirements, ledger."""
    report = view.report
    elsewhere = f"; **{view.other_machine}**" if view.other_machine else ""
    recommended = f"`{in_code(report.recommended.file)}` ({report.recommended.why})"
    requirements = [requirements_table(view.requirements).markdown, view.preprocessing]
    said = [doubt.markdown for doubt in view.warnings]
    ledger = [f"**{theme}**\n\n{table.markdown}" for theme, table in view.ledger]
    made = [f"Made on {view.made}."] if view.made else []
    return [
        f"# {inert(report.recipe.name)}: {view.verdict}",
        view.first_look,
        *made,
        f"Target `{in_code(report.target.name)}`{elsewhere}. Recommended: {recommended}.",
        *([_section("Warnings", *said)] if said else []),
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
            found.append(_section(title, table.markdown, sentences.losses(view.report)))
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
    if view.label_next:
        lines = "\n".join(f"- {line}" for line in view.label_next)
        found.append(_section("What to label next", lines))
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
        lines, table = students.sentences(search), students.candidates_table(search).markdown
        found.append(_section("Why this student", *lines, table))
    return found


def _run(view: View) -> list[str]:
    """What only a run knows: data, networks, training and what it was worth, times."""
    report, found = view.report, list[str]()
    if report.data is not UNSET and report.data:
        found.append(_section("Data", sentences.bullets(report.data)))
    if view.rounds:
        found.append(_section("Rounds of labels", view.rounds.markdown, rounds.HOW_TO_READ))
    if lines := sentences.networks(report):
        found.append(_section("Networks", *lines))
    if view.training:
        found.append(_section("Training", "\n".join(f"- {line}" for line in view.training)))
    if (worth := view.worth) is not None:
        found.append(_section("Was it worth it?", *_worth(worth)))
    if report.learning_curve is not UNSET:
        said, curve = view.learning_curve, tables.learning_curve(report.learning_curve)
        parts = (said, curve.markdown, sentences.CURVE_END)
        found.append(_section("Was the gap still closing?", *parts))
    if report.timings_s is not UNSET and report.timings_s:
        timings: Mapping[str, float] = report.timings_s
        found.append(_section("Time of each step", tables.timings(timings).markdown))
    return found


def _worth(worth: Worth) -> list[str]:
    """The student before training and after it."""
    themes = [f"**{theme}**\n\n{table.markdown}" for theme, table in worth.themes]
    gained = [worth.gained.markdown, worth_words.RULE] if worth.gained else []
    return [worth.lead, " ".join(worth.compared), *themes, *gained]


def _section(title: str, *parts: str) -> str:
    return "\n\n".join([f"## {title}", *(part for part in parts if part)])
