"""The tables of a report, from its typed parts and the table of metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import UNSET, UnsetType

from runtime.evaluation import metric_table
from runtime.evaluation.metric_table import Metric
from runtime.report.cells import Cell, Rows, Table, score_cell
from runtime.results.findings import ClassResult, Disagreement, Robustness, RobustnessEntry
from runtime.results.ledger import LedgerEntry, NoiseFloor
from runtime.results.making import LearningCurve, Probe
from runtime.results.scores import Score
from runtime.sampling import evenly

Against = Literal["teacher", "before"]
NO_LOSS = "no loss"
"""What stands beside a loss within the noise floor."""

# --- the ledger ------------------------------------------------------------------------------


def ledger(
    entries: Sequence[LedgerEntry], metrics: Sequence[Metric], *, intervals: bool = True
) -> Table:
    """Return a row for each entry, and a column for each metric that any of them has."""
    shown = [metric for metric in metrics if any(metric.of(entry) for entry in entries)]
    rows: Rows = [
        [
            entry.stage,
            *(
                score_cell(metric.of(entry), metric.digits, interval=intervals and _spread(metric))
                for metric in shown
            ),
        ]
        for entry in entries
    ]
    return Table.of(["stage", *(metric.title for metric in shown)], rows)


def by_theme(entries: Sequence[LedgerEntry]) -> list[tuple[str, Table]]:
    """Return a table for each theme that any entry has a score of; others are left out of it."""
    themes = dict.fromkeys(metric.theme for metric in metric_table.METRICS)
    found = list[tuple[str, Table]]()
    for theme in themes:
        metrics = [metric for metric in metric_table.METRICS if metric.theme == theme]
        having = [entry for entry in entries if any(metric.of(entry) for metric in metrics)]
        if table := ledger(having, metrics):
            found.append((theme, table))
    return found


def losses(
    entries: Sequence[LedgerEntry], against: Against, floor: NoiseFloor | UnsetType = UNSET
) -> Table:
    """Return what each entry loses against the teacher or against the entry before it.

    The last row is the noise floor, where it is known; a loss within it is marked as none.
    """
    lost = [(entry.stage, found) for entry in entries if (found := _losses(entry, against))]
    shown = [
        metric
        for metric in metric_table.METRICS
        if metric.shows_loss and any(metric.key in found for _, found in lost)
    ]
    rows: Rows = [
        [stage, *(_loss_cell(found.get(metric.key), metric.key, floor) for metric in shown)]
        for stage, found in lost
    ]
    if floor is not UNSET and rows:
        apart = [floor.scores.get(metric.key) for metric in shown]
        cells = ["" if score is None else f"± {abs(score.value):.1g}" for score in apart]
        rows.append([f"{floor.stage}, built twice", *cells])
    return Table.of(["stage", *(metric.title for metric in shown)], rows if shown else [])


def _loss_cell(loss: Score | None, metric: str, floor: NoiseFloor | UnsetType) -> Cell:
    cell = score_cell(loss, signed=True)
    if loss is None or floor is UNSET or not floor.holds(metric, loss.value):
        return cell
    return Cell(cell.text, NO_LOSS)


def _spread(metric: Metric) -> bool:
    """Return True for a score over images; the interval of a latency is not shown in tables."""
    return metric.compute is not None


def _losses(entry: LedgerEntry, against: Against) -> Mapping[str, Score]:
    if against == "teacher":
        return {} if entry.loss_against_teacher is UNSET else entry.loss_against_teacher
    return {} if entry.loss_against_before is UNSET else entry.loss_against_before.scores


# --- findings --------------------------------------------------------------------------------


def disagreements(images: Sequence[Disagreement]) -> Table:
    """Return an image a row: its label, both answers and the distance."""
    if all(image.teacher is UNSET for image in images):
        rows: Rows = [[image.image, f"{image.distance:.3f}"] for image in images]
        return Table.of(["image", "distance"], rows)
    return Table.of(
        ["image", "label", "teacher", "file", "distance"],
        [
            [
                image.image,
                image.label or "?",
                _answer(image, "teacher"),
                _answer(image, "deployed"),
                f"{image.distance:.3f}",
            ]
            for image in images
        ],
    )


def _answer(image: Disagreement, of: Literal["teacher", "deployed"]) -> str:
    answer = image.teacher if of == "teacher" else image.deployed
    return "" if answer is UNSET else f"{answer.answer} ({answer.confidence:.2f})"


def classes(results: Sequence[ClassResult]) -> Table:
    """Return a class a row, the largest loss first."""
    return Table.of(
        ["class", "images", "teacher", "file", "loss", "agreement", "most often mistaken for"],
        [
            [
                result.name,
                str(result.images),
                score_cell(result.accuracy_teacher, 2),
                score_cell(result.accuracy_deployed, 2),
                score_cell(result.loss, 2, signed=True),
                score_cell(result.agreement, 2),
                result.taken_for or "",
            ]
            for result in results
        ],
    )


_CURVE_ROWS = 10
_ROBUSTNESS = (
    ("accuracy_clean", "accuracy, clean"),
    ("accuracy", "accuracy, corrupted"),
    ("accuracy_fall", "accuracy drop"),
    ("accuracy_fall_beyond_teacher", "beyond the teacher's drop"),
    ("agreement", "agreement"),
    ("stability", "stability"),
    ("stability_fall_beyond_teacher", "stability drop beyond the teacher's"),
)


def robustness(entries: Sequence[RobustnessEntry]) -> Table:
    """Return teacher, student and file over all corruptions."""
    shown = [pair for pair in _ROBUSTNESS if any(pair[0] in entry.scores for entry in entries)]
    rows: Rows = [
        [
            entry.stage,
            *(
                score_cell(entry.scores.get(key), signed=key.endswith("_beyond_teacher"))
                for key, _ in shown
            ),
        ]
        for entry in entries
    ]
    return Table.of(["stage", *(heading for _, heading in shown)], rows)


def by_family(found: Robustness) -> list[Table]:
    """Return, for accuracy, agreement and stability, each family's value at every severity."""
    tables = list[Table]()
    for key in ("accuracy", "agreement", "stability"):
        entries = [entry for entry in found.lines if key in entry.families[0].series]
        rows: Rows = [
            [
                entry.stage,
                *(
                    " ".join(f"{score.value:.2f}" for score in family.series[key])
                    for family in entry.families
                ),
            ]
            for entry in entries
        ]
        if rows:
            tables.append(Table.of([f"{key}, severity 1 to 5", *found.families], rows))
    return tables


