"""Teachers compared before any training: what the recipe's student can learn, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from msgspec import UNSET, Struct, UnsetType

from compressor.pipeline.context import Run
from compressor.pipeline.settling.agreement import accuracy
from compressor.pipeline.settling.candidates import others_weights, with_weights
from compressor.pipeline.settling.faithfulness import Faithfulness, Sample
from compressor.recipe.networks import AUTO
from compressor.recipe.places.weights_folder import with_file
from compressor.recipe.schema import Student, Teacher
from runtime.errors import InputError
from runtime.metrics import Estimate, paired_difference
from runtime.report.cells import Rows, Table, score_cell
from runtime.results.scores import Score, as_score

if TYPE_CHECKING:
    from compressor.models.encoder import Encoder

_TIMED_IMAGES, _TIMED_S = 16, 1.0


class ComparedTeacher(Struct, frozen=True, kw_only=True):
    """A teacher, and how well the student's closed form follows it."""

    teacher: str
    """As it was asked for: MODEL or MODEL@PIXELS."""
    image_size: int
    family: str
    """`transformer` or `CNN`."""
    embedding: int
    ms: float
    """A pass of one image here, in batches, in the precision of the recipe."""
    grid: tuple[int, int] | None
    """Rows and columns of its tokens; None without a map."""
    same_grid: bool
    """Whether the student's map has the same."""
    similarity_correlation_centred: Score
    accuracy_knn: Score | UnsetType = UNSET
    """Of the teacher's own embeddings, on training images left out."""
    accuracy_linear: Score | UnsetType = UNSET
    student_accuracy_linear: Score | UnsetType = UNSET
    """Of the student's closed form of this teacher, on the same images."""


class TeacherComparison(Struct, frozen=True, kw_only=True):
    """What `compressor candidates --teachers` prints as JSON."""

    student: str
    student_grid: tuple[int, int] | None
    images: int
    teachers: tuple[ComparedTeacher, ...]
    advice: str


@dataclass(frozen=True)
class Trial:
    """A compared teacher with what advice needs: estimates that can be paired."""

    row: ComparedTeacher
    faithfulness: Faithfulness
    own_accuracy: Estimate | None
    """Of the teacher, by a linear probe."""

    @property
    def student_accuracy(self) -> Estimate | None:
        """Of the student's closed form, by a linear probe."""
        return None if self.faithfulness.accuracy is None else self.faithfulness.accuracy[1]


def compare(run: Run, wanted: str) -> TeacherComparison:
    """Compare teachers for the recipe's student.

    Args:
        run: its step `images` is done.
        wanted: `MODEL[@PIXELS]`, separated by commas.

    Raises:
        InputError: a name, a size or weights are wrong; or the student has no name or no weights.
        MissingDependencyError: weights that are neither cached nor reachable.
    """
    from compressor.models.encoder import create_student

    asked = dict(_specs(run, wanted))
    student = _student(run)
    _require_weights(asked.values())
    own, sample = _grid(create_student(student, seed=0)), Sample(run)
    trials = [_trial(sample, name, spec, student, own) for name, spec in asked.items()]
    return TeacherComparison(
        student=student.model,
        student_grid=own,
        images=len(sample.images),
        teachers=tuple(trial.row for trial in trials),
        advice=advice(trials, student.model, own),
    )


