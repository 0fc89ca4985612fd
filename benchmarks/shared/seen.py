"""What a student does on the held-out images of a run, one value an image, and its figures.

`methods.py` keeps these values of every run in a file, and draws from them for its intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from runtime import metrics
from shared.cells import run_to_golden, student_of  # type: ignore[import-not-found]

RESAMPLES = 500
PROBED, ASKED = 400, 200
"""Images of an unseen set that probes learn from, and that they are asked about, at most."""
RAW = "raw"
Seen = dict[str, Any]


def _mean(name: str) -> Callable[[Seen, str], float | None]:
    """The mean over images of what is kept as `name`."""

    def figure(seen: Seen, who: str) -> float | None:
        values = seen.get(f"{who}_{name}")
        return None if values is None else float(values.mean())

    return figure


def _unseen(probe: str) -> Callable[[Seen, str], float | None]:
    """The mean over sets of the accuracy on a set that the student never saw."""

    def figure(seen: Seen, who: str) -> float | None:
        sets = [seen[name] for name in seen if name.startswith(f"{who}_unseen_{probe}_")]
        return float(np.mean([each.mean() for each in sets])) if sets else None

    return figure


def similarity(seen: Seen, who: str) -> float | None:
    """Pearson r of off-diagonal cosines; a pair of an image with its own copy is left out."""
    if who == "teacher":
        return None
    x, y = (
        (unit := seen[name] / np.linalg.norm(seen[name], axis=1, keepdims=True)) @ unit.T
        for name in ("student_embedding", "teacher_embedding")
    )
    rows = seen.get("rows", np.arange(len(x)))
    others = rows[:, None] != rows
    return float(np.corrcoef(x[others], y[others])[0, 1])


def _auroc(seen: Seen, who: str) -> float:
    return metrics.auroc(seen[f"{who}_inside"], seen[f"{who}_outside"])


FIGURES: dict[str, Callable[[Seen, str], float | None]] = {
    "kNN": _mean("knn"),
    "linear": _mean("linear"),
    "kNN agrees": _mean("knn_agrees"),
    "linear agrees": _mean("linear_agrees"),
    "r": similarity,
    "OOD AUROC": _auroc,
    "corrupted": _mean("corrupted"),
    "corrupted agrees": _mean("corrupted_agrees"),
    "unseen kNN": _unseen("knn"),
    "unseen linear": _unseen("linear"),
}
"""Each from what was seen and `teacher` or `student`; None where that one has no such figure."""


def interval(
    seen: Sequence[Seen], who: str, of: Callable[[Seen, str], float | None]
) -> dict[str, Any] | None:
    """The mean over seeds, and its 95 % interval over seeds and images drawn with replacement."""
    rng = np.random.default_rng(0)
    each = [of(one, who) for one in seen]
    if None in each:
        return None
    samples = []
    for _ in range(RESAMPLES):
        drawn = [_resampled(seen[at], rng) for at in rng.integers(0, len(seen), len(seen))]
        samples.append(np.mean([of(one, who) for one in drawn]))
    low, high = np.percentile(samples, [2.5, 97.5])
    return {"mean": float(np.mean(each)), "low": float(low), "high": float(high), "seeds": each}


def _resampled(seen: Seen, rng: np.random.Generator) -> Seen:
    """Return what was seen of as many images drawn with replacement, each group by itself."""
    drawn: Seen = {}
    rows: dict[str, Any] = {}
    for name, values in seen.items():
        if values.ndim == 0:
            continue
        group = _group(name)
        if group not in rows:
            rows[group] = rng.integers(0, len(values), len(values))
        drawn[name] = values[rows[group]]
    return {**drawn, "rows": rows["held out"]}


def _group(name: str) -> str:
    """Return which images an array is of."""
    if "_unseen_" in name:
        return name.rsplit("_", 1)[1]
    return next((each for each in ("outside", "corrupted") if each in name), "held out")


def run_one(
    recipe: Path,
    cell: tuple[Path, str, int],
    changes: Sequence[str],
    others: Sequence[Path],
    folder: Path,
) -> None:
    """One student, method and seed: through the steps, and what was seen of it kept."""
    from compressor.pipeline.steps.golden import of_student

    student, method, _ = cell
    cpu: dict[str, float] = {}
    run = run_to_golden(recipe, [*student_of(student), *changes], folder / "run", cpu)
    name = RAW if method == RAW else "student"
    seen = of_held_out(of_student(run, name).arrays)
    for other in others:
        seen |= of_unseen(run, name, other, folder / "unseen" / other.stem)
    seconds, steps = run.files.seconds(), run.files.steps
    seen["seconds"] = np.array(sum(seconds.get(step, 0.0) for step in ("start", "distill")))
    made = [cpu.get(steps[step].entry, 0.0) for step in ("start", "distill") if step in steps]
    seen["cpu_seconds"] = np.array(sum(made))
    log = (run.folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    seen["epochs"] = np.array(len(log) - ("start" in seconds))
    temporary = folder / "seen.tmp.npz"
    np.savez(temporary, **seen)
    temporary.replace(folder / "seen.npz")


def of_held_out(arrays: Any) -> Seen:
    """Per held-out image: was it right, did it agree; the embeddings; the OOD scores."""
    from runtime.backends.base import Outputs
    from runtime.evaluation.subject import linear_logits

    known = arrays.bank_labels >= 0
    classes = int(arrays.bank_labels.max()) + 1
    student = arrays.student_embedding
    votes = metrics.knn_votes(student, arrays.bank[known], arrays.bank_labels[known], classes)
    linear = linear_logits(arrays, Outputs(student, arrays.student_logits))
    answers = {"knn": votes.argmax(axis=1), "linear": linear.argmax(axis=1)}
    teacher = {"knn": arrays.teacher_knn, "linear": arrays.teacher_logits.argmax(axis=1)}
    seen: Seen = {}
    for name, answer in answers.items():
        seen[f"student_{name}"] = answer == arrays.labels
        seen[f"teacher_{name}"] = teacher[name] == arrays.labels
        seen[f"student_{name}_agrees"] = answer == teacher[name]
    seen["student_embedding"] = student - arrays.bank.mean(axis=0)
    seen["teacher_embedding"] = arrays.teacher_embedding - arrays.teacher_mean
    seen["student_inside"] = metrics.ood_scores(student, arrays.bank)
    seen["student_outside"] = metrics.ood_scores(arrays.outside.student_embedding, arrays.bank)
    seen["teacher_inside"] = arrays.teacher_nearest
    seen["teacher_outside"] = arrays.outside.teacher_nearest
    return seen | _of_corrupted(arrays)


def _of_corrupted(arrays: Any) -> Seen:
    """Per corrupted image, over all corruptions: how many answers are right, and agree."""
    corrupted = arrays.corrupted
    if corrupted is None or not len(corrupted.rows):
        return {}
    truth = arrays.labels[corrupted.rows][:, None, None]
    student, teacher = corrupted.student.answers, corrupted.teacher.answers
    return {
        "student_corrupted": (student == truth).mean(axis=(1, 2)),
        "teacher_corrupted": (teacher == truth).mean(axis=(1, 2)),
        "student_corrupted_agrees": (student == teacher).mean(axis=(1, 2)),
    }


def of_unseen(run: Any, name: str, other: Path, folder: Path) -> Seen:
    """Per image of another set: are probes on the embeddings of teacher and student right."""
    from compressor.models.embed import embed
    from compressor.pipeline import runner
    from compressor.pipeline.context import Run
    from compressor.probes.linear import fit
    from compressor.probes.training_set import TrainingSet
    from compressor.recipe import plan as plans
    from runtime.sampling import evenly

    theirs = Run(plans.load(other), folder)
    with theirs.locked():
        runner.run_all(theirs, until="images")
    found = theirs.images()
    learn, ask = found.rows("train", "validation"), found.rows("holdout")
    learn, ask = learn[evenly(len(learn), PROBED)], ask[evenly(len(ask), ASKED)]
    rows, classes = np.concatenate([learn, ask]), len(found.classes)
    paths = [found.paths[row] for row in rows]
    seen: Seen = {}
    encoders = {"teacher": (run.teacher, run.teacher.dim), "student": _encoder(run, name)}
    for who, (encoder, width) in encoders.items():
        embedded = embed(encoder, paths, run.compute(), label=other.stem)[:, -width:]
        unit = metrics.normalise(embedded)
        known, new = unit[: len(learn)], unit[len(learn) :]
        truth = found.labels[ask]
        votes = metrics.knn_votes(new, known, found.labels[learn], classes)
        probe = fit(TrainingSet(known, known, found.labels[learn], classes), strength=1.0)
        seen[f"{who}_unseen_knn_{other.stem}"] = votes.argmax(axis=1) == truth
        seen[f"{who}_unseen_linear_{other.stem}"] = probe.logits(new).argmax(axis=1) == truth
    return seen


def _encoder(run: Any, name: str) -> tuple[Any, int]:
    """Return the trained student, or what its backbone gives; and how many last outputs it is."""
    if name != RAW:
        student = run.trained_student()
        return student, student.dim
    from torch import nn

    from compressor.models.embedding_net import EmbeddingNet, WithPooled
    from compressor.models.features import widths_of
    from compressor.pipeline.steps.learning import start

    solved = run.student(start.load(run).student)
    raw = widths_of(solved.module.backbone, solved.preprocess.size_px, ())[0]
    module = EmbeddingNet(WithPooled(solved.module, raw), nn.Identity())
    return replace(solved, module=module, dim=solved.dim + raw), raw
