"""Run every file of a bundle against the golden set: latency, parity, fidelity, verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import UNSET, structs

from runtime import documents
from runtime.arrays import Pixels
from runtime.backends.base import Provider
from runtime.backends.registry import backend_of
from runtime.benchmark import end_to_end, machine_load, opened_files
from runtime.benchmark import machine as machines
from runtime.benchmark.latency import Latency
from runtime.benchmark.machine import Machine
from runtime.benchmark.machine_load import MachineLoad
from runtime.benchmark.opened_files import Opened
from runtime.bundle.bundle import Bundle
from runtime.bundle.golden import Golden
from runtime.bundle.schema import BundleDocument, ProbeChoice, Requirements
from runtime.evaluation import answering, ledger
from runtime.evaluation.gates import Evidence
from runtime.evaluation.recommend import mark_dominated, recommend
from runtime.evaluation.subject import Answers, bank_of
from runtime.evaluation.verdict import judge
from runtime.findings import disagreements, robustness
from runtime.findings.contamination import drop_contaminated
from runtime.images import preprocessing_check
from runtime.images.preprocessing_check import PreprocessingResult
from runtime.metrics import Bank
from runtime.progress import Track, silent
from runtime.results.ledger import LedgerEntry
from runtime.results.making import PrecisionDecisions, Probe
from runtime.results.report import (
    GoldenSummary,
    Recommended,
    Report,
    Target,
    Verdict,
)
from runtime.results.scores import from_json


@dataclass(frozen=True)
class Bench:
    """What is checked: the bundle's files on this machine, against the golden set."""

    bundle: Bundle
    golden: Golden
    """Without the images that were found in the training set."""
    bank: Bank
    provider: Provider
    threads: int | None
    target: Target
    opened: Sequence[Opened]
    track: Track


@dataclass(frozen=True)
class Measurements:
    """What was measured on the bench."""

    answers: Sequence[Answers]
    """Of each file."""
    sample: Pixels
    """The first images after resize and crop."""
    load: MachineLoad
    """While files were timed."""
    teacher: LedgerEntry
    student: LedgerEntry
    files: Sequence[LedgerEntry]
    preprocess_difference: int | None


def check(bundle: Bundle, golden: Golden, *, track: Track = silent) -> Report:
    """Measure every file of the bundle on this machine and judge the recommended one.

    Args:
        bundle: the bundle.
        golden: the held-out images, with the answers of teacher and student.
        track: shows the progress.

    Raises:
        InputError: an image or a file cannot be read.
        MissingDependencyError: the target's provider does not start on the target.
    """
    golden, contaminated = drop_contaminated(golden)
    machine = machines.describe()
    bench, idle = _open(bundle, golden, machine, track)
    measured = _measure(bench)
    difference = measured.preprocess_difference
    number, recommended, verdict = _judge(
        bundle.require, bench.target, measured.teacher, measured.files, difference
    )
    probe = _probe(bundle.document.probe)
    report = Report(
        recipe=bundle.document.recipe,
        target=bench.target,
        machine=structs.replace(machine, while_timing=measured.load),
        golden=_summary(golden, contaminated),
        preprocess_max_difference_levels=difference,
        preprocess_contract=_preprocessing(bundle),
        probe=probe,
        precision=from_json(bundle.document.precision, PrecisionDecisions, _BUNDLE),
        classes_without_label=probe.classes_without_label if probe else (),
        ledger=(measured.teacher, measured.student, *measured.files, *idle),
        recommended=recommended,
        verdict=verdict,
    )
    report = _with_speed(report, bench, bench.opened[number], measured.sample)
    if measured.files[number].broken is UNSET:
        report = _with_findings(report, bench, bench.opened[number], measured.answers[number])
    return report


def _measure(bench: Bench) -> Measurements:
    """Run and time every file."""
    golden, preprocess, target = bench.golden, bench.bundle.preprocess, bench.bundle.target
    sessions = [file.session for file in bench.opened]
    answers, sample = answering.answer_all(
        sessions, golden, preprocess, max(target.batches), bench.track
    )
    before = machine_load.now()
    timed = opened_files.time_all(
        bench.opened, preprocess, sample, batches=target.batches, track=bench.track
    )
    load = machine_load.between(before, machine_load.now())
    teacher, student, files = _entries(bench, answers, timed)
    difference = answering.pixel_difference(golden.arrays.pixels, sample)
    return Measurements(answers, sample, load, teacher, student, files, difference)


def judge_again(report: Report, document: BundleDocument) -> Report | None:
    """Judge a report by other requirements, from what was measured.

    Args:
        report: of the same files, on this machine.
        document: names the requirements; differs from the report's bundle in nothing else but the
            recipe.

    Returns:
        The report with the new verdict; None if another file is recommended now: its speed and its
        findings are not in the report.
    """
    teacher, _, *others = report.ledger
    files = [entry for entry in others if entry.latency is not UNSET]
    difference = report.preprocess_max_difference_levels
    _, recommended, verdict = _judge(document.require, report.target, teacher, files, difference)
    if recommended.stage != report.recommended.stage:
        return None
    return structs.replace(report, recipe=document.recipe, recommended=recommended, verdict=verdict)