def text(found: TeacherComparison) -> str:
    """Return the comparison to read."""
    labelled = any(row.student_accuracy_linear for row in found.teachers)
    scores = [
        ("r of the student", "similarity_correlation_centred"),
        *([("student's linear accuracy", "student_accuracy_linear")] if labelled else []),
        *([("its own linear accuracy", "accuracy_linear")] if labelled else []),
        *([("its own kNN accuracy", "accuracy_knn")] if labelled else []),
    ]
    rows: Rows = [
        [
            row.teacher,
            f"{row.family}, {row.embedding}",
            str(row.image_size),
            _shown(row.grid) + (", the same" if row.same_grid else ""),
            f"{row.ms:.1f}",
            *(score_cell(getattr(row, key)) for _, key in scores),
        ]
        for row in found.teachers
    ]
    headings = ["teacher", "kind, width", "px", "tokens", "ms", *(heading for heading, _ in scores)]
    how = (
        f"Student: {found.student}, {_shown(found.student_grid)} map; its closed form without any "
        f"training. {found.images:,} training images, each answered by what was solved without it. "
        "ms: one image here."
    )
    return "\n\n".join([how, Table.of(headings, rows).markdown, found.advice])


def advice(trials: Sequence[Trial], student: str, grid: tuple[int, int] | None) -> str:
    """Return what follows from the numbers, and no more.

    With labels: of the teachers whose own linear accuracy is not clearly below the best (95 %,
    paired over images), since training brings a student nearer to its teacher, and whose student
    is not clearly below the best student either, the one that costs least.
    """
    if len(trials) == 1:
        return "One teacher alone: name others with --teachers to compare it with."
    if any(trial.own_accuracy is None or trial.student_accuracy is None for trial in trials):
        best = max(trials, key=lambda trial: trial.faithfulness.similarity.value)
        r = best.faithfulness.similarity.value
        return (
            f"{student} follows {best.row.teacher} most faithfully (r {r:.3f}). Which teacher is "
            "better for the task, images without labels do not tell."
        )
    good = _as_good(trials, [trial.own_accuracy for trial in trials])
    followed = _as_good(trials, [trial.student_accuracy for trial in trials])
    able = [trial for trial in good if trial in followed]
    if not able:
        names = [" or ".join(each.row.teacher for each in group) for group in (good, followed)]
        return (
            f"The numbers disagree: of the teachers {names[0]} answers best, and the student "
            f"answers best when it follows {names[1]}. Train with both and compare."
        )
    taken = min(able, key=lambda trial: trial.row.ms)
    among = f"of {len(able)} such teachers it costs least" if len(able) > 1 else "no other is so"
    advised = (
        f"Take {taken.row.teacher}: neither its own linear accuracy ({_value(taken.own_accuracy)}) "
        f"nor that of the student which follows it ({_value(taken.student_accuracy)}) is clearly "
        f"below the best, and {among}, {taken.row.ms:.1f} ms an image."
    )
    if taken.row.grid is None or grid is None:
        return advised
    return f"{advised} {_about_grid(taken.row, grid)}"


def _as_good(trials: Sequence[Trial], scores: Sequence[Estimate | None]) -> list[Trial]:
    """Return the trials whose score is not clearly below the best."""
    known = [(trial, score) for trial, score in zip(trials, scores, strict=True) if score]
    best, highest = max(known, key=lambda pair: pair[1].value)
    return [
        trial
        for trial, score in known
        if trial is best or paired_difference(highest, score).low <= 0
    ]


def _value(score: Estimate | None) -> str:
    return "" if score is None else f"{score.value:.3f}"


def _about_grid(row: ComparedTeacher, grid: tuple[int, int]) -> str:
    if row.same_grid:
        return f"Its tokens lie on the student's own grid, {_shown(grid)}."
    return f"Its {_shown(row.grid)} tokens are resampled to the student's {_shown(grid)} map."


# --- one teacher -----------------------------------------------------------------------------


