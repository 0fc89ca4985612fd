"""Run every file of a bundle against the golden set: latency, parity, fidelity, verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime import candidates, device, fidelity, parity
from runtime.bundle import Artifact, Bundle
from runtime.decode import decode
from runtime.errors import ImageError, InputError
from runtime.fidelity import Figure
from runtime.golden import Arrays, Golden
from runtime.preprocess import Preprocess
from runtime.progress import Track, silent
from runtime.recommend import mark_dominated, recommend
from runtime.report import SCHEMA_VERSION
from runtime.session import Outputs, Provider, Session, inputs_of
from runtime.verdict import judge

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
    document = bundle.document
    target = document["target"]
    machine = device.describe()
    on_target = device.matches(machine, target["match"])
    # Away from the target its provider need not exist: figures of fidelity hold on the CPU too.
    provider: Provider = target["provider"] if on_target else "cpu"
    threads = target["threads"] if on_target else None

    opened, idle = candidates.open_all(bundle, provider=provider, threads=threads)
    artifacts, sessions = list(opened), list(opened.values())
    answers, sample = _run_all(
        sessions, golden, bundle.preprocess, keep=max(target["batches"]), track=track
    )
    teacher = _teacher_entry(document, golden.arrays)
    ledger = [teacher, _student_entry(document, golden)]
    timed = candidates.time_all(
        sessions, bundle.preprocess, sample, batches=target["batches"], track=track
    )
    for artifact, outputs, (first, *others) in zip(artifacts, answers, timed, strict=True):
        ledger.append(
            _deployed_entry(artifact, outputs, golden)
            | {"provider": artifact.runs_on(provider), "latency": first}
            | {"latency_other_batches": others}
        )
    ran = ledger[2:]
    mark_dominated(ran)
    ledger += idle

    difference = _contract(golden.arrays.pixels, sample)
    probe = document.get("probe")  # older bundles do not say
    verdicts = {
        entry["stage"]: judge(
            document["require"],
            teacher=teacher,
            deployed=entry,
            preprocess_difference=difference,
            on_target=on_target,
            target=target["name"],
        )
        for entry in ran
    }
    recommended = recommend(ran, {stage: v.passed for stage, v in verdicts.items()})
    return {
        "schema_version": SCHEMA_VERSION,
        "recipe": document["recipe"],
        "target": {"name": target["name"], "this_machine": on_target},
        "machine": machine,
        "golden": {
            "images": len(golden.images),
            "ood_images": len(golden.ood_images),
            "digest": golden.digest,
        },
        "preprocess_max_difference_levels": difference,
        "probe": probe,
        "precision": document.get("precision", {}),
        "classes_without_label": probe["classes_without_label"] if probe else [],
        "ledger": ledger,
        "recommended": recommended,
        "verdict": verdicts[recommended["stage"]].to_dict(),
    }


def _run_all(
    sessions: Sequence[Session],
    golden: Golden,
    preprocess: Preprocess,
    *,
    keep: int,
    track: Track,
) -> tuple[list[Outputs], npt.NDArray[np.uint8]]:
    """Every session's answers to the held-out images, then to the out-of-distribution ones.

    Each image is decoded once, and only a batch is held at a time. Also gives the first images
    after resize and crop, uint8 [at least `keep` if there are so many, S, S, 3].
    """
    names = [*golden.images, *golden.ood_images]
    expected = golden.arrays.pixels
    keep = max(keep, 0 if expected is None else len(expected))
    answers: list[list[Outputs]] = [[] for _ in sessions]
    sample: list[npt.NDArray[np.uint8]] = []
    starts = range(0, len(names), _BATCH)
    for start in track(starts, label="checking held-out images", total=len(starts)):
        batch = names[start : start + _BATCH]
        pixels = np.stack([preprocess.pixels(_decode(golden.root / name)) for name in batch])
        if start < keep:
            sample.append(pixels)
        for session, collected in zip(sessions, answers, strict=True):
            collected.append(session.run(inputs_of(session, preprocess, pixels)))
    return [_joined(collected) for collected in answers], np.concatenate(sample)


def _joined(batches: Sequence[Outputs]) -> Outputs:
    logits = [batch.logits for batch in batches if batch.logits is not None]
    return Outputs(
        embedding=np.concatenate([batch.embedding for batch in batches]),
        logits=np.concatenate(logits) if logits else None,
    )


def _decode(path: Path) -> Image.Image:
    try:
        return decode(path)
    except ImageError as error:
        raise InputError(
            f"{path}: {error}\n  This held-out image was readable before: was it moved or changed?"
        ) from error


def _contract(expected: npt.NDArray[np.uint8] | None, got: npt.NDArray[np.uint8]) -> int | None:
    """Largest difference of a pixel value, in levels of 255, after resize and crop."""
    if expected is None:
        return None
    here = got[: len(expected)].astype(np.int16)
    return int(np.abs(here - expected.astype(np.int16)).max())


def _teacher_entry(document: dict[str, Any], arrays: Arrays) -> dict[str, Any]:
    entry: dict[str, Any] = {"stage": "teacher", "model": document["teacher"]["model"]}
    known = arrays.labels >= 0
    if arrays.teacher_knn is not None:
        _add(entry, "accuracy_knn", _share(arrays.teacher_knn, arrays.labels, known))
    if arrays.teacher_logits is not None:
        answers = arrays.teacher_logits.argmax(axis=1)
        _add(entry, "accuracy_linear", _share(answers, arrays.labels, known))
    if arrays.teacher_probe is not None:
        _add(entry, "accuracy_probe", _share(arrays.teacher_probe, arrays.labels, known))
    _add_ood(entry, arrays.teacher_ood_inside, arrays.teacher_ood_outside)
    return entry | {"size_mb": document["teacher"]["size_mb"]}


def _student_entry(document: dict[str, Any], golden: Golden) -> dict[str, Any]:
    arrays = golden.arrays
    inside = Outputs(arrays.student_embedding, arrays.student_logits)
    entry: dict[str, Any] = {"stage": "student", "model": document["student"]["model"]}
    entry |= fidelity_figures(golden, inside, arrays.student_ood_embedding)
    entry |= calibration_figures(inside.logits, arrays.labels)
    return entry | {"size_mb": document["student"]["size_mb"]}


def _deployed_entry(artifact: Artifact, outputs: Outputs, golden: Golden) -> dict[str, Any]:
    arrays, n = golden.arrays, len(golden.images)
    inside = Outputs(outputs.embedding[:n], None if outputs.logits is None else outputs.logits[:n])
    like_source = parity.compare(
        inside.embedding,
        arrays.student_embedding,
        got_logits=inside.logits,
        expected_logits=arrays.student_logits,
    )
    entry: dict[str, Any] = {
        "stage": artifact.stage,
        "file": artifact.path.name,
        "sha256": artifact.sha256,
        "precision": artifact.precision,
    }
    if _whole(outputs):
        entry |= fidelity_figures(
            golden, inside, outputs.embedding[n:] if golden.ood_images else None
        )
        entry |= calibration_figures(inside.logits, arrays.labels)
    else:
        entry["broken"] = "its answers are not all finite, or some are zero: nothing to compare"
    return entry | {
        "parity_cosine_min": like_source.cosine_min,
        "parity_max_abs_difference": like_source.max_abs_difference,
        "parity_same_answer": like_source.same_answer,
        "size_mb": artifact.size_mb,
    }


def _whole(outputs: Outputs) -> bool:
    """Whether every answer can be compared: finite, and an embedding with a direction."""
    if outputs.logits is not None and not np.all(np.isfinite(outputs.logits)):
        return False
    embedding = outputs.embedding
    return bool(np.all(np.isfinite(embedding)) and np.all(embedding.any(axis=1)))


def fidelity_figures(
    golden: Golden, inside: Outputs, ood_embedding: npt.NDArray[np.float32] | None
) -> dict[str, Any]:
    """Everything about answers [N, ...] to the held-out images that compares with the teacher."""
    arrays, entry = golden.arrays, dict[str, Any]()
    known = arrays.labels >= 0
    labelled = arrays.bank_labels >= 0
    if arrays.teacher_knn is not None:
        votes = fidelity.knn_votes(
            inside.embedding,
            arrays.bank[labelled],
            arrays.bank_labels[labelled],
            len(golden.classes),
        )
        answers = votes.argmax(axis=1)
        _add(entry, "accuracy_knn", _share(answers, arrays.labels, known))
        _add(entry, "agreement_knn", fidelity.mean_figure(answers == arrays.teacher_knn))
    if arrays.teacher_logits is not None and inside.logits is not None:
        answers = linear_logits(arrays, inside).argmax(axis=1)
        _add(entry, "accuracy_linear", _share(answers, arrays.labels, known))
        same = answers == arrays.teacher_logits.argmax(axis=1)
        _add(entry, "agreement_linear", fidelity.mean_figure(same))
    if arrays.teacher_probe is not None and inside.logits is not None:
        answers = inside.logits.argmax(axis=1)
        _add(entry, "accuracy_probe", _share(answers, arrays.labels, known))
        _add(entry, "agreement_probe", fidelity.mean_figure(answers == arrays.teacher_probe))
    if len(golden.images) >= _FEWEST_FOR_PAIRS:
        pair = inside.embedding, arrays.teacher_embedding
        _add(entry, "similarity_correlation", fidelity.similarity_correlation(*pair))
        overlap = fidelity.neighbour_overlap(*pair)
        _add(entry, "neighbour_overlap_at_10", fidelity.mean_figure(overlap))
    outside = None if ood_embedding is None else fidelity.ood_scores(ood_embedding, arrays.bank)
    _add_ood(entry, fidelity.ood_scores(inside.embedding, arrays.bank), outside)
    return entry


def linear_logits(arrays: Arrays, inside: Outputs) -> npt.NDArray[np.float32]:
    """Of the linear probe: the file's own logits, unless it carries another probe."""
    if arrays.linear_weight is None or arrays.linear_bias is None:
        return cast("npt.NDArray[np.float32]", inside.logits)
    unit = fidelity.normalise(inside.embedding)
    logits: npt.NDArray[np.float32] = unit @ arrays.linear_weight.T + arrays.linear_bias
    return logits


