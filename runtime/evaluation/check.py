"""Run every file of a bundle against the golden set: latency, parity, fidelity, verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import UNSET, UnsetType, structs

from runtime import documents
from runtime.arrays import Pixels
from runtime.backends.base import Provider
from runtime.backends.registry import backend_of
from runtime.benchmark import end_to_end, machine_load, opened_files
from runtime.benchmark import machine as machines
from runtime.benchmark.machine import Machine
from runtime.benchmark.machine_load import MachineLoad
from runtime.benchmark.opened_files import Opened
from runtime.benchmark.sustained import Sustained, heat
from runtime.bundle.bundle import Bundle
from runtime.bundle.golden import Golden
from runtime.bundle.schema import ProbeChoice
from runtime.evaluation import answering, ledger, recommend
from runtime.evaluation.gates import Evidence
from runtime.evaluation.recommend import mark_dominated
from runtime.evaluation.subject import Answers, bank_of
from runtime.findings import disagreements, looks, robustness
from runtime.findings.contamination import drop_contaminated
from runtime.findings.robustness import CorruptedAnswers
from runtime.images import preprocessing_check
from runtime.images.preprocessing_check import PreprocessingResult
from runtime.metrics import Bank
from runtime.prediction.student import widths_of
from runtime.progress import Track, silent
from runtime.results.ledger import LedgerEntry, NoiseFloor
from runtime.results.making import PrecisionDecisions, Probe
from runtime.results.report import (
    GoldenSummary,
    Recommended,
    Report,
    Target,
    Verdict,
    origin_of,
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
    beside: Sequence[Opened]
    """Files that a second runtime runs too: measured, never recommended."""
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
    sustained: Sustained | UnsetType
    """Before they were."""
    teacher: LedgerEntry
    student: LedgerEntry
    files: Sequence[LedgerEntry]
    beside: Sequence[LedgerEntry]
    preprocess_difference: int | None
    noise_floor: NoiseFloor | UnsetType


def check(
    bundle: Bundle,
    golden: Golden,
    *,
    sustained_s: float = 0,
    openvino: bool = False,
    track: Track = silent,
) -> Report:
    """Measure every file of the bundle on this machine and judge the recommended one.

    Args:
        bundle: the bundle.
        golden: the held-out images, with the answers of teacher and student.
        sustained_s: seconds to run the first file without a pause before anything is timed.
        openvino: whether OpenVINO runs the ONNX files too, on the CPU.
        track: shows the progress.

    Raises:
        InputError: an image or a file cannot be read.
        MissingDependencyError: the target's provider does not start on the target, or OpenVINO is
            asked for and not installed.
    """
    golden, contaminated = drop_contaminated(golden)
    machine = machines.describe()
    bench, idle = _open(bundle, golden, machine, openvino, track)
    measured = _measure(bench, sustained_s)
    number, recommended, verdict, files, corrupted = _recommended(bench, measured)
    probe = _probe(bundle.document.probe)
    report = Report(
        recipe=bundle.document.recipe,
        target=bench.target,
        machine=structs.replace(machine, while_timing=measured.load),
        golden=_summary(golden, contaminated),
        preprocess_max_difference_levels=measured.preprocess_difference,
        preprocess_contract=_preprocessing(bundle),
        probe=probe,
        precision=from_json(bundle.document.precision, PrecisionDecisions, _BUNDLE),
        classes_without_label=probe.classes_without_label if probe else (),
        ledger=(measured.teacher, measured.student, *files, *measured.beside, *idle),
        recommended=recommended,
        verdict=verdict,
        teacher=origin_of(bundle.document.teacher),
        student=origin_of(bundle.document.student),
        sustained=measured.sustained,
        noise_floor=measured.noise_floor,
        made=machines.now(),
    )
    if files[number].broken is UNSET:
        report = _with_speed(report, bench, bench.opened[number], measured.sample)
        report = _with_findings(report, bench, measured.answers[number], corrupted)
    return report


def _recommended(
    bench: Bench, measured: Measurements
) -> tuple[int, Recommended, Verdict, list[LedgerEntry], CorruptedAnswers | None]:
    """Choose the file to deploy.

    An answer to a corrupted image that is not finite fails a file too. Corrupted images are shown
    to the recommended file alone, so another one may have to be chosen then.

    Returns:
        Number, why, verdict, the entries of all files, and answers to corrupted images if any.
    """
    document, files = bench.bundle.document, list(measured.files)
    evidence = Evidence(
        files[0],
        measured.teacher,
        measured.preprocess_difference,
        measured.load,
        len(document.not_made),
    )
    while True:
        number, recommended, verdict = recommend.judge_all(
            document.require, bench.target, files, evidence
        )
        corrupted = None
        if files[number].broken is UNSET and robustness.from_golden(bench.golden):
            corrupted = robustness.measure(
                bench.opened[number].session,
                bench.golden,
                bench.bundle.preprocess,
                measured.answers[number].inside,
                bench.bank.mean,
                track=bench.track,
            )
            if corrupted is None:
                broken = f"on corrupted images, {ledger.BROKEN}"
                changes = {"broken": broken, "non_finite_answers": 1}
                files[number] = structs.replace(files[number], **changes)
                continue
        return number, recommended, verdict, files, corrupted


def _measure(bench: Bench, sustained_s: float) -> Measurements:
    """Run and time every file."""
    golden, preprocess, target = bench.golden, bench.bundle.preprocess, bench.bundle.target
    running = [*bench.opened, *bench.beside]
    again = opened_files.built_twice(bench.opened, bench.provider, bench.threads)
    sessions = [file.session for file in (*running, *again)]
    answers, sample = answering.answer_all(
        sessions, golden, preprocess, max(target.batches), bench.track
    )
    sustained: Sustained | UnsetType = UNSET
    if sustained_s > 0:
        sustained = heat(opened_files.request_of(sessions[0], preprocess, sample, 1), sustained_s)
    before = machine_load.now()
    timed = opened_files.time_all(
        running, preprocess, sample, batches=target.batches, track=bench.track
    )
    load = machine_load.between(before, machine_load.now())
    difference = answering.pixel_difference(golden.arrays.pixels, sample)
    timed += [[] for _ in again]
    document, count = bench.bundle.document, len(bench.opened)
    entries = ledger.ledger(document, [*running, *again], answers, timed, golden)
    teacher, student, *files = entries
    return Measurements(
        answers[:count],
        sample,
        load,
        sustained,
        teacher,
        student,
        mark_dominated(files[:count]),
        files[count : len(running)],
        difference,
        ledger.noise_floor(files[len(running) :]),
    )


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
    bundle: Bundle, golden: Golden, machine: Machine, openvino: bool, track: Track
) -> tuple[Bench, list[LedgerEntry]]:
    """Open the files; also ledger entries of those that do not run here, or were not made."""
    target = bundle.target
    on_target = machines.matches(machine, target.match)
    # Away from the target its provider need not exist: fidelity can be measured on the CPU too.
    provider: Provider = target.provider if on_target else "cpu"
    threads = target.threads if on_target else None
    opened, idle = opened_files.open_all(
        bundle, widths_of(golden), provider=provider, threads=threads
    )
    beside = list[Opened]()
    if openvino:
        files = [file.artifact for file in opened]
        beside, others = opened_files.open_beside(bundle, files, widths_of(golden), threads)
        idle += others
    bench = Bench(
        bundle,
        golden,
        bank_of(golden),
        provider,
        threads,
        Target(target.name, on_target),
        opened,
        beside,
        track,
    )
    idle_lines = ledger.not_run(idle, bundle.document.engines_to_build)
    return bench, idle_lines + ledger.not_made(bundle.document.not_made)


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
    whole = end_to_end.measure(bench.bundle, best.session, bench.golden)
    report = structs.replace(report, end_to_end=whole)
    uses_threads = backend_of(best.artifact.path).uses_threads
    if bench.provider != "cpu" or bench.threads is not None or not uses_threads:
        return report
    by_threads = opened_files.by_threads(best.artifact, preprocess, sample)
    return structs.replace(report, by_threads=tuple(by_threads))


def _with_findings(
    report: Report, bench: Bench, answers: Answers, corrupted: CorruptedAnswers | None
) -> Report:
    """Add where the recommended file differs from the teacher, and what corruptions do to it."""
    golden, inside, at = bench.golden, answers.inside, bench.bundle.document.ood_threshold
    most = disagreements.disagreements(golden, inside)
    rows = disagreements.per_class(golden, inside) or UNSET
    seen = looks.looks(golden, inside, answers.outside, at)
    report = structs.replace(report, departures=most, per_class=rows, looks=seen)
    if corrupted is None:
        return report
    encoders = [*robustness.from_golden(golden), corrupted]
    return structs.replace(report, robustness=robustness.summarise(golden, encoders))
