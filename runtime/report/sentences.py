"""Sentences of the report, in plain words; they are the same in every form of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import UNSET, UnsetType

from runtime.evaluation import metric_table
from runtime.report import doubts, tables
from runtime.report.cells import score_cell
from runtime.results.findings import Robustness, TeacherUnsure
from runtime.results.making import LearningCurve
from runtime.results.report import NetworkOrigin, Report
from runtime.text import inert

_LOSSES = (
    "Above zero: worse. Intervals come from a paired bootstrap, with the same images for every "
    "entry; one that holds zero shows no loss on these images."
)

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip

CURVE_END = (
    "The learning rate falls to 1 % of its highest value, so the end of every curve is flat; that "
    "is why the epochs from a third on are judged together."
)


def verdict(report: Report) -> str:
    """In a few words: the outcome, how many warnings, what is missed or undecided."""
    judged = report.verdict.requirements
    missed = [requirement.requirement for requirement in judged if requirement.passed is False]
    undecided = [requirement.requirement for requirement in judged if requirement.passed is None]
    words = [f"missed {', '.join(missed)}"] if missed else []
    named = ", ".join(undecided)
    words += [f"undecided {named}" if missed else named] if undecided else []
    if undecided and report.verdict.passed:
        words.append("counts as met by require.undecided")
    outcome = ", ".join(part for part in (report.verdict.outcome, doubts.counted(report)) if part)
    return f"{outcome} ({'; '.join(words)})" if words else outcome


def day(made: str | UnsetType) -> str:
    """Return the day of a time such as `2026-11-29T20:15:00Z`: 29 November 2026."""
    try:
        when = datetime.fromisoformat("" if made is UNSET else made.removesuffix("Z"))
    except ValueError:
        return ""
    return f"{when.day} {_MONTHS[when.month - 1]} {when.year}"


def losses(report: Report) -> str:
    """How a table of losses is read, and what its noise floor is."""
    floor = report.noise_floor
    if floor is UNSET:
        return _LOSSES
    return (
        f"{_LOSSES} The last line is the noise floor: {floor.stage} built a second time, "
        f"{floor.builds}. A difference that is no larger is no loss, and is marked so."
    )


def other_machine(report: Report) -> str:
    """Whose latencies these are, if this machine is not the target; else nothing."""
    if report.target.this_machine:
        return ""
    return "this machine is not the target; latencies were measured on this machine"


def contaminated(report: Report) -> str:
    """Which held-out images were found in the training set; nothing if none was."""
    seen = report.golden.set_apart_as_seen_in_training
    if not seen:
        return ""
    shown = ", ".join(map(inert, seen[:10])) + (
        f" and {len(seen) - 10} more" if len(seen) > 10 else ""
    )
    return (
        f"{len(seen)} held-out images are left out of every score: the teacher cannot tell them "
        f"from training images. {shown}."
    )


def preprocessing(report: Report) -> str:
    """Where the preprocessing differs from the training machine's; nothing if it does not."""
    found, levels = report.preprocess_contract, report.preprocess_max_difference_levels
    if found is None or found.first_difference is None:
        return ""
    largest = "" if levels is None else f"; after resize and crop by up to {levels} of 255 levels"
    return (
        "**Preprocessing differs from the training machine**, first in the step "
        f"`{found.first_difference}`: "
        f"in {len(found.differ)} of {found.images} images{largest}."
    )


def teacher_unsure(found: TeacherUnsure) -> str:
    """On how many images the teacher is unsure, and how often the file agrees there."""
    if not found.images:
        return f"On no image is the teacher's calibrated probability under {found.below:g}."
    sentence = (
        f"On {found.images} images the teacher's answer has a calibrated probability under "
        f"{found.below:g}. The file gives the same answer on "
        f"{score_cell(found.agreement_where_unsure)} of them"
    )
    if found.agreement_where_sure is not UNSET:
        sentence += f", and on {score_cell(found.agreement_where_sure)} of the others"
    return sentence + "."


