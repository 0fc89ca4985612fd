"""What distillation was worth: the student before it beside the student after it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from msgspec import UNSET

from runtime.evaluation import metric_table
from runtime.evaluation.metric_table import Metric
from runtime.report import tables
from runtime.report.cells import Rows, Table, score_cell
from runtime.results.findings import Doubt
from runtime.results.ledger import LedgerEntry
from runtime.results.report import Report
from runtime.results.scores import Score

RAW, CLOSED_FORM, UNTRAINED = "raw", "closed_form", "untrained"
"""Keys of report.json: what the student was before training."""

RULE = (
    "Better or worse: the whole 95 % interval of the difference is on one side of zero. It comes "
    "from a paired bootstrap, with the same images for both. Above zero: the student is better."
)
JUDGED = ("accuracy_knn", "accuracy_linear", "accuracy_probe", "agreement_knn",
           "agreement_linear", "agreement_probe", "similarity_correlation",
           "neighbour_overlap_at_10", "ood_auroc")  # fmt: skip
_STAGES = {RAW: "raw features", CLOSED_FORM: "closed form", UNTRAINED: "untrained student"}
EARLIER = tuple(_STAGES.values())
"""Names of the student before training, as a report shows them."""
_NAMES = {
    RAW: "its raw features",
    CLOSED_FORM: "its closed form",
    UNTRAINED: "the student before it, with random weights",
}
_LEADS = {
    RAW: "*Raw features* are what the student's backbone gave with the weights that it came with.",
    CLOSED_FORM: "The *closed form* is its embedding layer, solved without a step of training.",
    UNTRAINED: "The same student before distillation, with random weights.",
}
_ALONE = "The *student* is its closed form, because `distill.epochs` is 0."
_PROBES = "Each has its own probes, fitted on the same labels."
_LONGER = "a longer training (`distill.patience: 3x`, or more `distill.epochs`)"


@dataclass(frozen=True)
class Worth:
    """The student before and after distillation."""

    lead: str
    entries: Sequence[LedgerEntry]
    """The earlier ones, the student, the teacher."""
    metrics: Sequence[Metric]
    """Those that are judged and that an earlier one has a score of."""
    themes: Sequence[tuple[str, Table]]
    """Theme and table: a score a row, an entry a column."""
    brief: Table
    """The same metrics, without intervals."""
    compared: Sequence[str]
    """A sentence for each earlier one; none where a report has no differences."""
    gained: Table
    """Those differences, with `RULE` to read them by."""


def worth_of(report: Report) -> Worth | None:
    """Collect what a report says of the student before training.

    Returns:
        None where it says nothing, or nothing that is judged: two held-out images have no scores.
    """
    before = _before(report)
    metrics = _judged(before.values())
    if not metrics:
        return None
    teacher = report.entry("teacher")
    earlier = [
        LedgerEntry(stage=_STAGES[name], scores=dict(scores)) for name, scores in before.items()
    ]
    alone = _alone(before)
    leads = [*(_LEADS[name] for name in before), *([_ALONE] if alone else []), _PROBES]
    gains = _gains(report, before)
    compared = [_compared(name, each) for name, each in gains.items()]
    known = {key for scores in before.values() for key in scores}
    entries = [_with(entry, known) for entry in (*earlier, report.entry("student"), teacher)]
    return Worth(
        lead=" ".join(leads),
        entries=entries,
        metrics=metrics,
        themes=[(theme, _turned(table)) for theme, table in tables.by_theme(entries)],
        brief=_turned(tables.ledger(entries, metrics, intervals=False)),
        compared=compared,
        gained=_gained(gains),
    )


def _before(report: Report) -> dict[str, Mapping[str, Score]]:
    """Scores of the student before training, the earliest first."""
    if report.untrained_student is not UNSET:
        return {UNTRAINED: report.untrained_student}
    found = {} if report.before_training is UNSET else report.before_training
    return {name: found[name] for name in (RAW, CLOSED_FORM) if name in found}


def _gains(report: Report, before: Collection[str]) -> dict[str, Mapping[str, Score]]:
    """What the student gained over each of the earlier ones, where the report says it."""
    gained = {} if report.gained is UNSET else report.gained
    return {name: gained[name] for name in before if _judged([gained.get(name, {})])}


def _alone(before: Collection[str]) -> bool:
    """Whether the student is its closed form."""
    return RAW in before and CLOSED_FORM not in before


def _judged(found: Iterable[Mapping[str, Score]]) -> list[Metric]:
    """Return the judged metrics that any of these scores has."""
    known = {key for scores in found for key in scores}
    return [each for each in metric_table.METRICS if each.key in JUDGED and each.key in known]


def _with(entry: LedgerEntry, known: Collection[str]) -> LedgerEntry:
    """Return an entry with the scores alone that an earlier one has too."""
    scores = {key: score for key, score in entry.scores.items() if key in known}
    return LedgerEntry(stage=entry.stage, scores=scores)


def _turned(table: Table) -> Table:
    turned = table.turned()
    return Table(("score", *turned.headings[1:]), turned.rows)


# --- in sentences ----------------------------------------------------------------------------


def split(gains: Mapping[str, Score]) -> tuple[list[Metric], list[Metric], list[Metric]]:
    """Return by which metrics the student is better, by which worse, and where neither shows."""
    better, worse, neither = list[Metric](), list[Metric](), list[Metric]()
    for metric in _judged([gains]):
        gain = gains[metric.key]
        (better if gain.low > 0 else worse if gain.high < 0 else neither).append(metric)
    return better, worse, neither


def _compared(name: str, gains: Mapping[str, Score]) -> str:
    words = ("is better in", "is worse in", "shows no difference in")
    kinds = zip(words, split(gains), strict=True)
    said = [f"{kind} {', '.join(each.title for each in found)}" for kind, found in kinds if found]
    return f"Against {_NAMES[name]}, the student {'; '.join(said)}."


def _gained(gains: Mapping[str, Mapping[str, Score]]) -> Table:
    """Return a metric a row, and a column for each of the earlier ones."""
    rows: Rows = [
        [metric.title, *(score_cell(each.get(metric.key), signed=True) for each in gains.values())]
        for metric in _judged(gains.values())
    ]
    return Table.of(["student's gain", *(f"over {_NAMES[name]}" for name in gains)], rows)


def _worse(gains: Mapping[str, Score]) -> str:
    """Return by which metrics an earlier one is better, and by how much."""
    return ", ".join(
        f"{metric.title} {score_cell(Score(-lost.value, -lost.high, -lost.low))}"
        for metric in split(gains)[1]
        for lost in [gains[metric.key]]
    )


def doubts(report: Report) -> tuple[Doubt, ...]:
    """Tell where an earlier student was better, and where training changed nothing."""
    before = _before(report)
    gains, alone, found = _gains(report, before), _alone(before), list[Doubt]()
    worse = {name: _worse(each) for name, each in gains.items()}
    if where := worse.get(RAW):
        longer = "training (`distill.epochs` above 0)" if alone else _LONGER
        found.append(
            Doubt(
                "worse_than_raw_features",
                "The raw features are better than the student",
                f"by {where}. More images help (they need no labels), a wider "
                f"`student.embedding`, or {longer}. `distill.method: supervised` with "
                "`distill.epochs: 0` keeps the raw features' own angles instead; it needs labels.",
            )
        )
    training = {} if report.training is UNSET else report.training
    if not alone and CLOSED_FORM in gains and training.get("kept_epoch") == 0:
        found.append(
            Doubt(
                "no_epoch_better_than_closed_form",
                "No epoch was better than the closed form",
                "on the validation images, so the closed form was kept. `distill.epochs: 0` gives "
                f"the same at once; a lower `distill.lr` or {_LONGER} may go on from it.",
            )
        )
    elif where := worse.get(CLOSED_FORM):
        found.append(
            Doubt(
                "worse_than_closed_form",
                "Training made the student worse than its closed form",
                f"by {where}. `distill.epochs: 0` keeps the closed form; a lower `distill.lr` "
                "changes it less.",
            )
        )
    if where := worse.get(UNTRAINED):
        found.append(
            Doubt(
                "worse_than_untrained",
                "Distillation made the student worse",
                f"than it was with random weights, by {where}. More images help, or {_LONGER}.",
            )
        )
    return tuple(found)