def calibration_figures(
    logits: npt.NDArray[np.float32] | None, labels: npt.NDArray[np.integer]
) -> dict[str, Any]:
    """How well the probabilities [N, K] fit the held-out labels [N], -1 where not known.

    `calibration_ece` is over all of them; `calibration_nll` leaves out the images of classes that
    no label covers: their probability is zero, and its logarithm would drown the rest.
    """
    entry, known = dict[str, Any](), labels >= 0
    if logits is None or not known.any():
        return entry
    _add(entry, "calibration_ece", fidelity.calibration_error(logits[known], labels[known]))
    answerable = logits.max(axis=0) > fidelity.NEVER / 2
    known &= answerable[labels]
    if known.any():
        loss = fidelity.log_loss(logits[known], labels[known])
        _add(entry, "calibration_nll", fidelity.mean_figure(loss))
    return entry


_FEWEST_FOR_PAIRS = 12  # 10 neighbours among the others, and one that is none


def _share(
    answers: npt.NDArray[np.integer], labels: npt.NDArray[np.integer], known: npt.NDArray[np.bool_]
) -> Figure | None:
    return fidelity.mean_figure((answers == labels)[known]) if known.any() else None


def _add_ood(
    entry: dict[str, Any],
    inside: npt.NDArray[np.float32],
    outside: npt.NDArray[np.float32] | None,
) -> None:
    if outside is not None:
        for name, statistic in (("ood_auroc", fidelity.auroc), ("ood_fpr95", fidelity.fpr95)):
            _add(entry, name, fidelity.two_sample_figure(statistic, inside, outside))


def _add(entry: dict[str, Any], name: str, figure: Figure | None) -> None:
    if figure is not None:
        entry[name] = figure.value
        entry[f"{name}_ci"] = [figure.low, figure.high]