def _trial(
    sample: Sample, name: str, spec: Teacher, student: Student, grid: tuple[int, int] | None
) -> Trial:
    from compressor.models.encoder import load_teacher

    encoder = load_teacher(spec)
    faithful = sample.faithfulness(student, spec)
    known = sample.teacher_answers(spec)
    by_knn, by_linear = accuracy(known) if known else (None, None)
    of_student = faithful.accuracy[1] if faithful.accuracy else None
    own = _grid(encoder)
    row = ComparedTeacher(
        teacher=name,
        image_size=encoder.preprocess.size_px,
        family="transformer" if encoder.is_transformer else "CNN",
        embedding=encoder.dim,
        ms=_milliseconds(sample.run, encoder),
        grid=own,
        same_grid=own is not None and own == grid,
        similarity_correlation_centred=as_score(faithful.similarity),
        accuracy_knn=as_score(by_knn) if by_knn else UNSET,
        accuracy_linear=as_score(by_linear) if by_linear else UNSET,
        student_accuracy_linear=as_score(of_student) if of_student else UNSET,
    )
    return Trial(row, faithful, by_linear)


def _milliseconds(run: Run, encoder: Encoder) -> float:
    """Return the time of one image of a batch, the median over a second of passes."""
    import torch

    from compressor.models.compute import autocast, teacher_dtype

    compute, side = run.compute(), encoder.preprocess.size_px
    wanted = run.plan.recipe.distill.teacher_precision
    precision = teacher_dtype(wanted, compute, transformer=encoder.is_transformer)
    module = encoder.module.to(compute.device).to(memory_format=torch.channels_last)
    images = torch.zeros(_TIMED_IMAGES, 3, side, side, device=compute.device)

    def look() -> None:
        with torch.inference_mode(), autocast(precision, compute):
            module(images).sum().item()  # .item() waits for a GPU

    look()
    seconds, started = list[float](), time.perf_counter()
    while len(seconds) < 3 or time.perf_counter() - started < _TIMED_S:
        before = time.perf_counter()
        look()
        seconds.append(time.perf_counter() - before)
    return median(seconds) * 1000 / _TIMED_IMAGES


# --- what was asked for ----------------------------------------------------------------------


def _specs(run: Run, wanted: str) -> list[tuple[str, Teacher]]:
    """Return the teachers by the names that they were asked for."""
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    if not names or len(set(names)) < len(names):
        raise InputError(f"--teachers {wanted!r}: expected different MODEL[@PIXELS], with commas")
    weights = others_weights(run.plan, "teacher")
    return [(name, _spec(name, run.plan.recipe.teacher, weights)) for name in names]


def _spec(name: str, own: Teacher, weights: str) -> Teacher:
    """Return the section `teacher:` of a name; keys of the recipe's own model are not others'."""
    model, at, size = name.partition("@")
    if not model or (at and not (size.isdecimal() and 8 <= int(size) <= 2048)):
        raise InputError(f"--teachers {name!r}: expected MODEL or MODEL@PIXELS, 8 to 2048 pixels")
    pixels = int(size) if size else None
    if model == own.model:
        return own.model_copy(update={"image_size": pixels or own.image_size})
    return with_file(Teacher(model=model, weights=weights, image_size=pixels))


def _student(run: Run) -> Student:
    spec = run.plan.recipe.student
    if spec.model == AUTO:
        raise InputError(
            "--teachers compares them for one student, and student.model is auto.\n"
            "  Name one: --set student.model=MODEL; `compressor candidates RECIPE` compares them"
        )
    found = with_weights(spec.model_copy(update={"latency_table": None}), download=True)
    if not found.has_weights:
        raise InputError(
            f"--teachers compares closed forms, and {spec.model} has none: {found.weights}.\n"
            "  Give it weights with student.weights: a file, or a folder of `compressor fetch`"
        )
    return found.spec


def _require_weights(specs: Iterable[Teacher]) -> None:
    """Find weights that are missing before the first pass."""
    from compressor.models.pretrained.source import file_of_timm

    for spec in specs:
        file_of_timm(spec, "teacher")


def _grid(encoder: Encoder) -> tuple[int, int] | None:
    return None if encoder.map_shape is None else encoder.map_shape[:2]


def _shown(grid: tuple[int, int] | None) -> str:
    return "no map" if grid is None else f"{grid[0]} x {grid[1]}"
