"""The one view of a report: what Markdown, terminal and page show, in the order of reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec import UNSET

from runtime.report import sentences, speed, tables
from runtime.report.cells import Cell, Table
from runtime.report.speed import Speed
from runtime.results.findings import Disagreement
from runtime.results.report import Report, Requirement

Status = Literal["met", "missed", "undecided"]


@dataclass(frozen=True)
class RequirementView:
    """A requirement as it is shown."""

    key: str
    wanted: str
    got: Cell
    status: Status
    why: str


@dataclass(frozen=True)
class DisagreementsView:
    """The images on which the file differs most from the teacher."""

    measure: str
    most: Sequence[Disagreement]
    unsure_note: str
    """Empty where there are no labels."""
    unsure: Sequence[Disagreement]

    def __bool__(self) -> bool:
        """True if there is anything to show."""
        return bool(self.most or self.unsure_note)


@dataclass(frozen=True)
class RobustnessView:
    """What corruptions do."""

    note: str
    summary: Table
    by_family: Sequence[Table]


@dataclass(frozen=True)
class View:
    """A report, ready to be shown."""

    report: Report
    verdict: str
    other_machine: str
    requirements: Sequence[RequirementView]
    preprocessing: str
    contaminated: str
    ledger: Sequence[tuple[str, Table]]
    """Theme and table."""
    lost_at_each_step: Table
    lost_against_teacher: Table
    disagreements: DisagreementsView
    classes: Table
    robustness: RobustnessView | None
    speed: Speed


def view_of(report: Report) -> View:
    """Collect what every form of the report shows."""
    return View(
        report=report,
        verdict=sentences.verdict(report),
        other_machine=sentences.other_machine(report),
        requirements=[_requirement(requirement) for requirement in report.verdict.requirements],
        preprocessing=sentences.preprocessing(report),
        contaminated=sentences.contaminated(report),
        ledger=tables.by_theme(report.ledger),
        lost_at_each_step=tables.losses(report.ledger, "before"),
        lost_against_teacher=tables.losses(report.ledger, "teacher"),
        disagreements=_disagreements(report),
        classes=tables.classes([] if report.per_class is UNSET else report.per_class),
        robustness=_robustness(report),
        speed=speed.speed_of(report),
    )


def requirements_table(requirements: Sequence[RequirementView]) -> Table:
    """Return what was wanted and got for each requirement, and whether it is met."""
    marks = {"met": "yes", "missed": "**no**", "undecided": "undecided"}
    return Table.of(
        ["requirement", "wanted", "got", "passed"],
        [
            [
                requirement.key,
                requirement.wanted,
                requirement.got.text or "-",
                Cell(marks[requirement.status], requirement.why),
            ]
            for requirement in requirements
        ],
    )


def _requirement(judged: Requirement) -> RequirementView:
    statuses: dict[bool | None, Status] = {True: "met", False: "missed", None: "undecided"}
    got = Cell("" if judged.got is None else f"{judged.got:.4g}")
    if judged.interval is not None:
        got = Cell(got.text, "{:.3f} to {:.3f}".format(*judged.interval))
    wanted = f"{judged.rule} {judged.wanted:g}"
    return RequirementView(judged.requirement, wanted, got, statuses[judged.passed], judged.why)


def _disagreements(report: Report) -> DisagreementsView:
    found = report.departures
    if found is UNSET or found.most is UNSET or found.measure is UNSET:
        return DisagreementsView("", [], "", [])
    unsure = found.teacher_unsure
    if unsure is UNSET:
        return DisagreementsView(found.measure, found.most, "", [])
    note = sentences.teacher_unsure(unsure)
    return DisagreementsView(found.measure, found.most, note, unsure.most)


def _robustness(report: Report) -> RobustnessView | None:
    found = report.robustness
    if found is UNSET:
        return None
    return RobustnessView(
        sentences.robustness(found), tables.robustness(found.lines), tables.by_family(found)
    )
