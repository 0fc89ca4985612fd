"""Why this student, in words, and the table of its candidates."""

from __future__ import annotations

from msgspec import UNSET

from runtime.report.cells import Rows, Table, score_cell
from runtime.results.making import MeasuredStudent, StudentSearch
from runtime.results.scores import Score
from runtime.text import inert

_FAITHFULNESS = (
    ("r", "similarity_correlation_centred"),
    ("kNN agreement", "agreement_knn"),
    ("linear agreement", "agreement_linear"),
)


def candidates_table(search: StudentSearch) -> Table:
    """Return the candidates before training: the most faithful first, those without weights last.

    Where none has weights, the most capable first, as the target names them.
    """
    found = sorted(search.measured, key=_unfaithfulness) if search.compared else search.measured
    shown = [
        (heading, key)
        for heading, key in _FAITHFULNESS
        if any(getattr(student, key) for student in found)
    ]
    rows: Rows = [
        [
            student.model,
            f"{student.size_mb:.2f}",
            "" if student.p95_ms is None else f"{student.p95_ms:.2f}",
            *(score_cell(getattr(student, key)) for _, key in shown),
            *(["yes" if student.pareto else ""] if search.compared else []),
            "yes" if student.fits else _misfit(student),
        ]
        for student in found
    ]
    front = ["Pareto front"] if search.compared else []
    headings = ["model", "MB", "p95 ms", *(heading for heading, _ in shown), *front, "fits"]
    return Table.of(headings, rows)


def _misfit(student: MeasuredStudent) -> str:
    over = () if student.ruled_out_by is UNSET else student.ruled_out_by
    return f"no: over {', '.join(over)}" if over else "no"


def _unfaithfulness(student: MeasuredStudent) -> float:
    score = student.similarity_correlation_centred
    return -score.value if isinstance(score, Score) else 2.0


def sentences(search: StudentSearch) -> list[str]:
    """Why this student, what the columns of the table are, and which candidates have no r."""
    lead = f"`{search.chosen}`: {search.why}." if search.chosen else f"{search.why}."
    if not search.compared:
        return [*passed_over(search), f"{lead} Untrained, the most capable first:"]
    how = (
        f"r is the correlation of the cosines between images with those of the teacher, angles "
        f"measured from the mean: for the closed form of each candidate, without any training, on "
        f"{search.images:,} training images, each answered by a layer that was solved without it. "
        "On the Pareto front no other is at least as faithful and as fast, and better in one."
    )
    without = [
        f"`{student.model}` was not compared: {student.weights}."
        for student in search.measured
        if not student.similarity_correlation_centred
    ]
    return [lead, how, *without, *passed_over(search)]


def passed_over(search: StudentSearch) -> list[str]:
    """Say which candidates could not be used at all, and why."""
    found = {} if search.passed_over is UNSET else search.passed_over
    return [f"`{model}` was passed over: {inert(why)}" for model, why in found.items()]
