"""Step `golden`, the golden set: the held-out images with the answers of teacher and student."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compressor.pipeline.context import Run
from compressor.pipeline.step import Step
from compressor.pipeline.steps import probes
from runtime.arrays import Floats, Ints
from runtime.files import write_json
from runtime.images import corruptions

if TYPE_CHECKING:
    from compressor.data.dataset import ImageSet
    from compressor.probes.probe import LinearProbe, Probe
    from runtime.bundle.golden import Arrays, Golden
    from runtime.metrics import Estimate


MAX_BANK = 20_000
"""Training embeddings that the kNN and the OOD score search, at most; labelled ones come first."""


def _inputs(run: Run) -> dict[str, object]:
    return {
        "root": str(run.root),
        "embeddings": run.outputs("embeddings"),
        "probes": run.outputs("probes"),
        "robustness": run.outputs("robustness"),
        "images": run.dataset_digest(),
    }


def _make(run: Run, work: Path) -> None:
    golden = of_student(run, "student")
    golden.save(work / "holdout", root=str(run.root))
    before, gained = _before_training(run, golden)
    write_json(work / "before.json", before)
    write_json(work / "gained.json", gained)


def _before_training(run: Run, golden: Golden) -> tuple[dict[str, object], dict[str, object]]:
    """Return the scores of the student before training, and what it gained since; by name."""
    from runtime.evaluation import ledger, metric_table, subject
    from runtime.findings.contamination import drop_contaminated
    from runtime.results.scores import as_scores, to_json

    def estimates(of: Golden) -> dict[str, Estimate]:
        clean, _ = drop_contaminated(of)  # as `check` does: it goes by the teacher alone
        return metric_table.estimates(subject.of_student(clean, subject.bank_of(clean)))

    names, after = probes.before_training(run), estimates(golden)
    before = {name: estimates(of_student(run, name)) for name in names}
    scores = {name: to_json(as_scores(each)) for name, each in before.items()}
    return scores, {name: to_json(ledger.losses(after, each)) for name, each in before.items()}


@dataclass(frozen=True)
class NetworkOutputs:
    """The embeddings of teacher or student, and its probes."""

    embedded: Floats
    """[A, D], of all usable images."""
    ood: Floats
    """[M, D]"""
    corrupted: Floats
    """[R, C, D], of some held-out images with every corruption; no rows where there are none."""
    linear: LinearProbe | None
    other: Probe | None
    """The probe of the deployed kind; None if that is the linear one."""
    centre: Floats | None
    """[D], the constant of the embedding layer; None where it has none."""

    def logits(self, embedded: Floats) -> Floats | None:
        """[N, D] -> [N, K], of the probe of the deployed kind."""
        probe = self.other or self.linear
        return probe.logits(embedded) if probe else None


def _outputs_of(run: Run, name: str, corrupted: Mapping[str, Floats]) -> NetworkOutputs:
    from compressor.probes.fit import linear_probe, other_than_linear

    probed = run.tensors("probes.safetensors")
    if name == "teacher":
        arrays = run.tensors("embeddings.safetensors")
        embedded, ood = arrays["images"], arrays["ood"]
    else:
        embedded, ood = probed[name], probed[f"{name}_ood"]
    none = np.empty((0, len(corruptions.cells()), embedded.shape[1]), np.float32)
    return NetworkOutputs(
        embedded,
        ood,
        corrupted.get(name, none),
        linear_probe(probed, name),
        other_than_linear(probed, name),
        probed.get(f"{name}_centre"),
    )


def of_student(run: Run, student: str) -> Golden:
    """Held-out images with the answers of the teacher and of `student` (or an earlier one)."""
    from runtime.bundle.golden import Golden

    found, corrupted = run.images(), run.tensors("corrupted.safetensors")
    held = found.rows("holdout")
    bank = bank_rows(found.labels, found.rows("train", "validation"))
    sides = _outputs_of(run, "teacher", corrupted), _outputs_of(run, student, corrupted)
    arrays = _of_held_out(sides, found, held, bank)
    px = 0
    if len(sides[1].corrupted):
        arrays = _with_corrupted(arrays, sides, bank, corrupted)
        px = int(corrupted["short_side_px"][0])
    arrays = _with_outside(arrays, sides, bank)
    names = tuple(photo.id for photo in found.part("holdout").records)
    return Golden(
        run.root,
        names,
        tuple(run.ood_ids()),
        found.classes,
        arrays,
        bank_images=tuple(found.records[row].id for row in bank),
        corrupted_px=px,
    )


def _of_held_out(
    sides: tuple[NetworkOutputs, NetworkOutputs], found: ImageSet, held: Ints, bank: Ints
) -> Arrays:
    """Return the arrays of the held-out images, and the bank of training images."""
    from runtime import metrics
    from runtime.bundle.golden_arrays import Arrays, LinearProbe, TeacherProbe

    (teacher, student), labels = sides, found.labels
    known = bank[labels[bank] >= 0]
    votes = None
    if len(known):
        of_known = teacher.embedded[known], labels[known], len(found.classes)
        votes = metrics.knn_votes(teacher.embedded[held], *of_known)
    own = teacher.other.logits(teacher.embedded[held]) if teacher.other else None
    linear = student.linear if teacher.other else None
    return Arrays(
        labels=labels[held],
        teacher_embedding=teacher.embedded[held],
        teacher_knn=None if votes is None else votes.argmax(axis=1),
        teacher_logits=teacher.linear.logits(teacher.embedded[held]) if teacher.linear else None,
        teacher_probe=None if own is None else TeacherProbe(own.argmax(axis=1), own),
        teacher_nearest=metrics.ood_scores(teacher.embedded[held], teacher.embedded[bank]),
        student_embedding=student.embedded[held],
        student_logits=student.logits(student.embedded[held]),
        bank=student.embedded[bank],
        bank_labels=labels[bank],
        linear_probe=LinearProbe(linear.weight, linear.bias) if linear else None,
        teacher_mean=teacher.embedded[bank].mean(axis=0),
        student_centre=student.centre,
        orthogonal_map=metrics.fit_orthogonal_map(student.embedded[bank], teacher.embedded[bank]),
    )


def _with_outside(
    arrays: Arrays, sides: tuple[NetworkOutputs, NetworkOutputs], bank: Ints
) -> Arrays:
    """Add images that are not of the task: the recipe's, else strongly corrupted held-out ones."""
    from runtime import metrics
    from runtime.bundle.golden_arrays import Outside

    if len(sides[0].ood):
        outside = [side.ood for side in sides]
    elif arrays.corrupted:
        seeds = arrays.corrupted.seeds.tolist()
        worst = [corruptions.cells().index(corruptions.worst_cell(seed)) for seed in seeds]
        outside = [side.corrupted[np.arange(len(worst)), worst] for side in sides]
    else:
        return arrays
    teacher, student = sides
    trained = teacher.embedded[bank]
    gaussians = metrics.fit_gaussians(trained, arrays.bank_labels)
    inside = gaussians.scores(arrays.teacher_embedding)
    answers = Outside(
        teacher_nearest=metrics.ood_scores(outside[0], trained),
        teacher_mahalanobis=gaussians.scores(outside[0]).astype(np.float32),
        teacher_logits=teacher.logits(outside[0]),
        student_embedding=outside[1],
        student_logits=student.logits(outside[1]),
    )
    return replace(arrays, teacher_mahalanobis=inside.astype(np.float32), outside=answers)


