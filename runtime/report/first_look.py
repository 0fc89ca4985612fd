"""What a reader sees in five seconds: one sentence, and one drawing of every file and network."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from runtime.evaluation.metric_table import Metric
from runtime.evaluation.recommend import faithfulness
from runtime.report.drawings.scatter import WIDE, Point, ScatterChart, scatter
from runtime.report.sections.worth import EARLIER, Worth
from runtime.results.ledger import LedgerEntry
from runtime.results.report import ALWAYS_JUDGED, Report
from runtime.results.scores import Score
from runtime.text import inert

_ITSELF = Score(1.0, 1.0, 1.0)
"""The teacher's agreement, or correlation, with itself."""
_ANSWERS = "agreement_"
_SIMILARITIES = "similarity_correlation"


def sentence(report: Report) -> str:
    """In Markdown: how faithful, fast and large the recommended file is, and what is met."""
    file = report.recommended_entry
    if file.broken is not UNSET:
        return f"**Your student cannot be used:** {inert(file.broken)}."
    facts = [_faithful(report, file), _speed(report, file), _size(file)]
    return f"{', '.join(fact for fact in facts if fact)}; {_requirements(report)}."


def chart(report: Report, worth: Worth | None, width: int = WIDE) -> ScatterChart | None:
    """Return faithfulness against p95; None where the recommended file has neither.

    Args:
        report: of a run or of a check.
        worth: the student before training, which is drawn where the first file lies: it is the same
            network.
        width: in pixels.
    """
    metric, best = _metric(report), report.recommended_entry
    if metric is None or best.latency is UNSET or best.broken is not UNSET:
        return None
    points = [
        Point(entry.stage, _kind(entry, best), entry.latency.p95_ms, score, _mb(entry))
        for entry in report.ledger
        if entry.latency is not UNSET and entry.broken is UNSET
        and (score := _score(entry, metric)) is not None
    ]  # fmt: skip
    points += _earlier(report, worth, metric)
    limits = {each.requirement: float(each.wanted) for each in report.verdict.requirements}
    return scatter(
        points,
        label=f"{metric.title} against p95 in milliseconds",
        unit="p95 ms",
        at_most=limits.get("latency_p95_ms"),
        at_least=limits.get(metric.key if metric.key == _SIMILARITIES else "agreement"),
        width=width,
    )


def caption(report: Report, drawn: ScatterChart) -> tuple[str, str]:
    """Return title and caption of the drawing."""
    metric = _metric(report)
    if metric is None:
        raise ValueError("nothing was drawn")
    said = [f"{metric.explanation.capitalize()}. Area of a dot: MB."]
    if any(spot.hollow for spot in drawn.spots):
        said.append("Hollow: before training, at the latency of the first file.")
    said.append("Line through it: 95 % interval over images.")
    if drawn.at_most is not None or drawn.at_least is not None:
        said.append("Broken lines: what is required.")
    return f"{_upper(metric.title)} by milliseconds", " ".join(said)


def _metric(report: Report) -> Metric | None:
    """The metric that files are recommended by, where it compares with the teacher."""
    metric = faithfulness([report.recommended_entry])
    told = metric.key.startswith(_ANSWERS) or metric.key == _SIMILARITIES
    return metric if told and metric.of(report.recommended_entry) is not None else None


def _faithful(report: Report, file: LedgerEntry) -> str:
    metric, images = _metric(report), report.golden.images
    score = None if metric is None else metric.of(file)
    if metric is None or score is None:
        return f"How far your student follows its teacher is not known from {images} images"
    if metric.key.startswith(_ANSWERS):
        low, high = f"{100 * score.low:.1f}", f"{100 * score.high:.1f}"
        return (
            f"Your student answers as the teacher does on **{100 * score.value:.1f} %** "
            f"({low} to {high}) of {images} held-out images"
        )
    return (
        "The similarities that your student sees between images follow the teacher's with a "
        f"correlation of **{score.value:.3f}** on {images} held-out images "
        f"({score.low:.3f} to {score.high:.3f})"
    )


def _speed(report: Report, file: LedgerEntry) -> str:
    if file.latency is UNSET:
        return "its latency was not measured"
    teacher, machine = report.entry("teacher").latency, report.machine
    on = inert(machine.board or machine.cpu or "this machine")
    beside = "" if teacher is UNSET else f", where the teacher takes {_ms(teacher.p95_ms)}"
    return f"in **{_ms(file.latency.p95_ms)}** (p95) on {on}{beside}"


def _size(file: LedgerEntry) -> str:
    return "" if file.size_mb is UNSET else f"with **{file.size_mb:.1f} MB**"


def _requirements(report: Report) -> str:
    judged = [
        each
        for each in report.verdict.requirements
        if each.requirement not in ALWAYS_JUDGED or not each.passed
    ]
    if not judged:
        return "no requirement set"
    missed = [each.requirement for each in judged if each.passed is False]
    undecided = [each for each in judged if each.passed is None]
    met = len(judged) - len(missed) - len(undecided)
    said = f"{met} of {len(judged)} requirements met"
    if missed:
        said += f", {len(missed)} missed ({', '.join(missed)})"
    if undecided:
        # The list of requirements has all of it
        why = undecided[0].why.partition(";")[0].partition(":")[0]
        named = ", ".join(each.requirement for each in undecided)
        said += f", {len(undecided)} undecided ({named}) because {inert(why)}"
    return said


def _earlier(report: Report, worth: Worth | None, metric: Metric) -> Sequence[Point]:
    """The student before training, as far as it has this score."""
    timed = [each for each in report.ledger if each.file is not UNSET and each.latency is not UNSET]
    if worth is None or not timed or timed[0].latency is UNSET:
        return []
    cost, size = timed[0].latency.p95_ms, _mb(timed[0])
    return [
        Point(entry.stage, "before", cost, score, size, hollow=True)
        for entry in worth.entries
        if entry.stage in EARLIER and (score := metric.of(entry)) is not None
    ]


def _kind(entry: LedgerEntry, best: LedgerEntry) -> str:
    if entry is best:
        return "deployed"
    return "teacher" if entry.stage == "teacher" else "student"


def _score(entry: LedgerEntry, metric: Metric) -> Score | None:
    return _ITSELF if entry.stage == "teacher" else metric.of(entry)


def _mb(entry: LedgerEntry) -> float:
    return 0.0 if entry.size_mb is UNSET else entry.size_mb


def _ms(value: float) -> str:
    return f"{value:.3g} ms" if value < 100 else f"{value:.0f} ms"


def _upper(words: str) -> str:
    return words[0].upper() + words[1:]
