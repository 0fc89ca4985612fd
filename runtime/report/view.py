"""The one view of a report: what Markdown, terminal and page show, in the order of reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec import UNSET

from runtime.report import doubts, first_look, sentences, tables
from runtime.report.cells import Cell, Table
from runtime.report.sections import (
    data,
    label_next,
    precision,
    rounds,
    speed,
    students,
    training,
    worth,
)
from runtime.report.sections.speed import Speed
from runtime.report.sections.worth import Worth
from runtime.results.findings import Disagreement, Doubt
from runtime.results.report import Report, Requirement
from runtime.results.scores import to_json
from runtime.text import without_markup

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
    first_look: str
    """How faithful, how fast, how large, what is met: one sentence."""
    warnings: Sequence[Doubt]
    warnings_counted: str
    """How many; empty where there is none."""
    other_machine: str
    requirements: Sequence[RequirementView]
    not_made: Sequence[str]
    """Files that the recipe asks for and that could not be made, with why."""
    preprocessing: str
    networks: Sequence[str]
    contaminated: str
    ledger: Sequence[tuple[str, Table]]
    """Theme and table."""
    lost_at_each_step: Table
    lost_against_teacher: Table
    disagreements: DisagreementsView
    classes: Table
    robustness: RobustnessView | None
    speed: Speed
    training: Sequence[str]
    """How the student was trained; nothing where nobody knows."""
    worth: Worth | None
    """The student before training beside the trained one; None where nobody knows."""
    learning_curve: str
    """Whether the student was still getting better; empty where nobody knows."""
    student_search: Sequence[str]
    """Why this student; empty where the recipe names it."""
    students: Table
    data: Sequence[str]
    """How many images; nothing where only a check knows the report."""
    data_classes: Table
    timings: Table
    rounds: Table
    """What each round of labels gained; nothing where there was one round."""
    label_next: Sequence[str]
    precision: Sequence[str]
    made: str
    """The day, such as 29 November 2026; empty where the report does not say it."""
    machine: Sequence[str]


def view_of(report: Report) -> View:
    """Collect what every form of the report shows."""
    return View(
        report=report,
        verdict=sentences.verdict(report),
        first_look=first_look.sentence(report),
        warnings=doubts.warnings_of(report),
        warnings_counted=doubts.counted(report),
        other_machine=sentences.other_machine(report),
        requirements=[_requirement(requirement) for requirement in report.verdict.requirements],
        not_made=precision.not_made(report),
        preprocessing=sentences.preprocessing(report),
        networks=[without_markup(line) for line in sentences.networks(report)],
        contaminated=sentences.contaminated(report),
        ledger=tables.by_theme(report.ledger),
        lost_at_each_step=tables.losses(report.ledger, "before", report.noise_floor),
        lost_against_teacher=tables.losses(report.ledger, "teacher", report.noise_floor),
        disagreements=_disagreements(report),
        classes=tables.classes([] if report.per_class is UNSET else report.per_class),
        robustness=_robustness(report),
        speed=speed.speed_of(report),
        training=_training(report),
        worth=worth.worth_of(report),
        learning_curve=_learning_curve(report),
        student_search=[without_markup(line) for line in students.sentences(report.student_search)]
        if report.student_search is not UNSET
        else [],
        students=Table.of([], [])
        if report.student_search is UNSET
        else students.candidates_table(report.student_search),
        data=sentences.named(data.counts(report)),
        data_classes=data.classes(report),
        timings=tables.timings({} if report.timings_s is UNSET else report.timings_s),
        rounds=rounds.table(report.rounds),
        label_next=label_next.lines(report),
        precision=precision.lines(report),
        made=sentences.day(report.made),
        machine=sentences.named(
            {key: value for key, value in to_json(report.machine).items() if value is not None}
        ),
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


def _training(report: Report) -> Sequence[str]:
    found = report.training
    if found is UNSET:
        return []
    said, others = training.lines(found)
    return [*said, *sentences.named(others)]


def _learning_curve(report: Report) -> str:
    found = report.learning_curve
    return "" if found is UNSET else sentences.learning_curve(found)


def _robustness(report: Report) -> RobustnessView | None:
    found = report.robustness
    if found is UNSET:
        return None
    return RobustnessView(
        sentences.robustness(found), tables.robustness(found.lines), tables.by_family(found)
    )