# --- how the files came to be ----------------------------------------------------------------


def probe_candidates(probe: Probe | None) -> Table:
    """Return how each kind of probe did in cross-validation."""
    candidates = [] if probe is None or not probe.candidates else probe.candidates
    rows: Rows = [
        [candidate.kind, score_cell(candidate.accuracy), f"{candidate.log_loss:.3f}"]
        for candidate in candidates
    ]
    return Table.of(["probe", "accuracy", "log-loss"], rows)


def validation_score(name: str) -> str:
    """Return the words for the score that chooses the best epoch."""
    names = {"similarity": "similarity to the teacher", "knn_accuracy": "kNN accuracy"}
    return f"validation {names.get(name, name)}"


def learning_curve(curve: LearningCurve) -> Table:
    """Return the validation score after some of the epochs, first, last and kept among them."""
    rows = {int(row) for row in evenly(len(curve.epochs), _CURVE_ROWS)}
    rows |= {row for row, epoch in enumerate(curve.epochs) if epoch == curve.kept_epoch}
    cells: Rows = [
        [
            f"{curve.epochs[row]} (kept)"
            if curve.epochs[row] == curve.kept_epoch
            else str(curve.epochs[row]),
            f"{curve.values[row]:.3f}",
        ]
        for row in sorted(rows)
    ]
    return Table.of(["epoch", validation_score(curve.score)], cells)


def timings(seconds: Mapping[str, float]) -> Table:
    """Return the seconds of each step of the run."""
    rows: Rows = [[step, f"{taken:.1f}"] for step, taken in seconds.items()]
    return Table.of(["step", "seconds"], rows)