def _with_corrupted(
    arrays: Arrays,
    sides: tuple[NetworkOutputs, NetworkOutputs],
    bank: Ints,
    corrupted: Mapping[str, Floats],
) -> Arrays:
    """Add what corruptions of some held-out images do to teacher and student."""
    from runtime import metrics
    from runtime.bundle.golden_arrays import Corrupted, UnderCorruption
    from runtime.findings.robustness import shape_of, stability

    rows = corrupted["rows"].astype(np.int64)
    shape = shape_of(len(rows))

    def answers_of(side: NetworkOutputs, clean: Floats) -> UnderCorruption:
        mean = metrics.normalise(side.embedded[bank]).mean(axis=0)
        logits = side.logits(side.corrupted.reshape(-1, side.corrupted.shape[2]))
        return UnderCorruption(
            stability=stability(clean, side.corrupted, mean).reshape(shape),
            answers=None if logits is None else logits.argmax(axis=1).reshape(shape),
        )

    teacher, student = sides
    answers = Corrupted(
        rows=rows,
        seeds=corrupted["seeds"].astype(np.int64),
        teacher=answers_of(teacher, arrays.teacher_embedding[rows]),
        student=answers_of(student, arrays.student_embedding[rows]),
    )
    return replace(arrays, corrupted=answers)


def bank_rows(labels: Ints, usable: Ints) -> Ints:
    """Rows of the bank: labelled images first, then evenly over the rest, at most MAX_BANK."""
    from runtime.sampling import evenly

    labelled, others = usable[labels[usable] >= 0], usable[labels[usable] < 0]
    rows = []
    left = MAX_BANK
    for candidates in (labelled, others):
        rows.append(candidates[evenly(len(candidates), left)])
        left -= len(rows[-1])
    return np.sort(np.concatenate(rows))


STEP = Step(
    name="golden",
    summary="the answers of teacher and student to the held-out images",
    version=5,
    products=("holdout", "before.json", "gained.json"),
    needs=("images", "embeddings", "probes", "robustness"),
    inputs=_inputs,
    make=_make,
)
