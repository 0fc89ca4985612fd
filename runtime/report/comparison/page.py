"""compare.html: two or more reports side by side. One file, nothing loaded, no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import UNSET, structs

from runtime.errors import InputError
from runtime.evaluation import metric_table
from runtime.report import compare, tables
from runtime.report.cells import Rows, Table, score_cell
from runtime.report.comparison import answers
from runtime.report.comparison.answers import Differing
from runtime.report.drawings import charts
from runtime.report.html_page import Drawing, environment, thumbnail
from runtime.report.view import view_of
from runtime.results.report import Report

_SHOWN = 24
"""Pictures of images answered differently, at most."""


@dataclass(frozen=True)
class Side:
    """One of the reports."""

    letter: str
    name: str
    report: Report
    said: str
    """Against the first one, in a sentence; of the first, what it is."""
    losses: Table


@dataclass(frozen=True)
class Shown:
    """An image answered differently."""

    image: str
    picture: str
    found: Differing
    kind: str
    """`lost`, `gained` or `other`."""


def render(paths: Sequence[Path], reports: Sequence[Report]) -> str:
    """Return the whole page.

    Args:
        paths: of the reports or their folders, the first one's first.
        reports: as many.

    Raises:
        InputError: there are fewer than two reports, or a bundle beside one cannot be read.
    """
    if len(reports) < 2:
        raise InputError("a page that compares needs two reports or more")
    letters = [chr(ord("A") + number) for number in range(len(reports))]
    changes = [compare.changes(reports[0], report) for report in reports]
    sides = [
        Side(
            letter,
            str(path),
            report,
            "the others are judged against it" if not number else _said(changes[number]),
            tables.losses(report.ledger, "teacher", report.noise_floor),
        )
        for number, (letter, path, report) in enumerate(zip(letters, paths, reports, strict=True))
    ]
    worse = [change.figure for found in changes for change in found if change.outcome == "worse"]
    images, note = _images(paths)
    return (
        environment()
        .get_template("compare.html")
        .render(
            sides=sides,
            worse=worse,
            notes=compare.notes(reports),
            figures=_figures(letters, reports, changes),
            drawings=_drawings(letters, reports),
            gates=_gates(letters, reports),
            made=_made(letters, reports),
            images=images[:_SHOWN],
            differing=len(images),
            note=note,
        )
    )


def _said(changes: Sequence[compare.Change]) -> str:
    titles = {metric.key: metric.title for metric in metric_table.METRICS}
    parts = []
    for outcome in ("better", "worse"):
        named = [titles[each.figure] for each in changes if each.outcome == outcome]
        parts.append(f"{outcome} in {', '.join(named)}" if named else f"{outcome} in none")
    same = sum(each.outcome == "not distinguishable" for each in changes)
    return f"{'; '.join(parts)}; not distinguishable in {same} of {len(changes)}"


def _figures(
    letters: Sequence[str], reports: Sequence[Report], changes: Sequence[Sequence[compare.Change]]
) -> Table:
    entries = [report.recommended_entry for report in reports]
    judged = [{change.figure: change for change in found} for found in changes[1:]]
    rows: Rows = [
        [
            metric.title,
            *(score_cell(metric.of(entry), metric.digits) for entry in entries),
            *(compare.outcome(found.get(metric.key)) for found in judged),
        ]
        for metric in metric_table.METRICS
        if any(metric.of(entry) is not None for entry in entries)
    ]
    against = [f"{letter} against A" for letter in letters[1:]]
    return Table.of(["figure", *letters, *against], rows)


def _drawings(letters: Sequence[str], reports: Sequence[Report]) -> list[Drawing]:
    entries = [
        structs.replace(report.recommended_entry, stage=letter)
        for letter, report in zip(letters, reports, strict=True)
    ]
    found = []
    for metric in metric_table.METRICS:
        if metric.chart is None or not any(metric.of(entry) for entry in entries):
            continue
        label = f"{metric.chart.title} of {', '.join(letters)}, with 95 % intervals"
        chart = charts.dots(entries, metric, label=label)
        found.append(Drawing(metric.chart.title, metric.chart.caption, chart))
    return found


def _gates(letters: Sequence[str], reports: Sequence[Report]) -> Table:
    views = [{each.key: each for each in view_of(report).requirements} for report in reports]
    keys = list(dict.fromkeys(key for view in views for key in view))
    rows: Rows = []
    for key in keys:
        found = [view.get(key) for view in views]
        cells = [
            "not asked" if each is None else f"{each.status}: {each.got.text or 'not measured'}"
            for each in found
        ]
        wanted = list(dict.fromkeys(each.wanted for each in found if each is not None))
        rows.append([key, " | ".join(wanted), *cells])
    return Table.of(["gate", "wanted", *letters], rows)


def _made(letters: Sequence[str], reports: Sequence[Report]) -> Table:
    """Return what the reports are of: where they differ, figures differ for that reason too."""
    rows: Rows = []
    for name, cells in (
        ("made", [_text(report.made).replace("T", " ").rstrip("Z") for report in reports]),
        ("recipe", [f"{each.recipe.name} ({(each.recipe.digest or '')[:8]})" for each in reports]),
        ("file", [report.recommended.file for report in reports]),
        ("student", ["" if r.student is UNSET else r.student.model for r in reports]),
        ("teacher", ["" if r.teacher is UNSET else r.teacher.model for r in reports]),
        ("training", [_training(report) for report in reports]),
        ("labels", [_labels(report) for report in reports]),
        ("machine", [_text(r.machine.board or r.machine.cpu or UNSET) for r in reports]),
        ("held-out images", [f"{r.golden.images} ({r.golden.digest[:8]})" for r in reports]),
    ):
        if any(cells):
            rows.append([name, *cells])
    return Table.of(["", *letters], rows)


def _training(report: Report) -> str:
    found = {} if report.training is UNSET else report.training
    epochs = f", {found['epochs']} epochs" if "epochs" in found else ""
    return f"{found['method']}{epochs}" if "method" in found else ""


def _labels(report: Report) -> str:
    if report.rounds is UNSET or not report.rounds:
        return ""
    last = report.rounds[-1]
    return f"round {last.round}: {last.labels:,} of {last.images:,} images"


def _text(value: object) -> str:
    return "" if value is UNSET else str(value)


def _images(paths: Sequence[Path]) -> tuple[list[Shown], str]:
    """Return the images that the last report's student answers otherwise, and why there is none."""
    first, last = answers.read(paths[0]), answers.read(paths[-1])
    if first is None or last is None:
        lacking = paths[0] if first is None else paths[-1]
        return [], f"Not known: beside {lacking} lies no bundle with answers of classes."
    try:
        found = answers.differing(first, last)
    except InputError as error:
        return [], f"Not comparable: {error}."
    places = [place for path in (paths[-1], paths[0]) if (place := answers.pictures(path))]
    kinds = ("lost", "gained", "other")
    shown = [
        Shown(
            each.image,
            next((seen for at in places if (seen := thumbnail(at / each.image))), "")
            if number < _SHOWN
            else "",
            each,
            kinds[each.rank],
        )
        for number, each in enumerate(found)
    ]
    return shown, f"{len(found)} of the {len(first.images)} images in the bundles."