def robustness(found: Robustness) -> str:
    """What was done to how many images, and what the columns are."""
    return (
        f"{found.name}: {found.images} held-out images, each with {', '.join(found.families)} at "
        f"{len(found.severities)} severities. *accuracy* and *agreement* are of the deployed "
        "probe, over all of them; "
        "a *drop* is against the same images without corruption. *stability*: cosine of an image's "
        "embedding before and after, both minus the mean of the training images."
    )


def probe(report: Report) -> list[str]:
    """Which probe answers and why, what its probabilities are worth, what it never answers.

    Nothing where there are no labels at all, or the bundle is too old to say.
    """
    found = report.probe
    if found is None:
        return []
    if found.kind is None:
        return [f"No class is answered: {found.why}."]
    temperature = f"temperature {found.temperature or 1:.3g}"
    calibrated = f"Probabilities are calibrated on labelled training images ({temperature})."
    if not found.calibrated:
        calibrated = (
            "Probabilities are not calibrated: there are too few labels for that "
            f"({temperature}, which suited other data)."
        )
    chosen = f"Deployed probe: {found.kind}, fitted with {found.labelled} labels ({found.why})."
    return [chosen, calibrated, *_never_answered(report.classes_without_label)]


def _never_answered(missing: Sequence[str]) -> list[str]:
    if not missing:
        return []
    which = "this class" if len(missing) == 1 else "these classes"
    names = ", ".join(map(inert, missing))
    return [
        f"**Never answered: {names}.** No training image of {which} is labelled; every such image "
        "is taken for another class. Label at least one of each."
    ]


def learning_curve(found: LearningCurve) -> str:
    """Whether the gap to the teacher was still closing when the training ended, and the advice."""
    score = tables.validation_score(found.score)
    whole = found.epochs[-1]
    span = f"the last {found.last} of {whole} epochs"
    if found.last == whole:
        span = f"{whole} epochs" if whole > 1 else "one epoch"
    gained = ""
    if found.rise is not UNSET:
        gained = f"the {score} changed by {score_cell(found.rise, signed=True)} over {span}"
    said = {
        "rising": "Yes",
        "flat": "No",
        "falling": "No, it was opening again",
        "undecided": "Undecided",
    }[found.verdict]
    known = f"{said}: {gained}" if gained else f"{said} after {span}"
    level = "" if found.reached is UNSET else f", and epoch {found.reached} was as good as these"
    return f"{known}{level}; {found.advice}."


def networks(report: Report) -> list[str]:
    """Which networks, and where their weights come from; as far as the report says it."""
    found = {"teacher": report.teacher, "student": report.student}
    return [
        f"{role.capitalize()}: `{network.model}`, {_weights(network, role)}."
        for role, network in found.items()
        if network is not UNSET
    ]


def _weights(network: NetworkOrigin, role: str) -> str:
    if network.weights == "none":
        return "distilled from scratch, without pretrained weights"
    start = "weights" if role == "teacher" else "distilled from weights"
    named = network.hub_id or network.package or f"`{network.weights}`"
    licence = f" ({network.license})" if network.license else ""
    part = f"; of that file {inert(network.part)}" if network.part else ""
    return f"{start}: {named}{licence}{part}"


def how_to_read(report: Report) -> str:
    """What each metric that this report has means."""
    explained = [
        f"- *{metric.title}*: {metric.explanation}."
        for metric in metric_table.METRICS
        if any(metric.of(entry) for entry in report.ledger)
    ]
    lead = "In brackets: 95 % bootstrap interval over held-out images."
    return lead + "\n\n" + "\n".join(explained)


def bullets(values: Mapping[str, object]) -> str:
    """A list of names and values."""
    return "\n".join(f"- {line}" for line in named(values))


def named(values: Mapping[str, object]) -> list[str]:
    """Names and values, a line each."""
    return [f"{inert(key)}: {_plain(value)}" for key, value in values.items()]


def _plain(value: object) -> str:
    """A value in words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{inert(name)} {_plain(held)}" for name, held in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value is None else inert(str(value))
