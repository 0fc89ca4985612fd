"""The ledger: an entry each from the teacher to the deployed files, and what each step loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from runtime import metrics
from runtime.arrays import Floats
from runtime.backends.base import Outputs, Proof
from runtime.benchmark.latency import Latency
from runtime.benchmark.opened_files import NotRun, Opened
from runtime.bundle.bundle import Artifact
from runtime.bundle.golden import Golden
from runtime.bundle.schema import BundleDocument, FileNotMade, Network, PendingEngine
from runtime.evaluation import metric_table, parity, subject
from runtime.evaluation.subject import Answers, Subject
from runtime.metrics import Bank, Estimate
from runtime.results.ledger import LedgerEntry, LossAgainstBefore, NoiseFloor
from runtime.results.scores import Score, as_scores


@dataclass(frozen=True)
class Measured:
    """An entry without scores, and the estimates that its scores and losses come from."""

    entry: LedgerEntry
    estimates: Mapping[str, Estimate] = field(default_factory=dict)


def teacher(described: Network, golden: Golden) -> Measured:
    """The teacher with its own probes: what everything else is compared with."""
    entry = LedgerEntry(stage="teacher", model=described.model, size_mb=described.size_mb)
    return _measured(entry, golden.arrays.teacher_embedding, subject.of_teacher(golden), golden)


def student(described: Network, golden: Golden, bank: Bank) -> Measured:
    """The student as it was trained, before any file was made of it."""
    entry = LedgerEntry(stage="student", model=described.model, size_mb=described.size_mb)
    return _measured(
        entry, golden.arrays.student_embedding, subject.of_student(golden, bank), golden
    )


def ledger(
    document: BundleDocument,
    opened: Sequence[Opened],
    answers: Sequence[Answers],
    timings: Sequence[Sequence[Latency]],
    golden: Golden,
) -> list[LedgerEntry]:
    """Return the entries of teacher, student and files.

    Args:
        document: of the bundle.
        opened: the files, those of a second runtime or build last.
        answers: of each of them.
        timings: of each of them, a latency for each batch size; none where it was not timed.
        golden: the images that they answered.
    """
    bank = subject.bank_of(golden)
    networks = [teacher(document.teacher, golden), student(document.student, golden, bank)]
    files = [
        deployed(file.artifact, given, golden, bank, file.proof)
        for file, given in zip(opened, answers, strict=True)
    ]
    first = [each for each, file in zip(files, opened, strict=True) if file.same_file_as is None]
    found = entries([*networks, *first])
    own = {each.entry.file: each for each in first}
    for each in files[len(first) :]:  # lost against the same file in the first runtime
        found.append(entries([networks[0], own[each.entry.file], each])[-1])
    with_time = (
        timed(entry, file, latencies) if latencies else entry
        for entry, file, latencies in zip(found[len(networks) :], opened, timings, strict=True)
    )
    return [*found[: len(networks)], *with_time]


def noise_floor(again: Sequence[LedgerEntry]) -> NoiseFloor | UnsetType:
    """Return what a second build of a file loses against the first.

    Args:
        again: its entry, if there is one.

    Returns:
        UNSET without one, or where one of the two is broken.
    """
    for entry in again:
        if entry.loss_against_before is not UNSET:
            lost = entry.loss_against_before
            builds = "with and without graph optimisations"
            return NoiseFloor(stage=lost.before, builds=builds, scores=lost.scores)
    return UNSET


def deployed(
    artifact: Artifact, answers: Answers, golden: Golden, bank: Bank, proof: Proof | None = None
) -> Measured:
    """A file of the bundle, from its own answers; with what it runs in, if that is known."""
    arrays, inside = golden.arrays, answers.inside
    given = [inside] if answers.outside is None else [inside, answers.outside]
    broken = sum(int(parity.broken(each).sum()) for each in given)
    source = Outputs(arrays.student_embedding, arrays.student_logits)
    same = parity.compare(inside, source, bank=bank, worst=artifact.precision != "int8")
    entry = LedgerEntry(
        stage=artifact.stage,
        file=artifact.path.name,
        sha256=artifact.sha256,
        precision=artifact.precision,
        parity_cosine_min=same.cosine_min,
        parity_max_abs_difference=same.max_abs_difference,
        parity_same_answer=same.same_answer,
        parity_logit_difference=_or_unset(same.logit_difference),
        parity_probability_difference=_or_unset(same.probability_difference),
        parity_likeness_difference=_or_unset(same.likeness_difference),
        non_finite_answers=broken,
        size_mb=artifact.size_mb,
        runs_in=UNSET if proof is None else proof,
    )
    if broken:
        return Measured(msgspec.structs.replace(entry, broken=BROKEN))
    return _measured(entry, inside.embedding, subject.of_encoder(golden, answers, bank), golden)


def timed(entry: LedgerEntry, file: Opened, latencies: Sequence[Latency]) -> LedgerEntry:
    """Return a file's entry with what runs it and its latencies, the target's batch size first.

    A file that answers otherwise while it is timed is broken: neither is then worth anything.
    """
    broken = entry.broken
    if broken is UNSET and any(latency.same_answers is False for latency in latencies):
        broken = "while it was timed, it gave other answers than before"
    first, *others = latencies
    return msgspec.structs.replace(
        entry,
        provider=file.provider,
        same_file_as=UNSET if file.same_file_as is None else file.same_file_as,
        latency=first,
        latency_other_batches=tuple(others),
        broken=broken,
    )


def _measured(entry: LedgerEntry, embedding: Floats, answers: Subject, golden: Golden) -> Measured:
    """Measure everything of an encoder whose answers are whole."""
    found: dict[str, object] = {}
    if len(embedding) > 1:
        spread = metrics.spread(embedding)
        found |= {"embedding_distance": spread.distance, "embedding_rank": spread.rank}
    if answers.deployed is not None:
        expected = set(golden.arrays.labels[golden.arrays.labels >= 0].tolist())
        expected |= set(np.asarray(subject.of_teacher(golden).deployed).tolist())
        never = sorted(expected - set(answers.deployed.tolist()))
        found["never_answered"] = tuple(golden.classes[number] for number in never)
    entry = msgspec.structs.replace(entry, **found)
    return Measured(entry, metric_table.estimates(answers))


BROKEN = "its answers are not all finite, or some are zero: nothing to compare"


def _or_unset(value: float | None) -> float | UnsetType:
    return UNSET if value is None else value


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


def not_made(files: Sequence[FileNotMade]) -> list[LedgerEntry]:
    """Return entries of files that the recipe asks for and that could not be made."""
    return [
        LedgerEntry(stage=file.stage, precision=file.precision, not_made=file.why) for file in files
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
            changes["loss_against_teacher"] = losses(teacher.estimates, current.estimates)
            if before is not teacher:
                changes["loss_against_before"] = LossAgainstBefore(
                    before.entry.stage, losses(before.estimates, current.estimates)
                )
        found.append(msgspec.structs.replace(current.entry, **changes))
        if current.estimates or current is teacher:
            before = current
    return found


def losses(reference: Mapping[str, Estimate], other: Mapping[str, Estimate]) -> dict[str, Score]:
    """Return what `other` loses against `reference` by every metric of both.

    Args:
        reference: estimates over the same images.
        other: above zero, this one is worse.
    """
    found, lower = dict[str, Estimate](), metric_table.lower_is_better()
    for key, estimate in other.items():
        if key in reference:
            pair = reference[key], estimate
            found[key] = metrics.paired_difference(*(pair[::-1] if key in lower else pair))
    return as_scores(found)