def _judge(
    require: Requirements,
    target: Target,
    teacher: LedgerEntry,
    files: Sequence[LedgerEntry],
    preprocess_difference: int | None,
) -> tuple[int, Recommended, Verdict]:
    """The number of the recommended file, why it is recommended, and its verdict."""
    wanted = documents.plain(require)
    verdicts = {
        entry.stage: judge(wanted, Evidence(entry, teacher, preprocess_difference), target)
        for entry in files
    }
    passed = {stage: verdict.passed for stage, verdict in verdicts.items()}
    recommended = recommend(files, passed)
    number = [entry.stage for entry in files].index(recommended.stage)
    return number, recommended, verdicts[recommended.stage]


def _summary(golden: Golden, contaminated: tuple[str, ...]) -> GoldenSummary:
    return GoldenSummary(
        images=len(golden.images),
        ood_images=len(golden.outside()),
        ood_source=golden.ood_source,
        digest=golden.digest,
        set_apart_as_seen_in_training=contaminated,
    )


def _preprocessing(bundle: Bundle) -> PreprocessingResult | None:
    """The preprocessing check, repeated here; None where the bundle carries none."""
    return preprocessing_check.repeat(bundle.folder / "golden", bundle.preprocess)


def _open(
    bundle: Bundle, golden: Golden, machine: Machine, track: Track
) -> tuple[Bench, list[LedgerEntry]]:
    """Open the files; also ledger entries of those that do not run here."""
    target = bundle.target
    on_target = machines.matches(machine, target.match)
    # Away from the target its provider need not exist: fidelity can be measured on the CPU too.
    provider: Provider = target.provider if on_target else "cpu"
    threads = target.threads if on_target else None
    opened, idle = opened_files.open_all(bundle, provider=provider, threads=threads)
    bench = Bench(
        bundle,
        golden,
        bank_of(golden),
        provider,
        threads,
        Target(target.name, on_target),
        opened,
        track,
    )
    return bench, ledger.not_run(idle, bundle.document.engines_to_build)


def _entries(
    bench: Bench, answers: Sequence[Answers], timed: Sequence[Sequence[Latency]]
) -> tuple[LedgerEntry, LedgerEntry, list[LedgerEntry]]:
    """The ledger entries of teacher, student and files."""
    golden, bank = bench.golden, bench.bank
    measured = [
        ledger.teacher(bench.bundle.document.teacher, golden),
        ledger.student(bench.bundle.document.student, golden, bank),
        *(
            ledger.deployed(file.artifact, given, golden, bank)
            for file, given in zip(bench.opened, answers, strict=True)
        ),
    ]
    teacher, student, *files = ledger.entries(measured)
    with_latency = [
        structs.replace(
            entry,
            provider=backend_of(file.artifact.path).provider_of(bench.provider),
            latency=first,
            latency_other_batches=tuple(others),
        )
        for file, entry, (first, *others) in zip(bench.opened, files, timed, strict=True)
    ]
    return teacher, student, mark_dominated(with_latency)


def _probe(choice: ProbeChoice | None) -> Probe | None:
    """The deployed probe; None without labels, or where an older bundle does not say."""
    if choice is None:
        return None
    described = documents.plain(choice)
    if choice.kind is None:  # then nothing is known of the rest
        described = {"kind": None, **{k: v for k, v in described.items() if v is not None}}
    return from_json(described, Probe, _BUNDLE)


_BUNDLE = Path("bundle.json")


def _with_speed(report: Report, bench: Bench, best: Opened, sample: Pixels) -> Report:
    """Add how long the recommended file takes from image file to answer, and by threads."""
    preprocess = bench.bundle.preprocess
    whole = end_to_end.measure(best.session, preprocess, bench.golden)
    report = structs.replace(report, end_to_end=whole)
    uses_threads = backend_of(best.artifact.path).uses_threads
    if bench.provider != "cpu" or bench.threads is not None or not uses_threads:
        return report
    by_threads = opened_files.by_threads(best.artifact, preprocess, sample)
    return structs.replace(report, by_threads=tuple(by_threads))


def _with_findings(report: Report, bench: Bench, best: Opened, answers: Answers) -> Report:
    """Add where the recommended file differs from the teacher, and what corruptions do to it."""
    golden, inside = bench.golden, answers.inside
    report = structs.replace(report, departures=disagreements.disagreements(golden, inside))
    if rows := disagreements.per_class(golden, inside):
        report = structs.replace(report, per_class=rows)
    stored = robustness.from_golden(golden)
    if not stored:
        return report
    preprocess, mean = bench.bundle.preprocess, bench.bank.mean
    own = robustness.measure(best.session, golden, preprocess, inside, mean, track=bench.track)
    if own is None:
        return report
    return structs.replace(report, robustness=robustness.summarise(golden, [*stored, own]))
