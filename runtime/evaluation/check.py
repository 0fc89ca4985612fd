"""Run every file of a bundle against the golden set: latency, parity, fidelity, verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import structs, to_builtins

from runtime import documents
from runtime.backends.base import Outputs, Provider, Session, inputs_of
from runtime.benchmark import end_to_end, machine_load, opened_files
from runtime.benchmark import machine as device
from runtime.bundle.bundle import Bundle
from runtime.bundle.golden import Golden
from runtime.evaluation import disagreements, ledger, robustness
from runtime.evaluation.contamination import set_apart
from runtime.evaluation.recommend import mark_dominated, recommend
from runtime.evaluation.robustness import Shaken
from runtime.evaluation.scores import Answers
from runtime.evaluation.verdict import judge
from runtime.images import preprocessing_check
from runtime.images.preprocess import Preprocess
from runtime.progress import Track, silent

SCHEMA_VERSION = 1
"""Of report.json."""
_BATCH = 32


def check(bundle: Bundle, golden: Golden, *, track: Track = silent) -> dict[str, Any]:
    """Measure every file of the bundle on this machine and judge the recommended one.

    Args:
        bundle: what is to be checked.
        golden: the held-out images and what teacher and student said of them.
        track: shows the progress.

    Returns:
        The report, as report.json has it (a run adds `data` and `timings_s`).

    Raises:
        InputError: an image or a file cannot be read.
        MissingDependencyError: the target's provider does not start on the target.
    """
    golden, leaked = set_apart(golden)
    document, target = bundle.document, bundle.target
    machine = device.describe()
    on_target = device.matches(machine, target.match)
    # Away from the target its provider need not exist: figures of fidelity hold on the CPU too.
    provider: Provider = target.provider if on_target else "cpu"
    threads = target.threads if on_target else None

    opened, idle = opened_files.open_all(bundle, provider=provider, threads=threads)
    sessions = [each.session for each in opened]
    answers, sample = _run_all(
        sessions, golden, bundle.preprocess, keep=max(target.batches), track=track
    )
    lines = [
        ledger.teacher_line(document.teacher, golden.arrays),
        ledger.student_line(document.student, golden),
    ]
    before = machine_load.now()
    timed = opened_files.time_all(
        opened, bundle.preprocess, sample, batches=target.batches, track=track
    )
    during = machine_load.between(before, machine_load.now())
    lines += [
        ledger.deployed_line(each.artifact, outputs, golden)
        for each, outputs in zip(opened, answers, strict=True)
    ]
    teacher, student, *files = ledger.entries(lines)
    for each, entry, (first, *others) in zip(opened, files, timed, strict=True):
        entry["provider"] = each.artifact.runs_on(provider)
        entry |= {"latency": to_builtins(first), "latency_other_batches": to_builtins(others)}
    mark_dominated(files)

    difference = _contract(golden.arrays.pixels, sample)
    require = documents.plain(bundle.require)
    verdicts = {
        entry["stage"]: judge(
            require,
            teacher=teacher,
            deployed=entry,
            preprocess_difference=difference,
            on_target=on_target,
            target=target.name,
        )
        for entry in files
    }
    recommended = recommend(files, {stage: v.passed for stage, v in verdicts.items()})
    at = next(n for n, entry in enumerate(files) if entry["stage"] == recommended["stage"])
    best = opened[at]
    looked: dict[str, Any] = {}
    looked["end_to_end"] = to_builtins(end_to_end.measure(best.session, bundle.preprocess, golden))
    if provider == "cpu" and threads is None and not best.artifact.is_engine:
        threads_tried = opened_files.by_threads(best.artifact, bundle.preprocess, sample)
        looked["by_threads"] = to_builtins(threads_tried)
    if "broken" not in files[at]:
        looked |= _looked_into(golden, sessions[at], bundle.preprocess, answers[at].inside, track)
    return {
        "schema_version": SCHEMA_VERSION,
        "recipe": documents.plain(document.recipe),
        "target": {"name": target.name, "this_machine": on_target},
        "machine": to_builtins(structs.replace(machine, while_timing=during)),
        "golden": {
            "images": len(golden.images),
            "ood_images": len(golden.outside()),
            "ood_source": golden.ood_source,
            "digest": golden.digest,
            "set_apart_as_seen_in_training": list(leaked),
        },
        "preprocess_max_difference_levels": difference,
        "preprocess_contract": preprocessing_check.repeat(
            bundle.folder / "golden", bundle.preprocess
        ),
        "probe": documents.plain(document.probe),
        "precision": document.precision,
        "classes_without_label": list(document.probe.classes_without_label)
        if document.probe
        else [],
        "ledger": [teacher, student, *files, *idle],
        "recommended": recommended,
        "verdict": verdicts[recommended["stage"]].to_dict(),
        **looked,
    }


def _looked_into(
    golden: Golden, session: Session, preprocess: Preprocess, inside: Outputs, track: Track
) -> dict[str, Any]:
    """Of the recommended file: where it departs from the teacher, and what corruptions do to it."""
    found: dict[str, Any] = {"departures": disagreements.departures(golden, inside)}
    if rows := disagreements.per_class(golden, inside):
        found["per_class"] = rows
    shaken = robustness.of_the_desk(golden)
    if shaken and (own := robustness.measure(session, golden, preprocess, inside, track=track)):
        answers, steady = own
        rows_of = golden.arrays.corrupted_rows
        clean = None if inside.logits is None else inside.logits[rows_of].argmax(axis=1)
        deployed = Shaken("deployed", clean, answers, steady)
        found["robustness"] = robustness.report(golden, [*shaken, deployed])
    return found


def _run_all(
    sessions: Sequence[Session],
    golden: Golden,
    preprocess: Preprocess,
    *,
    keep: int,
    track: Track,
) -> tuple[list[Answers], npt.NDArray[np.uint8]]:
    """Every session's answers to the held-out images and to the out-of-distribution ones.

    Each image is decoded once, and only a batch is held at a time. Also gives the first images
    after resize and crop, uint8 [at least `keep` if there are so many, S, S, 3].
    """
    pictures = [*golden.inside(), *golden.outside()]
    expected = golden.arrays.pixels
    keep = max(keep, 0 if expected is None else len(expected))
    answers: list[list[Outputs]] = [[] for _ in sessions]
    sample: list[npt.NDArray[np.uint8]] = []
    starts = range(0, len(pictures), _BATCH)
    for start in track(starts, label="checking held-out images", total=len(starts)):
        batch = pictures[start : start + _BATCH]
        pixels = np.stack([preprocess.pixels(picture.open()) for picture in batch])
        if start < keep:
            sample.append(pixels)
        for session, collected in zip(sessions, answers, strict=True):
            collected.append(session.run(inputs_of(session, preprocess, pixels)))
    joined = [Outputs.joined(collected) for collected in answers]
    return [_parted(each, len(golden.images)) for each in joined], np.concatenate(sample)


def _parted(outputs: Outputs, inside: int) -> Answers:
    """The first so many answers, and the others if there are any."""
    embedding, logits = outputs.embedding, outputs.logits

    def part(rows: slice) -> Outputs:
        return Outputs(embedding[rows], None if logits is None else logits[rows])

    outside = part(slice(inside, None)) if len(embedding) > inside else None
    return Answers(part(slice(inside)), outside)


def _contract(expected: npt.NDArray[np.uint8] | None, got: npt.NDArray[np.uint8]) -> int | None:
    """Largest difference of a pixel value, in levels of 255, after resize and crop."""
    if expected is None:
        return None
    here = got[: len(expected)].astype(np.int16)
    return int(np.abs(here - expected.astype(np.int16)).max())
