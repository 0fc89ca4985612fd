"""The ledger: an entry each from the teacher to the deployed files, and what each step loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from runtime import metrics
from runtime.backends.base import Outputs
from runtime.benchmark.opened_files import NotRun
from runtime.bundle.bundle import Artifact
from runtime.bundle.golden import Golden
from runtime.bundle.schema import Network, PendingEngine
from runtime.evaluation import metric_table, parity, subject
from runtime.evaluation.subject import Answers
from runtime.metrics import Bank, Estimate
from runtime.results.ledger import LedgerEntry, LossAgainstBefore
from runtime.results.scores import Score, as_scores


@dataclass(frozen=True)
class Measured:
    """An entry without scores, and the estimates that its scores and losses come from."""

    entry: LedgerEntry
    estimates: Mapping[str, Estimate] = field(default_factory=dict)


def teacher(described: Network, golden: Golden) -> Measured:
    """The teacher with its own probes: what everything else is compared with."""
    entry = LedgerEntry(stage="teacher", model=described.model, size_mb=described.size_mb)
    return Measured(entry, metric_table.estimates(subject.of_teacher(golden)))


def student(described: Network, golden: Golden, bank: Bank) -> Measured:
    """The student as it was trained, before any file was made of it."""
    entry = LedgerEntry(stage="student", model=described.model, size_mb=described.size_mb)
    return Measured(entry, metric_table.estimates(subject.of_student(golden, bank)))


def deployed(artifact: Artifact, answers: Answers, golden: Golden, bank: Bank) -> Measured:
    """A file of the bundle, from its own answers."""
    arrays, inside = golden.arrays, answers.inside
    same = parity.compare(
        inside.embedding,
        arrays.student_embedding,
        got_logits=inside.logits,
        expected_logits=arrays.student_logits,
    )
    entry = LedgerEntry(
        stage=artifact.stage,
        file=artifact.path.name,
        sha256=artifact.sha256,
        precision=artifact.precision,
        parity_cosine_min=same.cosine_min,
        parity_max_abs_difference=same.max_abs_difference,
        parity_same_answer=same.same_answer,
        size_mb=artifact.size_mb,
    )
    if not (_is_whole(inside) and (answers.outside is None or _is_whole(answers.outside))):
        why = "its answers are not all finite, or some are zero: nothing to compare"
        return Measured(msgspec.structs.replace(entry, broken=why))
    return Measured(entry, metric_table.estimates(subject.of_encoder(golden, answers, bank)))


def _is_whole(outputs: Outputs) -> bool:
    """Return True if every answer can be compared: finite, and an embedding with a direction."""
    if outputs.logits is not None and not np.all(np.isfinite(outputs.logits)):
        return False
    embedding = outputs.embedding
    return bool(np.all(np.isfinite(embedding)) and np.all(embedding.any(axis=1)))


def not_run(idle: Sequence[NotRun], pending: Sequence[PendingEngine]) -> list[LedgerEntry]:
    """Return entries of files that do not run here, and of engines that are still to be built."""
    entries = [
        LedgerEntry(
            stage=file.artifact.stage,
            file=file.artifact.path.name,
            sha256=file.artifact.sha256,
            precision=file.artifact.precision,
            size_mb=file.artifact.size_mb,
            not_run=file.why,
        )
        for file in idle
    ]
    return entries + [
        LedgerEntry(stage=engine.stage, precision=engine.precision, not_run=engine.not_run)
        for engine in pending
    ]


# --- losses ----------------------------------------------------------------------------------


def entries(measured: Sequence[Measured]) -> list[LedgerEntry]:
    """Entries with their scores and losses; the teacher comes first.

    A loss is above zero where this entry is worse. Both entries are measured on the same images,
    so its interval is that of a paired bootstrap.
    """
    teacher, before, found = measured[0], measured[0], list[LedgerEntry]()
    for current in measured:
        changes: dict[str, object] = {"scores": as_scores(current.estimates)}
        if current.estimates and current is not teacher:
            changes["loss_against_teacher"] = _losses(teacher, current)
            if before is not teacher:
                changes["loss_against_before"] = LossAgainstBefore(
                    before.entry.stage, _losses(before, current)
                )
        found.append(msgspec.structs.replace(current.entry, **changes))
        if current.estimates or current is teacher:
            before = current
    return found


def _losses(reference: Measured, other: Measured) -> dict[str, Score]:
    losses, lower = dict[str, Estimate](), metric_table.lower_is_better()
    for key, estimate in other.estimates.items():
        if key in reference.estimates:
            pair = reference.estimates[key], estimate
            losses[key] = metrics.paired_difference(*(pair[::-1] if key in lower else pair))
    return as_scores(losses)
